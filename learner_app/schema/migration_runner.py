"""Execution of migrations, each in one transaction with its row in the history.

Piccolo takes no lock and writes the history after the transaction of the migration: two processes
collide, and after a crash in between a migration runs twice. Here each migration runs under an
advisory lock, reads the history again, and commits together with its row, exactly once. Only a
migration with ``wrap_in_transaction=False`` may run twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

from piccolo.apps.migrations.auto.migration_manager import MigrationManager as PiccoloManager
from piccolo.conf.apps import AppConfig
from piccolo.engine import Engine

from learner_app.errors import LockTimeout, MigrationError
from learner_app.schema.migration_engine import MigrationEngine
from learner_app.schema.migration_errors import as_migration_errors, run_statement
from learner_app.schema.migration_history import MigrationHistory
from learner_app.schema.migration_lock import locked_session, locked_transaction
from learner_app.schema.migrations import MigrationManager
from learner_app.schema.pending import migration_modules
from learner_app.schema.piccolo_hooks import use_engine
from learner_app.schema.replaced_migrations import (
    comment_statements,
    is_replacement_due,
    replaced_by,
    verify_replaced,
)

LOCK_TIMEOUT_SECONDS = 5
"""Time that DDL waits for the lock of a table; meanwhile it blocks new readers of the table."""

LOCK_ATTEMPTS = 6

ALL = "all"
ONE = "1"
"""Arguments of Piccolo's commands for all migrations, and for the next or last one."""

Report = Callable[[str], None]
Step = Callable[[], Awaitable[None]]


class MigrationRunner:
    """Migrations of one app on one database.

    Args:
        engine: engine of the database, which need not be the one of ``piccolo_conf``.
        app: the app with its folder of migrations.
        report: receives lines for the user.
    """

    def __init__(self, engine: MigrationEngine, app: AppConfig, *, report: Report = print) -> None:
        self._engine = engine
        self._app = app.app_name
        self._report = report
        self._history = MigrationHistory(engine)
        self._modules = migration_modules(app)

    def file_of(self, migration_id: str) -> Path:
        """Return the file of a migration."""
        return Path(self._modules[migration_id].__file__)

    async def to_apply(self, migration_id: str = ALL) -> list[str]:
        """Return the migrations to apply up to and including one, in order.

        Raises:
            MigrationError: the app has no such migration.
        """
        ids = sorted(self._modules)
        applied = await self._effectively_applied()
        waiting = [each for each in ids if each not in applied]
        if migration_id in applied or (not waiting and migration_id in (ALL, ONE)):
            return []
        last = {ALL: waiting[-1:], ONE: waiting[:1]}.get(migration_id, [migration_id])[0]
        if last not in waiting:
            raise MigrationError(f"app {self._app} has no migration {migration_id}")
        return waiting[: waiting.index(last) + 1]

    async def to_undo(self, migration_id: str = ALL) -> list[str]:
        """Return the migrations to undo down to and including one, the last one first.

        Raises:
            MigrationError: it is not applied, or a file is missing.
        """
        applied = await self._effectively_applied()
        if not applied and migration_id in (ALL, ONE):
            return []
        first = {ALL: applied[:1], ONE: applied[-1:]}.get(migration_id, [migration_id])[0]
        if first not in applied:
            raise MigrationError(f"migration {migration_id} of app {self._app} is not applied")
        chosen = applied[applied.index(first) :][::-1]
        if unknown := [each for each in chosen if each not in self._modules]:
            raise MigrationError(
                f"the files of applied migrations of app {self._app} are missing, restore them: "
                f"{', '.join(unknown)}"
            )
        return chosen

    async def _effectively_applied(self) -> list[str]:
        """Return the applied migrations, with a replacement instead of what it replaces."""
        applied = set(await self._history.applied(self._app))
        for migration_id, module in self._modules.items():
            if is_replacement_due(module, migration_id, applied):
                applied -= replaced_by(module)
                applied.add(migration_id)
        return sorted(applied)

    async def preview(self, migration_ids: Sequence[str], *, backwards: bool) -> None:
        """Report the SQL of migrations and execute nothing."""
        direction = "backwards" if backwards else "forwards"
        for migration_id in migration_ids:
            manager = await self._manager(migration_id)
            if isinstance(manager, PiccoloManager):
                self._report(f"  - {migration_id} [preview {direction}]... ")
                manager.preview = True
                await manager.run(backwards=backwards)
                self._report("")

    async def apply(self, migration_ids: Sequence[str], *, fake: bool = False) -> None:
        """Apply migrations in order, unless another process applies one first.

        Args:
            migration_ids: result of :meth:`to_apply`.
            fake: record them as applied and change nothing else.

        Raises:
            MigrationError: one failed; the text names it, the statement and the server's message.
        """
        await self._adopt_replaced()
        for migration_id in migration_ids:
            await self._apply(migration_id, fake=fake)

    async def _apply(self, migration_id: str, *, fake: bool) -> None:
        manager = await self._manager(migration_id)

        async def step() -> None:
            if await self._history.is_applied(self._app, migration_id):
                self._report(f"  - {migration_id}: applied by another process")
                return
            is_fake = fake or getattr(manager, "fake", False)
            if isinstance(manager, PiccoloManager) and not is_fake:
                with use_engine(cast("Engine[Any]", self._engine)):  # for queries of its functions
                    await manager.run()
            await self._history.record(self._app, migration_id)
            self._report(f"  - {migration_id} [forwards]... {'faked! ⏭️' if is_fake else 'ok! ✔️'}")

        await self._run_locked(step, manager, migration_id)

    async def undo(self, migration_ids: Sequence[str]) -> None:
        """Undo migrations in this order, unless another process undoes one first.

        Raises:
            MigrationError: see :meth:`apply`.
        """
        await self._adopt_replaced()
        for migration_id in migration_ids:
            await self._undo(migration_id)

    async def _undo(self, migration_id: str) -> None:
        manager = await self._manager(migration_id)

        async def step() -> None:
            if not await self._history.is_applied(self._app, migration_id):
                self._report(f"  - {migration_id}: undone by another process")
                return
            if isinstance(manager, PiccoloManager):
                with use_engine(cast("Engine[Any]", self._engine)):
                    await manager.run(backwards=True)
            await self._history.remove(self._app, [migration_id])
            self._report(f"  - {migration_id} [backwards]... ok! ✔️")

        await self._run_locked(step, manager, migration_id)

    async def _adopt_replaced(self) -> None:
        """Replace the rows of former migrations by that of the migration that combines them."""
        applied = await self._history.applied(self._app)
        for migration_id, module in self._modules.items():
            if not is_replacement_due(module, migration_id, applied):
                continue
            manager = await self._manager(migration_id)
            async with locked_transaction(
                self._engine, lock_timeout=LOCK_TIMEOUT_SECONDS
            ) as connection:
                if await self._history.is_applied(self._app, migration_id):
                    continue  # another process was faster
                await verify_replaced(connection, migration_id, manager)
                for statement in comment_statements(manager):
                    await run_statement(self._engine, statement)
                await self._history.record(self._app, migration_id)
                await self._history.remove(self._app, replaced_by(module))
            self._report(f"  - {migration_id}: recognised, it replaces former migrations")

    async def _manager(self, migration_id: str) -> Any:
        """Return the operations of a migration, bound to the engine of this runner.

        Piccolo also allows a ``forwards()`` without a manager, which does the work by itself.
        """
        manager = await self._modules[migration_id].forwards()
        if isinstance(manager, MigrationManager):
            manager.app_name = manager.app_name or self._app
            manager.engine = self._engine
            manager.report = self._report
        return manager

    async def _run_locked(self, step: Step, manager: Any, migration_id: str) -> None:
        """Run the step under the advisory lock, by default in a transaction.

        Raises:
            MigrationError: names the migration, the statement and the message of the server.
        """
        in_transaction = not isinstance(manager, PiccoloManager) or manager.wrap_in_transaction
        async with as_migration_errors(self._app, migration_id, in_transaction=in_transaction):
            if in_transaction:
                await self._run_in_transaction(step)
            else:
                async with locked_session(self._engine):
                    await step()

    async def _run_in_transaction(self, step: Step) -> None:
        """Run the step in one transaction, and repeat it while a table is locked.

        While DDL waits for a table, all later statements on the table wait too. DDL therefore
        waits a short time only. After a rollback, during which they proceed, the step is repeated.
        """
        for attempt in range(1, LOCK_ATTEMPTS + 1):
            try:
                async with locked_transaction(self._engine, lock_timeout=LOCK_TIMEOUT_SECONDS):
                    await step()
            except LockTimeout as error:
                if attempt == LOCK_ATTEMPTS:
                    raise MigrationError(
                        "a table stayed locked by another session: "
                        "end long transactions and run the migrations again"
                    ) from error
                self._report("waiting for a locked table")
                await asyncio.sleep(attempt)
            else:
                return
