"""States of an app's tables before and after a migration, computed from the migration files."""

from typing import Any

from piccolo.apps.migrations.auto.diffable_table import DiffableTable
from piccolo.apps.migrations.auto.schema_snapshot import SchemaSnapshot
from piccolo.apps.migrations.commands.base import BaseMigrationManager
from piccolo.columns import Column
from piccolo.table import Table


class Snapshots:
    """Tables of one app as the migrations up to one of them leave them."""

    def __init__(self, app_name: str, migration_id: str) -> None:
        self._app_name = app_name
        self._migration_id = migration_id
        self._tables: dict[tuple[Any, ...], type[Table]] = {}

    async def table(
        self,
        class_name: str,
        *,
        app_name: str | None = None,
        migration_id: str | None = None,
        offset: int = 0,
    ) -> type[Table]:
        """Return a table as a migration leaves it, with the altered parameters of its columns.

        Args:
            class_name: name of the class in that state.
            app_name: the app of these snapshots if None.
            migration_id: the migration of these snapshots if None.
            offset: -1 for the state before the migration.
        """
        key = (class_name, app_name, migration_id, offset)
        if key not in self._tables:
            table = await BaseMigrationManager().get_table_from_snapshot(
                app_name=app_name or self._app_name,
                table_class_name=class_name,
                max_migration_id=migration_id or self._migration_id,
                offset=offset,
            )
            table.columns = [_rebuilt(column) for column in table.columns]
            self._tables[key] = table.to_table_class()
        return self._tables[key]

    async def all_tables(self, offset: int = 0) -> list[DiffableTable]:
        """Return all tables of the app, computed anew because Piccolo alters snapshots in place."""
        commands = BaseMigrationManager()
        managers = await commands.get_migration_managers(
            commands.get_app_config(self._app_name), self._migration_id, offset
        )
        return SchemaSnapshot(managers).get_snapshot()


def _rebuilt(column: Column) -> Column:
    """Return a column of the same class made from the parameters that migrations set.

    Piccolo's snapshot changes the parameters of an altered column but not the column itself, whose
    type and default would remain the old ones.
    """
    fresh = type(column)(**column._meta.params)
    fresh._meta = column._meta
    return fresh
