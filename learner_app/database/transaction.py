"""Transactions that end as a whole whatever happens, and savepoints when nested."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import asyncpg
from piccolo.engine.postgres import PostgresTransaction

from learner_app.database.cancellation import Callback, call_back, finish
from learner_app.database.commit_status import read_transaction_id
from learner_app.database.connection import Connection
from learner_app.database.ending import UNDO_SECONDS, begin, commit, release, undo
from learner_app.database.error_mapping import DRIVER_ERRORS
from learner_app.database.exclusive_lock import Turns
from learner_app.database.executor import OVER
from learner_app.database.lease import Lease
from learner_app.errors import (
    DatabaseError,
    TransactionAborted,
    TransactionBusy,
    TransactionError,
    TransactionFinished,
    TransactionId,
    TransactionRolledBack,
)

if TYPE_CHECKING:
    from learner_app.database.engine import DatabaseEngine

T = TypeVar("T")
Isolation = Literal["read committed", "repeatable read", "serializable"]


class State(Enum):
    NEW = "not entered yet"
    OPEN = "open"
    DECIDED = "committed or rolled back by hand"
    OVER = "over"


class Transaction(PostgresTransaction):
    """``async with engine.transaction()``: see :meth:`DatabaseEngine.transaction`."""

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_connection",
        "_failure",
        "_lease",
        "_options",
        "_owner",
        "_root",
        "_state",
        "_traced",
        "_turns",
        "is_read_only",
        "savepoint_name",
        "transaction_id",
    )
    engine: DatabaseEngine
    _connection: Connection
    _parent: Transaction | None

    def __init__(
        self,
        engine: DatabaseEngine,
        *,
        isolation: Isolation | None = None,
        read_only: bool = False,
        deferrable: bool = False,
        track_commit: bool = False,
        allow_nested: bool = True,
    ) -> None:
        super().__init__(engine, allow_nested)
        self._parent = None
        self._root = self
        self._state = State.NEW
        self._turns = Turns()
        self._lease: Lease | None = None
        self._callbacks: list[Callback] = []
        self._failure: DatabaseError | None = None
        self._traced = track_commit
        self._owner: weakref.ref[asyncio.Task[Any]] | None = None
        self.is_read_only = read_only
        self.transaction_id: TransactionId | None = None
        level = f" ISOLATION LEVEL {isolation.upper()}" if isolation else ""
        self._options = level + " READ ONLY" * read_only + " DEFERRABLE" * deferrable

    @property
    def connection(self) -> Lease:
        """Lease of the driver's connection, valid until the block ends.

        Its statements do not wait for those of other tasks.

        Raises:
            TransactionError: the block was not entered yet.
        """
        if self._lease is None:
            if self._state is State.NEW:
                raise TransactionError("a transaction has a connection once it was entered")
            self._lease = Lease(self._connection, lambda: self.is_open)
        return self._lease

    @property
    def is_open(self) -> bool:
        """Whether statements can be sent in it."""
        return self._state is State.OPEN and self._root._state is State.OPEN

    @property
    def is_abandoned(self) -> bool:
        """Whether its block ended in another context, as a generator's does when it is dropped.

        The variable that names it could not be reset then; for its own task it does not count.
        """
        owner = self._owner() if self._owner else None
        return self._state is State.OVER and owner is asyncio.current_task()

    async def __aenter__(self) -> Self:
        if self._state is not State.NEW:
            raise TransactionError("a transaction can be entered once")
        parent = self.engine.enclosing_transaction()
        if parent is None:
            self._connection = await begin(self.engine, f"BEGIN{self._options}")
        else:
            await self._begin_nested(parent)
        self._state = State.OPEN
        if task := asyncio.current_task():
            self._owner = weakref.ref(task)
        self.context = self.engine.current_transaction.set(self)
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        try:
            self.engine.current_transaction.reset(self.context)
        except ValueError:
            self._leave_from_outside()
        await finish(self._end(keep=exception is None))
        return False

    def _leave_from_outside(self) -> None:
        """As of a generator that is closed in another context: mend that of our task if we can."""
        owner = self._owner() if self._owner else None
        if owner is not None and hasattr(owner, "get_context"):  # Python 3.12 and newer
            with suppress(RuntimeError):  # it runs just now, and then sees by itself
                owner.get_context().run(self.engine.current_transaction.set, self._parent)

    def after_commit(self, callback: Callback) -> None:
        """Call it, and await what it returns, once the outermost transaction is committed.

        Dropped when this block, or one around it, is rolled back. What it raises is logged: the
        commit stands.
        """
        self._callbacks.append(callback)

    async def perform(self, work: Callable[[Connection], Awaitable[T]], statement: str = "") -> T:
        """Do something on the connection in turn with other tasks inside the block."""
        await self._turns.take(self.engine.settings.db_command_timeout)
        connection = self._connection
        try:
            self._require_open()
            return await work(connection)
        except DatabaseError:
            raise
        except DRIVER_ERRORS as error:
            read_only = self._root.is_read_only
            failure = self.engine.failure(error, statement, connection, read_only=read_only)
            self._note_failure(failure)
            raise failure from error
        finally:
            self._end_turn()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Lease]:
        """The connection for this task alone, for as long as the block lasts."""
        await self._turns.take(self.engine.settings.db_command_timeout)
        lease = Lease(self._connection, lambda: self.is_open)
        try:
            try:
                self._require_open()
                yield lease
            finally:
                lease.end()
        except DatabaseError:
            raise
        except DRIVER_ERRORS as error:
            if not lease.has_raised(error):
                raise
            failure = self.engine.failure(error, "", self._connection)
            self._note_failure(failure)
            raise failure from error
        finally:
            self._end_turn()

    def _end_turn(self) -> None:
        """Pass the connection to the next task as soon as no statement is running on it."""
        turns, connection = self._turns, self._connection
        if connection.is_running and turns.is_last():
            turns.disown()
            connection.call_when_idle(turns.release)
        else:
            turns.release()

    async def commit(self) -> None:
        """Commit before the end of the block.

        The work of a nested block becomes part of the outer transaction.

        Raises:
            TransactionError: inside a nested block, for a transaction around it.
        """
        await self._decide(self._keep)

    async def rollback(self) -> None:
        """Roll back before the end of the block.

        The outer transaction of a nested block stays usable.

        Raises:
            TransactionError: inside a nested block, for a transaction around it.
        """
        await self._decide(self._undo)

    async def rollback_to(self, savepoint_name: str) -> None:
        """Roll back to a savepoint.

        Raises:
            TransactionError: inside a nested block, for a transaction around it.
        """
        self._require_innermost()
        await super().rollback_to(savepoint_name)

    async def _decide(self, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._require_innermost()
        await self._turns.take(self.engine.settings.db_command_timeout)
        try:
            self._require_open()
            self._state = State.DECIDED
            await finish(end())
        finally:
            self._end_turn()

    def _require_innermost(self) -> None:
        """Raise if this task is inside a block nested in this one, which it would wait for."""
        inner: Transaction | None = self.engine.current_transaction.get()
        is_nested = False
        while inner is not None and inner is not self:
            is_nested = is_nested or inner._state is State.OPEN
            inner = inner._parent
        if inner is self and is_nested:
            raise TransactionError(
                "an outer transaction cannot be ended inside a nested block: leave that block first"
            )

    async def _begin_nested(self, parent: Transaction) -> None:
        if self._options:
            raise TransactionError("isolation and the like are for the outermost block")
        await parent._turns.take(self.engine.settings.db_command_timeout)
        try:
            parent._require_open()
            self._connection = parent._connection
            self._root = parent._root
            self.savepoint_name = f"nested_{self._root.get_savepoint_id()}"
            await self._connection.control(f"SAVEPOINT {self.savepoint_name}")
        except BaseException as error:
            parent._end_turn()
            if isinstance(error, DRIVER_ERRORS):
                raise self.engine.failure(error, "SAVEPOINT", self._connection) from error
            raise
        if parent._turns.is_last():
            parent._turns.disown()
        self._parent = parent

    async def _end(self, *, keep: bool) -> None:
        """Commit or roll back, then let go of the connection, and only then run the callbacks."""
        has_turn = False
        try:
            has_turn = await self._take_last_turn(keep=keep)
            if self._state is State.OPEN:
                self._state = State.OVER
                await (self._keep() if keep else self._undo())
        finally:
            self._state = State.OVER
            if self._lease is not None:
                self._lease.end()
            if has_turn:  # who waits for it finds the transaction over
                self._turns.release()
            if self._parent is not None:
                self._parent._end_turn()
            else:
                await self.engine.give_back(self._connection)
        if self._committed and self._parent is not None:
            self._parent._callbacks += self._callbacks
        elif self._committed:
            await call_back(self._callbacks)

    async def _take_last_turn(self, *, keep: bool) -> bool:
        """Wait for what other tasks are doing; whether they came to an end."""
        patience = self.engine.settings.db_acquire_timeout if keep else UNDO_SECONDS
        try:
            await self._turns.take(patience)
        except TransactionBusy:
            self._connection.terminate()  # undoes everything, also what the other task is at
            if keep:
                raise
            return False
        return True

    def _note_failure(self, failure: DatabaseError) -> None:
        if not isinstance(failure, TransactionAborted):  # that is a consequence only
            self._failure = self._root._failure = failure

    def _require_open(self) -> None:
        if not self.is_open:
            raise TransactionFinished(OVER)

    async def _keep(self) -> None:
        try:
            if self._parent is None:
                await self._commit()
            elif self._root._state is State.OPEN:
                await release(self.engine, self._connection, self.savepoint_name)
            else:
                raise TransactionFinished("the outer transaction was over before the nested block")
        except TransactionRolledBack as error:
            raise error from self._failure
        self._committed = True

    async def _commit(self) -> None:
        if self._traced and not self._connection.is_closed():
            try:
                self.transaction_id = await read_transaction_id(self._connection)
            except asyncpg.InFailedSQLTransactionError:
                pass  # COMMIT will say so
            except DRIVER_ERRORS as error:
                raise self.engine.failure(error, "", self._connection) from error
        await commit(
            self.engine, self._connection, self.transaction_id, read_only=self.is_read_only
        )

    async def _undo(self) -> None:
        if self._parent is None:
            await undo(self._connection, None)
        elif self._root._state is State.OPEN:
            await undo(self._connection, self.savepoint_name)
