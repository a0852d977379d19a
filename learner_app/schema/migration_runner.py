"""Applying migrations: each one exactly once, together with its row in Piccolo's journal.

Piccolo takes no lock and writes the journal after the migration's transaction, so that two
processes collide and a crash in between makes a migration run twice. Here each migration takes
its turn under an advisory lock, looks into the journal again, and commits with its journal row.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from piccolo.apps.migrations.auto.migration_manager import MigrationManager as PiccoloManager
from piccolo.apps.migrations.commands import backwards, base, check, forwards, new
from piccolo.apps.migrations.commands.base import BaseMigrationManager, MigrationResult
from piccolo.apps.migrations.tables import Migration
from piccolo.conf.apps import AppConfig, MigrationModule
from piccolo.engine import PostgresEngine, engine_finder

from learner_app.errors import LockTimeout, MigrationError
from learner_app.schema import piccolo_hooks
from learner_app.schema.differ import Differ
from learner_app.schema.migration_errors import failures_of, run_statement
from learner_app.schema.ownership import protect_journal, require_owner
from learner_app.schema.pending import MigrationKey, applied_migrations

ADVISORY_LOCK = 0x6C6561726E6572
"""Key of the lock, the letters of "learner"; locks are per database."""

LOCK_TIMEOUT_SECONDS = 5
"""How long DDL queues for a table; behind it every reader of the table waits as well."""

LOCK_ATTEMPTS = 6
POLL_SECONDS = 0.1

Step = Callable[[], Awaitable[None]]


def install() -> None:
    """Make Piccolo's ``migrations`` commands use this module, our differ and our template."""
    forwards.ForwardsMigrationManager = _Forwards  # type: ignore[misc]  # the commands look it up there
    backwards.BackwardsMigrationManager = _Backwards  # type: ignore[misc]  # the same
    check.CheckMigrationManager.get_migration_statuses = _statuses  # type: ignore[method-assign, assignment]  # main.py has the class already
    new.SchemaDiffer = Differ  # type: ignore[attr-defined]  # the same
    base.BaseMigrationManager.create_migration_table = _create_journal  # type: ignore[method-assign, assignment]  # every command inherits it
    templates = Path(__file__).with_name("templates")
    piccolo_hooks.install()
    new.JINJA_ENV.loader = jinja2.FileSystemLoader([str(templates), new.TEMPLATE_DIRECTORY])


CURRENT_SCHEMA = "SELECT current_schema()"
HAS_JOURNAL = (
    "SELECT to_regclass(quote_ident(current_schema()) || '.migration') IS NOT NULL AS exists"
)


async def _create_journal(_manager: BaseMigrationManager) -> bool:
    """Create the journal in the current schema unless it exists."""
    connection = await _engine().get_new_connection()
    try:
        schema = await connection.fetchval(CURRENT_SCHEMA)
        exists = await connection.fetchval(HAS_JOURNAL)
    finally:
        await connection.close()
    if schema is None:
        raise MigrationError(
            "search_path names no schema that exists and that the role may use: CREATE SCHEMA first"
        )
    if exists:
        return False
    async with _turn(lock_timeout=False) as connection:
        if not (await Migration.raw(HAS_JOURNAL))[0]["exists"]:
            for statement in Migration.create_table().ddl:
                await run_statement(_engine(), statement)
            await protect_journal(connection)
    return True


async def _applied() -> dict[MigrationKey, datetime]:
    connection = await _engine().get_new_connection()
    try:
        return await applied_migrations(connection)
    finally:
        await connection.close()


async def _applied_to(app_name: str) -> list[str]:
    return sorted(migration_id for app, migration_id in await _applied() if app == app_name)


async def _statuses(manager: check.CheckMigrationManager) -> list[check.MigrationStatus]:
    """Return the migrations of the chosen apps without creating a journal, as Piccolo does."""
    applied = await _applied()
    return [
        check.MigrationStatus(
            app_name=config.app_name,
            migration_id=migration_id,
            description=getattr(module, "DESCRIPTION", "-"),
            has_ran=(config.app_name, migration_id) in applied,
        )
        for config in manager.get_app_configs()
        if manager.app_name in ("all", config.app_name)
        for migration_id, module in sorted(
            manager.get_migration_modules(config.resolved_migrations_folder_path).items()
        )
    ]


class _Forwards(forwards.ForwardsMigrationManager):
    async def create_migration_table(self) -> bool:
        return False if self.preview else await super().create_migration_table()

    async def run_migrations(self, app_config: AppConfig) -> MigrationResult:
        modules = self.get_migration_modules(app_config.resolved_migrations_folder_path)
        ids = self.get_migration_ids(modules)
        ran = await _applied_to(app_config.app_name)
        waiting = [migration_id for migration_id in ids if migration_id not in ran]
        if self.migration_id not in ("all", "1", *waiting, *ran):
            return _failure(f"{self.migration_id} is unrecognised")
        if self.migration_id in ran or not waiting:
            print("🏁 No migrations need to be run")
            return MigrationResult(success=True)
        last = {"all": waiting[-1], "1": waiting[0]}.get(self.migration_id, self.migration_id)
        chosen = waiting[: waiting.index(last) + 1]
        question = f"Mark {len(chosen)} migrations as run without running them? [y/N] "
        if self.fake and len(chosen) > 1 and not _agrees(question):
            return _failure("Not proceeding.")
        print(f"🚀 Running {len(chosen)} of {len(ids)} migrations:")
        for migration_id in chosen:
            await self._forward(app_config.app_name, migration_id, modules[migration_id])
        return MigrationResult(success=True, message="Migration succeeded")

    async def _forward(self, app: str, migration_id: str, module: MigrationModule) -> None:
        manager = await module.forwards()
        if self.preview:
            await _run_preview(manager, backwards=False)
            return

        async def step() -> None:
            if await _journal_has(app, migration_id):
                print(f"  - {migration_id}: another process was faster")
                return
            if self.fake or getattr(manager, "fake", False):
                print(f"  - {migration_id}: faked! ⏭️")
            elif isinstance(manager, PiccoloManager):
                await manager.run()
                print("ok! ✔️")
            await Migration.insert(Migration(name=migration_id, app_name=app))

        await _in_turn(step, manager, app, migration_id)


class _Backwards(backwards.BackwardsMigrationManager):
    async def create_migration_table(self) -> bool:
        """Create nothing: without a journal there is nothing to reverse."""
        return False

    async def run_migrations_backwards(self, app_config: AppConfig) -> MigrationResult:
        modules = self.get_migration_modules(app_config.resolved_migrations_folder_path)
        ran = await _applied_to(self.app_name)
        if not ran:
            print("🏁 No migrations to reverse!")
            return MigrationResult(success=True)
        first = {"all": ran[0], "1": ran[-1]}.get(self.migration_id, self.migration_id)
        if first not in ran:
            return _failure(f"Unrecognized migration name - must be one of {ran}")
        chosen = ran[ran.index(first) :][::-1]
        if unknown := [migration_id for migration_id in chosen if migration_id not in modules]:
            raise MigrationError(f"there is no file for the applied migrations {unknown}")
        if not self.auto_agree and not _agrees(f"Reverse {len(chosen)} migrations? [y/N] "):
            return _failure("Not proceeding.")
        for migration_id in chosen:
            await self._backward(migration_id, modules[migration_id])
        return MigrationResult(success=True)

    async def _backward(self, migration_id: str, module: MigrationModule) -> None:
        manager = await module.forwards()
        if self.preview:
            await _run_preview(manager, backwards=True)
            return

        async def step() -> None:
            if not await _journal_has(self.app_name, migration_id):
                print(f"  - {migration_id}: another process was faster")
                return
            if isinstance(manager, PiccoloManager):
                await manager.run(backwards=True)
            await Migration.delete().where(_journal_row(self.app_name, migration_id))
            print("ok! ✔️")

        await _in_turn(step, manager, self.app_name, migration_id)
        if self.clean:
            _remove_file(module)


def _agrees(question: str) -> bool:
    return input(question).lower() == "y"


def _remove_file(module: MigrationModule) -> None:
    if module.__file__:
        Path(module.__file__).unlink()


def _failure(message: str) -> MigrationResult:
    print(message)
    return MigrationResult(success=False, message=message)


async def _run_preview(manager: Any, *, backwards: bool) -> None:
    if isinstance(manager, PiccoloManager):
        manager.preview = True
        await manager.run(backwards=backwards)
        print()


def _journal_row(app: str, migration_id: str) -> Any:
    return (Migration.name == migration_id) & (Migration.app_name == app)


async def _journal_has(app: str, migration_id: str) -> bool:
    return bool(await Migration.exists().where(_journal_row(app, migration_id)))


async def _in_turn(step: Step, manager: Any, app: str, migration_id: str) -> None:
    """Run the step in one transaction under the lock, again when a table stays locked.

    Raises:
        MigrationError: names the migration, the statement and the message of the server.
    """
    in_transaction = not isinstance(manager, PiccoloManager) or manager.wrap_in_transaction
    async with failures_of(app, migration_id, in_transaction=in_transaction):
        if in_transaction:
            await _in_transaction(step)
            return
        async with _turn_outside_transaction():
            await step()


async def _in_transaction(step: Step) -> None:
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            async with _turn():
                await step()
        except LockTimeout as error:
            if attempt == LOCK_ATTEMPTS:
                raise MigrationError(
                    "a table stayed locked by another session: "
                    "end long transactions and run the migrations again"
                ) from error
            print("waiting for a locked table")
            await asyncio.sleep(attempt)
        else:
            return


def _engine() -> PostgresEngine:
    engine = engine_finder()
    if not isinstance(engine, PostgresEngine):
        raise MigrationError("piccolo_conf names no PostgreSQL engine")
    return engine


@asynccontextmanager
async def _turn(lock_timeout: bool = True) -> AsyncIterator[Any]:
    """A transaction that holds the lock; yields its connection.

    Asked for again and again, not waited for: a statement that waits holds a snapshot, and CREATE
    INDEX CONCURRENTLY in the process before us would wait for that one for ever.
    """
    while True:
        async with _engine().transaction() as transaction:
            execute, fetchval = transaction.connection.execute, transaction.connection.fetchval
            if await fetchval(f"SELECT pg_try_advisory_xact_lock({ADVISORY_LOCK})"):
                await require_owner(transaction.connection)
                if lock_timeout:
                    await execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'")
                yield transaction.connection
                return
        await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def _turn_outside_transaction() -> AsyncIterator[None]:
    """Hold the lock for a migration with ``wrap_in_transaction=False``, which may run twice."""
    connection = await _engine().get_new_connection()
    try:
        while not await connection.fetchval(f"SELECT pg_try_advisory_lock({ADVISORY_LOCK})"):
            await asyncio.sleep(POLL_SECONDS)
        await require_owner(connection)
        yield
    finally:
        await connection.close()
