"""Migrations called from code: apply, plan, undo and list them on a given database."""

from dataclasses import dataclass
from datetime import datetime

from piccolo.conf.apps import AppConfig, Finder

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import MigrationError
from learner_app.schema.migration_history import MigrationHistory
from learner_app.schema.migration_runner import MigrationRunner
from learner_app.schema.pending import (
    History,
    declared_migrations,
    migration_modules,
    read_history,
    with_replacements,
)


@dataclass(frozen=True)
class MigrationState:
    """Migration file with the time when it was applied to a database.

    ``applied_at`` has no time zone: it is the local time of the process that applied it.
    """

    app: str
    id: str
    description: str
    applied_at: datetime | None


async def apply_migrations(engine: DatabaseEngine) -> int:
    """Apply the pending migrations to the database of the engine, as its owner role.

    Several databases may be migrated concurrently in one process.

    Returns:
        The number of migrations that were pending.

    Raises:
        MigrationError: a migration failed; those before it stay applied. The text names the
            migration, the statement and the message of the server, without row values.
    """
    with engine.as_owner():
        history = await _read_history(engine)
        applied = with_replacements(history)
        pending = len(declared_migrations() - applied.keys())
        if pending or applied != history:
            await MigrationHistory(engine).create()
            for app in _apps():
                runner = MigrationRunner(engine, app, report=_ignore)
                await runner.apply(await runner.to_apply())
    return pending


async def plan_migrations(engine: DatabaseEngine) -> str:
    """Return the SQL that :func:`apply_migrations` would run, planned as the owner role.

    The text is empty if nothing is pending. The function writes nothing and needs no CREATE
    privilege. Before the first migration, all of them are pending.
    """
    lines: list[str] = []
    with engine.as_owner():
        await engine.wait_until_ready()
        for app in _apps():
            runner = MigrationRunner(engine, app, report=lines.append)
            await runner.preview(await runner.to_apply(), backwards=False)
    return "\n".join(lines)


async def roll_back(engine: DatabaseEngine, app: str, migration_id: str) -> None:
    """Undo the migrations of an app down to and including one, as the owner role.

    Args:
        engine: engine of the database.
        app: name of the app.
        migration_id: id of the migration, ``1`` for the last one, ``all`` for all.

    Raises:
        MigrationError: there is no such app or migration, or a migration failed.
    """
    with engine.as_owner():
        runner = MigrationRunner(engine, _app(app), report=_ignore)
        await runner.undo(await runner.to_undo(migration_id))


async def plan_roll_back(engine: DatabaseEngine, app: str, migration_id: str) -> str:
    """Return the SQL that :func:`roll_back` would run, planned as the owner role.

    The text is empty if nothing is applied. The function writes nothing.

    Raises:
        MigrationError: there is no such app or migration.
    """
    lines: list[str] = []
    with engine.as_owner():
        runner = MigrationRunner(engine, _app(app), report=lines.append)
        await runner.preview(await runner.to_undo(migration_id), backwards=True)
    return "\n".join(lines)


async def migration_states(engine: DatabaseEngine) -> list[MigrationState]:
    """Return all migrations in the order in which they are applied, without writing."""
    applied = with_replacements(await _read_history(engine))
    return [
        MigrationState(
            app.app_name,
            migration_id,
            getattr(module, "DESCRIPTION", "-"),
            applied.get((app.app_name, migration_id)),
        )
        for app in _apps()
        for migration_id, module in sorted(migration_modules(app).items())
    ]


async def _read_history(engine: DatabaseEngine) -> History:
    await engine.wait_until_ready()
    connection = await engine.get_new_connection()
    try:
        return await read_history(connection)
    finally:
        await connection.close()


def _apps() -> list[AppConfig]:
    return Finder().get_app_configs(sort_by_migration_dependencies=True)


def _app(name: str) -> AppConfig:
    apps = {app.app_name: app for app in _apps()}
    if name not in apps:
        raise MigrationError(f"there is no app {name!r}; the apps are {', '.join(sorted(apps))}")
    return apps[name]


def _ignore(_line: str) -> None:
    """Discard a line for the user, because the caller gets results and errors."""
