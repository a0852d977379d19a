"""Transactions that always give their connection back, and savepoints when nested."""

import logging
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Self

import asyncpg
from piccolo.engine.postgres import PostgresTransaction

from learner_app.errors import TransactionRolledBack

if TYPE_CHECKING:
    from learner_app.database.engine import DatabaseEngine

log = logging.getLogger(__name__)


class Transaction(PostgresTransaction):
    """``async with engine.transaction()``.

    Differs from Piccolo's: a nested block is a savepoint; the context is reset and the connection
    released whatever happens; a failing rollback does not hide the first error; a COMMIT that the
    server answers with ROLLBACK raises :class:`TransactionRolledBack`.
    """

    __slots__ = ("savepoint_name",)
    engine: "DatabaseEngine"

    async def __aenter__(self) -> Self:
        if isinstance(self._parent, Transaction):
            self.connection = self._parent.connection
            root = self._root()
            self.savepoint_name = f"nested_{root.get_savepoint_id()}"
            await self.connection.execute(f"SAVEPOINT {self.savepoint_name}")
        else:
            self.connection = await self.engine.take_connection()
            try:
                await self.connection.execute("BEGIN")
            except BaseException:
                await self.engine.give_back(self.connection)
                raise
        self.context = self.engine.current_transaction.set(self)
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self.engine.current_transaction.reset(self.context)
        try:
            if exception is None:
                await self._finish()
            else:
                await self._undo()
        finally:
            if self._parent is None:
                await self.engine.give_back(self.connection)
        return False

    def _root(self) -> "Transaction":
        return self._parent._root() if isinstance(self._parent, Transaction) else self

    async def _finish(self) -> None:
        if not self._committed and not self._rolled_back:
            await self.commit()

    async def _undo(self) -> None:
        if self._rolled_back or self._committed:
            return
        try:
            await self.rollback()
        except Exception as error:  # noqa: BLE001  # logged; the first error goes on
            # The connection goes with it, so nothing of the block can be committed any more.
            log.warning("rollback failed with %s, connection dropped", type(error).__name__)
            with suppress(asyncpg.InterfaceError):  # asyncpg gave it up already
                self.connection.terminate()

    async def commit(self) -> None:
        """Commit; a nested block keeps its work in the outer one."""
        self._committed = True
        if self._parent is not None:
            await self._release()
        elif await self.connection.execute("COMMIT") == "ROLLBACK":
            raise TransactionRolledBack(
                "nothing was committed: an error inside the transaction had been caught"
            )

    async def rollback(self) -> None:
        """Undo all of the block; the outer one of a nested block stays usable."""
        self._rolled_back = True
        if self._parent is None:
            await self.connection.execute("ROLLBACK")
        else:
            await self._return_to_savepoint()

    async def _release(self) -> None:
        try:
            await self.connection.execute(f"RELEASE SAVEPOINT {self.savepoint_name}")
        except asyncpg.InFailedSQLTransactionError:
            await self._return_to_savepoint()
            raise TransactionRolledBack(
                "the nested block was rolled back: an error inside it had been caught"
            ) from None

    async def _return_to_savepoint(self) -> None:
        name = self.savepoint_name
        await self.connection.execute(f"ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}")
