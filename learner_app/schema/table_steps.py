"""Steps of a migration that create, drop and rename tables."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager as PiccoloManager
from piccolo.table import Table, sort_table_classes

from learner_app.schema.ddl import quoted_name, rename_automatic_names, table_stub
from learner_app.schema.migration_run import MigrationRun
from learner_app.schema.schema_object import SchemaObject, quoted


async def add_tables(run: MigrationRun) -> None:
    """Create tables, or drop them in a backwards run."""
    if run.is_backwards:
        added = run.operations.add_tables
        await _drop(run, [_table_to_add(run, each.class_name) for each in added])
    else:
        await PiccoloManager._run_add_tables(run.operations)


async def drop_tables(run: MigrationRun) -> None:
    """Drop tables, or create them again in a backwards run."""
    tables = await dropped_tables(run)
    if not run.is_backwards:
        await _drop(run, tables)
        return
    for table in sort_table_classes(tables):
        await run.operations._run_query(table.create_table())


async def dropped_tables(run: MigrationRun) -> list[type[Table]]:
    """Return the tables that the migration drops, as they were before it."""
    # Not run.before(): a renamed class may have the name that a dropped one had.
    return [await run.snapshot_before(each.class_name) for each in run.operations.drop_tables]


async def rename_tables(run: MigrationRun) -> None:
    """Rename tables together with the names that are derived from them."""
    for rename in run.operations.rename_tables:
        old, new = rename.old_tablename, rename.new_tablename
        if old == new:  # only the class
            continue
        if run.is_backwards:
            old, new = new, old
        table = table_stub(rename.new_class_name, new, rename.schema)
        statement = f"ALTER TABLE {quoted(old)} RENAME TO {quoted(new)}"
        declared = await declared_names(run, rename.new_class_name)
        names = rename_automatic_names(table, old=old, new=new, column=None, declared=declared)
        await run.execute([statement, names])


async def declared_names(run: MigrationRun, class_name: str) -> set[str]:
    """Return the database names of a table's schema objects before and after the migration."""
    return {
        constraint.database_name
        for state in await run.states(class_name)
        for constraint in state._meta.constraints
        if isinstance(constraint, SchemaObject)
    }


async def _drop(run: MigrationRun, tables: list[type[Table]]) -> None:
    """Drop tables in one statement, so that foreign keys among them do not matter."""
    if not tables:
        return
    for table in tables:
        objects = [each for each in table._meta.constraints if isinstance(each, SchemaObject)]
        await run.drop_objects(table, (each for each in objects if each.outlives_table))
    await run.execute([f"DROP TABLE {', '.join(quoted_name(table) for table in tables)}"])


def _table_to_add(run: MigrationRun, class_name: str) -> type[Table]:
    operations = run.operations
    added = next(table for table in operations.add_tables if table.class_name == class_name)
    table = table_stub(class_name, added.tablename, added.schema)
    constraints = operations.add_constraints.constraints_for_table_class_name(class_name)
    table._meta.constraints.extend(constraints)
    return table
