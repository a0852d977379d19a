"""Steps of a migration that add, drop, rename and alter columns."""

from dataclasses import replace

from piccolo.apps.migrations.auto.migration_manager import (
    AddColumnCollection,
    AlterColumnCollection,
)
from piccolo.apps.migrations.auto.migration_manager import MigrationManager as PiccoloManager
from piccolo.apps.migrations.auto.operations import AlterColumn
from piccolo.columns import Array
from piccolo.query.methods.alter import Alter
from piccolo.table import Table

from learner_app.schema.columns import Generated, Reference
from learner_app.schema.ddl import (
    cast_type,
    change_type,
    quoted_name,
    rename_automatic_names,
    set_comment,
    table_stub,
)
from learner_app.schema.generated import GeneratedChange, generated_changes
from learner_app.schema.migration_run import MigrationRun
from learner_app.schema.objects import Uncompressed
from learner_app.schema.schema_object import quoted
from learner_app.schema.table_steps import declared_names


async def add_columns(run: MigrationRun) -> None:
    """Add ordinary columns, or drop them in a backwards run."""
    operations = run.operations
    declared = operations.add_columns
    ordinary = [each for each in declared.add_columns if not isinstance(each.column, Generated)]
    operations.add_columns = AddColumnCollection(ordinary)
    try:
        await PiccoloManager._run_add_columns(operations, backwards=run.is_backwards)
    finally:
        operations.add_columns = declared


async def drop_columns(run: MigrationRun) -> None:
    """Drop ordinary columns, or add them again in a backwards run."""
    run_query = run.operations._run_query
    for dropped in run.operations.drop_columns.drop_columns:
        table = table_stub(dropped.table_class_name, dropped.tablename, dropped.schema)
        before = await run.before(dropped.table_class_name)
        column = before._meta.get_column_by_name(dropped.column_name)
        if isinstance(column, Generated):
            continue
        if not run.is_backwards:
            await run_query(table.alter().drop_column(dropped.db_column_name))
            continue
        await run_query(table.alter().add_column(dropped.column_name, column))
        if column._meta.index:
            method = column._meta.index_method
            await run_query(table.create_index([column], method=method))


async def rename_columns(run: MigrationRun) -> None:
    """Rename columns together with the constraints and sequences that are named after them."""
    await PiccoloManager._run_rename_columns(run.operations, backwards=run.is_backwards)
    for rename in run.operations.rename_columns.rename_columns:
        names = (rename.old_db_column_name, rename.new_db_column_name)
        statement = rename_automatic_names(
            table_stub(rename.table_class_name, rename.tablename, rename.schema),
            old=rename.tablename,
            new=rename.tablename,
            column=names[::-1] if run.is_backwards else names,
            declared=await declared_names(run, rename.table_class_name),
        )
        await run.execute([statement])


async def drop_generated_columns(run: MigrationRun) -> None:
    """Drop changed generated columns, or add their former versions in a backwards run."""
    await _change_generated(run, is_start=not run.is_backwards)


async def add_generated_columns(run: MigrationRun) -> None:
    """Add changed generated columns, or drop them in a backwards run."""
    await _change_generated(run, is_start=run.is_backwards)


async def _change_generated(run: MigrationRun, *, is_start: bool) -> None:
    """Drop changed generated columns at the start of a run, and add them at its end."""
    for change in await _generated_changes(run):
        await run.execute(change.drop_sql() if is_start else change.add_sql())


async def _generated_changes(run: MigrationRun) -> list[GeneratedChange]:
    changes: list[GeneratedChange] = []
    for class_name in run.touched_tables():
        start, end = await run.states(class_name)
        renamed = run.renamed_columns(class_name)
        if run.is_backwards:
            renamed = {new: old for old, new in renamed.items()}
        changes += generated_changes(start, end, renamed)
    return changes


async def complete_types(run: MigrationRun, alter: Alter) -> None:
    """Replace the new column of Piccolo's type changes by the one with all parameters.

    Piccolo creates the new column from the changed parameters only: going back from ``text`` to
    ``varchar(40)``, the length would be missing.
    """
    for change in alter._set_column_type:
        _, table = await run.states(alter.table.__name__)
        name = change.old_column._meta.db_column_name
        change.new_column = table._meta.get_column_by_name(name, match_db_column_name=True)
        if change.using_expression:
            change.using_expression = f"{quoted(name)}::{cast_type(change.new_column.column_type)}"


async def alter_columns(run: MigrationRun) -> None:
    """Change types, defaults, NOT NULL, indexes and comments of columns."""
    operations = run.operations
    declared, rest = operations.alter_columns, AlterColumnCollection()
    for altered in declared.alter_columns:
        remaining = await _alter_array_or_generated(run, altered)
        if remaining is not None:
            rest.append(remaining)
            await _fit_to_classes(run, remaining)
    # The declared operations stay as they are: after a lock timeout all of them run again.
    operations.alter_columns = rest
    try:
        await PiccoloManager._run_alter_columns(operations, backwards=run.is_backwards)
    finally:
        operations.alter_columns = declared
    for altered in rest.alter_columns:
        await _alter_reference_and_comment(run, altered)
    for altered in declared.alter_columns:
        await _restore_storage(run, altered)


async def _alter_array_or_generated(run: MigrationRun, altered: AlterColumn) -> AlterColumn | None:
    """Change the type of an array, or between a generated and an ordinary column.

    Returns:
        The part of the change that Piccolo makes, None if the column is dropped and added again.
    """
    classes = [each for each in (altered.column_class, altered.old_column_class) if each]
    rest = replace(altered, params={**altered.params}, old_params={**altered.old_params})
    if not any(issubclass(each, Array | Generated) for each in classes):
        return rest
    start, end = await run.states(altered.table_class_name)
    old = start._meta.get_column_by_name(altered.column_name)
    new = end._meta.get_column_by_name(altered.column_name)
    if isinstance(new, Generated):
        if any(change.new is new for change in await _generated_changes(run)):
            return None
    elif type(old) is not type(new) or old.column_type != new.column_type:
        await run.execute(change_type(_stub(altered), old, new))
        _remove_params(rest, "default", "length", "digits", "column_type")
    _remove_params(rest, "base_column", "expression")
    rest.column_class = rest.old_column_class = None
    return rest


async def _alter_reference_and_comment(run: MigrationRun, altered: AlterColumn) -> None:
    params = altered.old_params if run.is_backwards else altered.params
    table, statements = _stub(altered), []
    if altered.column_class is altered.old_column_class and params.get("column_type"):
        name, wanted = quoted(altered.db_column_name), params["column_type"]
        change = f"ALTER COLUMN {name} TYPE {wanted} USING {name}::{cast_type(wanted)}"
        statements.append(f"ALTER TABLE {quoted_name(table)} {change}")
    if "help_text" in params:
        statements.append(set_comment(table, altered.db_column_name, params["help_text"]))
    await run.execute(statements)


async def _restore_storage(run: MigrationRun, altered: AlterColumn) -> None:
    """Set the storage of an altered column again, because a new type resets it."""
    _, end = await run.states(altered.table_class_name)
    objects = [each for each in end._meta.constraints if isinstance(each, Uncompressed)]
    await run.create_objects(
        _stub(altered),
        (each for each in objects if each.params["column"] == altered.db_column_name),
    )


async def _fit_to_classes(run: MigrationRun, altered: AlterColumn) -> None:
    """Adapt the parameters of a change of the column class to both classes."""
    if altered.column_class is altered.old_column_class:
        return
    after, before = altered.params, altered.old_params
    if run.is_backwards:
        after, before = before, after
    _, table = await run.states(altered.table_class_name)
    column = table._meta.get_column_by_name(altered.column_name)
    for unknown in after.keys() - column._meta.params.keys() - {"help_text"}:
        del after[unknown]
    sides = (
        (altered.column_class, altered.params),
        (altered.old_column_class, altered.old_params),
    )
    for class_, params in sides:
        if class_ is Reference:  # Piccolo creates one from the changed parameters only
            params.setdefault("references", Table)


def _stub(altered: AlterColumn) -> type[Table]:
    return table_stub(altered.table_class_name, altered.tablename, altered.schema)


def _remove_params(altered: AlterColumn, *names: str) -> None:
    for params in (altered.params, altered.old_params):
        for name in names:
            params.pop(name, None)
