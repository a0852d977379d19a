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
from piccolo.apps.migrations.tables import Migration
from piccolo.conf.apps import Finder

from learner_app.database.engine import DatabaseEngine
from learner_app.database.waiting import wait_for_database
from learner_app.errors import DatabaseError, MigrationError
from learner_app.schema.pending import pending_migrations


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
        MigrationError: one of them failed; those before it stay applied.
    """
    with engine.as_owner():
        pending = await _count_pending(engine)
        if pending:
            await _transcript(run_forwards(app_name="all"))
    return pending


async def plan_migrations(engine: DatabaseEngine) -> str:
    """The SQL that :func:`apply_migrations` would run; empty when nothing is pending."""
    if not await _count_pending(engine):
        return ""
    return await _transcript(run_forwards(app_name="all", preview=True))


async def roll_back(app: str, migration_id: str) -> None:
    """Undo the migrations of an app down to and including that one; ``1`` is the last one.

    Raises:
        MigrationError: there is no such app or migration.
    """
    _check_app(app)
    await _transcript(run_backwards(app, migration_id, auto_agree=True))


async def plan_roll_back(app: str, migration_id: str) -> str:
    """The SQL that :func:`roll_back` would run; empty when nothing is applied.

    Raises:
        MigrationError: there is no such app or migration.
    """
    _check_app(app)
    plan = await _transcript(run_backwards(app, migration_id, auto_agree=True, preview=True))
    return plan if "backwards]" in plan else ""


async def migration_states(engine: DatabaseEngine) -> list[MigrationState]:
    """All migrations in the order in which they are applied."""
    await wait_for_database(engine)
    found = await CheckMigrationManager(app_name="all").get_migration_statuses()
    order = Finder().get_sorted_app_names()
    journal = {(row["app_name"], row["name"]): row["ran_on"] for row in await Migration.select()}
    return [
        MigrationState(
            item.app_name,
            item.migration_id,
            item.description,
            journal.get((item.app_name, item.migration_id)),
        )
        for item in sorted(found, key=lambda item: (order.index(item.app_name), item.migration_id))
    ]


async def _count_pending(engine: DatabaseEngine) -> int:
    await wait_for_database(engine)
    connection = await engine.get_new_connection()
    try:
        return len(await pending_migrations(connection))
    finally:
        await connection.close()


async def _transcript(command: Awaitable[MigrationResult]) -> str:
    """Run one of Piccolo's commands and return what it printed."""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            result = await command
    except DatabaseError as error:
        raise MigrationError(
            f"a migration failed, it changed nothing: {error}. {_last_step(printed.getvalue())}"
        ) from error
    if not result.success:
        raise MigrationError(result.message or "the migrations failed")
    return printed.getvalue()


def _last_step(transcript: str) -> str:
    """The line of the transcript that names the migration under way."""
    steps = [line.strip(" -.") for line in transcript.splitlines() if line.startswith("  - ")]
    return f"It was {steps[-1]}." if steps else ""


def _check_app(app: str) -> None:
    apps = Finder().get_app_names()
    if app not in apps:
        raise MigrationError(f"there is no app {app!r}; the apps are {', '.join(sorted(apps))}")
