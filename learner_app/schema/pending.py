"""Read-only access to the migration history of the connection's schema.

The history is Piccolo's table ``migration`` in ``current_schema()``, where CREATE TABLE creates
tables. A table of that name in a later schema of ``search_path`` is ignored. Nothing in this module
writes, so that plans, ``learner status`` and health checks work for a role without CREATE and on a
standby.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

from asyncpg.exceptions import UndefinedTableError
from piccolo.apps.migrations.commands.base import BaseMigrationManager
from piccolo.conf.apps import AppConfig, Finder

from learner_app.schema.replaced_migrations import replaced_by

MigrationKey = tuple[str, str]
"""Name of an app and id of a migration."""

History = dict[MigrationKey, datetime]

APPLIED = (
    "SELECT app_name, name, ran_on FROM migration"
    " WHERE migration.tableoid = to_regclass(quote_ident(current_schema()) || '.migration')"
)
"""Query of one round trip; it fails with 42P01 if no schema of ``search_path`` has a history."""


@cache
def declared_migrations() -> frozenset[MigrationKey]:
    """Return app and id of every migration file of the registered apps, read once per process."""
    return frozenset(key for key, _ in _modules())


@cache
def _replacements() -> Mapping[MigrationKey, frozenset[MigrationKey]]:
    """Return the former migrations by the migration that replaces them, read once per process."""
    return {
        key: frozenset((key[0], former) for former in replaced_by(module))
        for key, module in _modules()
        if replaced_by(module)
    }


def _modules() -> Iterator[tuple[MigrationKey, Any]]:
    for app in Finder().get_app_configs():
        for migration_id, module in migration_modules(app).items():
            yield (app.app_name, migration_id), module


def migration_modules(app: AppConfig) -> dict[str, Any]:
    """Return the migration files of an app by id."""
    folder = app.resolved_migrations_folder_path
    modules: dict[str, Any] = BaseMigrationManager().get_migration_modules(folder)
    return modules


async def read_history(connection: Any) -> History:
    """Return the rows of the history, none before the first migration.

    ``connection`` is an asyncpg connection outside a transaction, because a missing table is an
    error of the server.
    """
    try:
        rows = await connection.fetch(APPLIED)
    except UndefinedTableError:
        return {}
    return {(row["app_name"], row["name"]): row["ran_on"] for row in rows}


def with_replacements(history: History) -> History:
    """Return the history with the migrations that replace only recorded ones."""
    found = dict(history)
    for key, former in _replacements().items():
        if key not in found and former <= history.keys():
            found[key] = max(history[each] for each in former)
    return found


async def applied_migrations(connection: Any) -> History:
    """Return the time of each migration, in the local time of the process that applied it.

    A migration that replaces former ones counts as applied where all of them are.
    """
    return with_replacements(await read_history(connection))


@lru_cache(maxsize=8)
def count_pending(recorded: frozenset[MigrationKey]) -> int:
    """Return the number of declared migrations that a history with these migrations lacks.

    Repeated calls with the same history, as in health checks, take no time.
    """
    history = with_replacements(dict.fromkeys(recorded, datetime.now(UTC)))
    return len(declared_migrations() - history.keys())


async def pending_migrations(connection: Any) -> list[MigrationKey]:
    """Return the declared migrations that are missing from the history, ordered by id."""
    applied = await applied_migrations(connection)
    return sorted(declared_migrations() - applied.keys(), key=lambda key: key[1])
