"""Steps of a migration that add and drop schema objects and constraints."""

from piccolo.constraints import Constraint
from piccolo.table import Table

from learner_app.schema.ddl import create_constraint, drop_constraint, table_stub
from learner_app.schema.migration_run import MigrationRun
from learner_app.schema.objects import ForeignKeyConstraint
from learner_app.schema.table_steps import dropped_tables


async def add_objects(run: MigrationRun) -> None:
    """Add objects with foreign keys last, or drop them in a backwards run."""
    # The foreign keys of new tables are created here, after the keys that they refer to.
    new_tables = {table.class_name for table in run.operations.add_tables}
    added = [
        each
        for each in run.operations.add_constraints.add_constraints
        if each.table_class_name not in new_tables or _is_foreign_key(each.constraint)
    ]
    added.sort(key=lambda each: _is_foreign_key(each.constraint), reverse=run.is_backwards)
    change = drop_constraint if run.is_backwards else create_constraint
    for each in added:
        table = table_stub(each.table_class_name, each.tablename, each.schema)
        await run.execute(change(table, each.constraint))


async def drop_objects(run: MigrationRun) -> None:
    """Drop objects with foreign keys first, or create them again in a backwards run."""
    dropped = await _dropped_objects(run)
    dropped.sort(key=lambda pair: _is_foreign_key(pair[1]), reverse=not run.is_backwards)
    change = create_constraint if run.is_backwards else drop_constraint
    for table, constraint in dropped:
        await run.execute(change(table, constraint))


async def _dropped_objects(run: MigrationRun) -> list[tuple[type[Table], Constraint]]:
    """Return the objects that the migration names, and the foreign keys of the dropped tables."""
    found: list[tuple[type[Table], Constraint]] = []
    for dropped in run.operations.drop_constraints.drop_constraints:
        class_name = run.old_class_name(dropped.table_class_name)
        before = await run.snapshot_before(class_name)
        table = table_stub(class_name, run.old_tablename(dropped.tablename), dropped.schema)
        found.append((table, before._meta.get_constraint_by_name(dropped.constraint_name)))
    for table in await dropped_tables(run):
        foreign_keys = filter(_is_foreign_key, table._meta.constraints)
        found += [(table, each) for each in foreign_keys]
    return found


def _is_foreign_key(constraint: Constraint) -> bool:
    return isinstance(constraint, ForeignKeyConstraint)
