"""Which migrations the code has and the database has not."""

from functools import cache
from typing import Any

from asyncpg.exceptions import UndefinedTableError
from piccolo.apps.migrations.commands.base import BaseMigrationManager
from piccolo.conf.apps import Finder

MigrationKey = tuple[str, str]


@cache
def declared_migrations() -> frozenset[MigrationKey]:
    """App and id of every migration file of the registered apps; read once."""
    manager = BaseMigrationManager()
    return frozenset(
        (config.app_name, migration_id)
        for config in Finder().get_app_configs()
        for migration_id in manager.get_migration_modules(config.resolved_migrations_folder_path)
    )


async def pending_migrations(connection: Any) -> list[MigrationKey]:
    """Those that the journal does not know, in the order of their ids; reads, never creates it."""
    try:
        rows = await connection.fetch("SELECT app_name, name FROM migration")
    except UndefinedTableError:
        rows = []
    applied = {(row["app_name"], row["name"]) for row in rows}
    return sorted(declared_migrations() - applied, key=lambda key: key[1])
