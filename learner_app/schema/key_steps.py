"""Steps of a migration that change primary keys, and the foreign keys that depend on a change."""

from learner_app.schema.ddl import table_stub
from learner_app.schema.dependent_keys import (
    KeptForeignKey,
    changed_table,
    dependent_foreign_keys,
)
from learner_app.schema.migration_run import MigrationRun
from learner_app.schema.primary_key_change import KeyChange, key_change


async def drop_keys(run: MigrationRun) -> None:
    """Drop changed primary keys, or add the old ones in a backwards run."""
    for change in await _key_changes(run):
        table = table_stub(change.class_name, change.old_tablename, None)
        await run.execute(
            change.old.add_sql(table) if run.is_backwards else change.old.drop_sql(table)
        )


async def add_keys(run: MigrationRun) -> None:
    """Add changed primary keys, or drop them in a backwards run."""
    for change in await _key_changes(run):
        table = table_stub(change.class_name, change.new_tablename, None)
        await run.execute(
            change.new.drop_sql(table) if run.is_backwards else change.new.add_sql(table)
        )


async def _key_changes(run: MigrationRun) -> list[KeyChange]:
    changes = []
    for class_name in run.touched_tables():
        before, after = await run.before(class_name), await run.after(class_name)
        changes.append(key_change(class_name, before, after, run.renamed_columns(class_name)))
    return [change for change in changes if change is not None]


async def drop_dependent_keys(run: MigrationRun) -> None:
    """Drop the kept foreign keys, or create them again in a backwards run."""
    await _change_dependent_keys(run, is_start=not run.is_backwards)


async def restore_dependent_keys(run: MigrationRun) -> None:
    """Create the kept foreign keys again, or drop them in a backwards run."""
    await _change_dependent_keys(run, is_start=run.is_backwards)


async def _change_dependent_keys(run: MigrationRun, *, is_start: bool) -> None:
    """Drop the kept foreign keys at the start of a run, and create them again at its end."""
    for key in await _dependent_keys(run):
        table = table_stub(
            key.class_name, key.start_tablename if is_start else key.end_tablename, None
        )
        change = run.drop_objects if is_start else run.create_objects
        await change(table, [key.constraint])


async def _dependent_keys(run: MigrationRun) -> list[KeptForeignKey]:
    """Return the kept foreign keys of the app that a changed type or key would block."""
    states = [await run.states(class_name) for class_name in run.touched_tables()]
    changes = [changed_table(start, end) for start, end in states]
    changes = [change for change in changes if change.retyped or change.keys]
    if not changes:
        return []
    before, after = await run.snapshots.all_tables(offset=-1), await run.snapshots.all_tables()
    later = {each.old_class_name: each.new_class_name for each in run.operations.rename_tables}
    if run.is_backwards:
        before, after = after, before
        later = {new: old for old, new in later.items()}
    return list(dependent_foreign_keys(before, after, changes, later))
