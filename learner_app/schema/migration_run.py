"""One run of a migration in one direction: the argument of its steps."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from piccolo.apps.migrations.auto.migration_manager import MigrationManager as PiccoloManager
from piccolo.table import Table

from learner_app.schema.ddl import quoted_name
from learner_app.schema.schema_object import SchemaObject
from learner_app.schema.snapshots import Snapshots

Execute = Callable[[Sequence[str]], Awaitable[None]]


@dataclass
class MigrationRun:
    """Operations of a migration, its direction, and the states of the tables around it."""

    operations: PiccoloManager
    is_backwards: bool
    execute: Execute
    """Sends statements in order, or prints them in a preview."""
    snapshots: Snapshots

    async def before(self, class_name: str) -> type[Table]:
        """Return a table as the earlier migrations leave it, by its later class name."""
        return await self.snapshot_before(self.old_class_name(class_name))

    async def snapshot_before(self, old_class_name: str) -> type[Table]:
        """Return a table as the earlier migrations leave it, by its earlier class name."""
        return await self.snapshots.table(old_class_name, offset=-1)

    async def after(self, class_name: str) -> type[Table]:
        """Return a table as this migration leaves it."""
        return await self.snapshots.table(class_name)

    async def states(self, class_name: str) -> tuple[type[Table], type[Table]]:
        """Return a table at the start and at the end of the run, in its direction."""
        before, after = await self.before(class_name), await self.after(class_name)
        return (after, before) if self.is_backwards else (before, after)

    def old_class_name(self, name: str) -> str:
        """Return the name of a class before the renames of this migration."""
        renames = self.operations.rename_tables
        return {each.new_class_name: each.old_class_name for each in renames}.get(name, name)

    def old_tablename(self, name: str) -> str:
        """Return the name of a table before the renames of this migration."""
        renames = self.operations.rename_tables
        return {each.new_tablename: each.old_tablename for each in renames}.get(name, name)

    def renamed_columns(self, class_name: str) -> dict[str, str]:
        """Return the new database names of renamed columns by the old ones."""
        return {
            rename.old_db_column_name: rename.new_db_column_name
            for rename in self.operations.rename_columns.for_table_class_name(class_name)
        }

    def touched_tables(self) -> list[str]:
        """Return the classes of the existing tables whose columns or objects change."""
        operations = self.operations
        touched = {
            *operations.alter_columns.table_class_names,
            *operations.add_columns.table_class_names,
            *operations.drop_columns.table_class_names,
            *operations.add_constraints.table_class_names,
            *operations.drop_constraints.table_class_names,
        }
        return sorted(touched - {table.class_name for table in operations.add_tables})

    async def create_objects(self, table: type[Table], objects: Iterable[SchemaObject]) -> None:
        """Create schema objects on a table."""
        for each in objects:
            await self.execute(each.sql.create_on(quoted_name(table)))

    async def drop_objects(self, table: type[Table], objects: Iterable[SchemaObject]) -> None:
        """Drop schema objects from a table."""
        for each in objects:
            await self.execute(each.sql.drop_from(quoted_name(table)))
