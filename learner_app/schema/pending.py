"""Read-only access to the migration journal of the connection's schema.

The journal is Piccolo's table ``migration`` in ``current_schema()``, where CREATE TABLE creates
tables. A table of that name in a later schema of ``search_path`` is another journal and ignored.
Nothing in this module writes, so that plans, ``learner status`` and health checks work for a role
without CREATE and on a standby.
"""

from datetime import datetime
from functools import cache
from typing import Any

from asyncpg.exceptions import UndefinedTableError
from piccolo.apps.migrations.commands.base import BaseMigrationManager
from piccolo.conf.apps import Finder

MigrationKey = tuple[str, str]

APPLIED = (
    "SELECT app_name, name, ran_on FROM migration"
    " WHERE migration.tableoid = to_regclass(quote_ident(current_schema()) || '.migration')"
)
"""One round trip; fails with 42P01 when no schema of ``search_path`` has a journal."""


@cache
def declared_migrations() -> frozenset[MigrationKey]:
    """Return app and id of every migration file of the registered apps, read once."""
    manager = BaseMigrationManager()
    return frozenset(
        (config.app_name, migration_id)
        for config in Finder().get_app_configs()
        for migration_id in manager.get_migration_modules(config.resolved_migrations_folder_path)
    )


async def applied_migrations(connection: Any) -> dict[MigrationKey, datetime]:
    """Return when each migration was applied, in the local time of the process that applied it.

    Empty before the first migration. ``connection`` is an asyncpg connection outside a transaction,
    since a missing journal is an error to the server.
    """
    try:
        rows = await connection.fetch(APPLIED)
    except UndefinedTableError:
        return {}
    return {(row["app_name"], row["name"]): row["ran_on"] for row in rows}


async def pending_migrations(connection: Any) -> list[MigrationKey]:
    """Return the declared migrations that are missing from the journal, ordered by id."""
    applied = await applied_migrations(connection)
    return sorted(declared_migrations() - applied.keys(), key=lambda key: key[1])
