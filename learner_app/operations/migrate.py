"""Piccolo's migration commands, from code: quietly, or as a plan of the SQL to come."""

import io
from collections.abc import Awaitable
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import datetime

from piccolo.apps.migrations.commands.backwards import run_backwards
from piccolo.apps.migrations.commands.base import MigrationResult
from piccolo.apps.migrations.commands.check import CheckMigrationManager
from piccolo.apps.migrations.commands.forwards import run_forwards
from piccolo.conf.apps import Finder

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import MigrationError
from learner_app.schema.pending import MigrationKey, applied_migrations, declared_migrations


@dataclass(frozen=True)
class MigrationState:
    """A migration and since when the database has it, in the time zone of who applied it."""

    app: str
    id: str
    description: str
    applied_at: datetime | None


async def apply_migrations(engine: DatabaseEngine) -> int:
    """Apply what is pending, as ``piccolo migrations forwards all`` does.

    Returns:
        The number of migrations that were pending.

    Raises:
        MigrationError: one of them failed; those before it stay applied. The text names the
            migration, the statement and the message of the server, without row values.
    """
    with engine.as_owner():
        pending = await _count_pending(engine)
        if pending:
            await _transcript(run_forwards(app_name="all"))
    return pending


async def plan_migrations(engine: DatabaseEngine) -> str:
    """Return the SQL that :func:`apply_migrations` would run.

    Empty when nothing is pending. Writes nothing and needs no CREATE privilege. Before the first
    migration all are pending.
    """
    if not await _count_pending(engine):
        return ""
    return await _transcript(run_forwards(app_name="all", preview=True))


async def roll_back(app: str, migration_id: str) -> None:
    """Undo the migrations of an app down to and including that one.

    ``1`` is the last one.

    Raises:
        MigrationError: there is no such app or migration.
    """
    _check_app(app)
    await _transcript(run_backwards(app, migration_id, auto_agree=True))


async def plan_roll_back(app: str, migration_id: str) -> str:
    """Return the SQL that :func:`roll_back` would run.

    Empty when nothing is applied. Writes nothing.

    Raises:
        MigrationError: there is no such app or migration.
    """
    _check_app(app)
    plan = await _transcript(run_backwards(app, migration_id, auto_agree=True, preview=True))
    return plan if "backwards]" in plan else ""


async def migration_states(engine: DatabaseEngine) -> list[MigrationState]:
    """Return all migrations in the order in which they are applied, without writing."""
    applied = await _read_journal(engine)
    found = await CheckMigrationManager(app_name="all").get_migration_statuses()
    order = Finder().get_sorted_app_names()
    return [
        MigrationState(
            item.app_name,
            item.migration_id,
            item.description,
            applied.get((item.app_name, item.migration_id)),
        )
        for item in sorted(found, key=lambda item: (order.index(item.app_name), item.migration_id))
    ]


async def _count_pending(engine: DatabaseEngine) -> int:
    return len(declared_migrations() - (await _read_journal(engine)).keys())


async def _read_journal(engine: DatabaseEngine) -> dict[MigrationKey, datetime]:
    await engine.wait_until_ready()
    connection = await engine.get_new_connection()
    try:
        return await applied_migrations(connection)
    finally:
        await connection.close()


async def _transcript(command: Awaitable[MigrationResult]) -> str:
    """Run one of Piccolo's commands and return what it printed."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        result = await command
    if not result.success:
        raise MigrationError(result.message or "the migrations failed")
    return printed.getvalue()


def _check_app(app: str) -> None:
    apps = Finder().get_app_names()
    if app not in apps:
        raise MigrationError(f"there is no app {app!r}; the apps are {', '.join(sorted(apps))}")
