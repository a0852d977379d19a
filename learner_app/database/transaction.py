"""Transaction blocks and savepoints, which are completed even if their task is cancelled."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from enum import Enum
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import asyncpg
from piccolo.engine.postgres import PostgresTransaction

from learner_app.database.after_commit import Callback, call_all
from learner_app.database.cancellation import finish
from learner_app.database.connection import Connection
from learner_app.database.engine_parts import CurrentTransaction, EngineParts
from learner_app.database.error_mapping import (
    DRIVER_ERRORS,
    is_error_of_caller,
    outcome_is_unknown,
)
from learner_app.database.exclusive_lock import ExclusiveLock
from learner_app.database.instrumentation import Outcome, TransactionEvent, sqlstate_of
from learner_app.database.lease import Lease
from learner_app.database.scope import LOG_TEXT, ScopeSettings, send_begin
from learner_app.database.transaction_id import read_transaction_id
from learner_app.database.transaction_options import TransactionOptions
from learner_app.errors import (
    CommitUnknown,
    ConnectionLost,
    DatabaseError,
    TransactionAborted,
    TransactionBusy,
    TransactionError,
    TransactionFinished,
    TransactionId,
    TransactionRolledBack,
)

log = logging.getLogger(__name__)

T = TypeVar("T")
ROLLBACK_SECONDS = 2
"""Time limit for ROLLBACK; after it the connection is terminated, which rolls back as well."""

UNCONFIRMED = "committed on the primary, but not confirmed by its synchronous standby"
"""Message of CommitUnknown after a warning of the server about its synchronous standby."""

TRANSACTION_CLOSED = (
    "the transaction has ended: await its tasks inside the block, or start them after it"
)


class State(Enum):
    """State of a transaction block."""

    NEW = "not entered"
    OPEN = "open"
    ENDED_EARLY = "committed or rolled back before the end of the block"
    CLOSED = "closed"


def enclosing_transaction(variable: CurrentTransaction) -> Transaction | None:
    """Return the transaction to which statements of this task belong, None outside of any.

    Raises:
        TransactionFinished: this task was started in a transaction that has ended.
    """
    current: Transaction | None = variable.get()
    while current is not None and not current.is_open:
        if not current.is_abandoned:
            raise TransactionFinished(TRANSACTION_CLOSED)
        current = current._parent
        variable.set(current)  # also for tasks that this task starts from now on
    return current


class Transaction(PostgresTransaction):
    """Transaction block of ``async with engine.transaction()``, a savepoint if it is nested."""

    __slots__ = (
        "__weakref__",
        "_began_at",
        "_callbacks",
        "_connection",
        "_failure",
        "_in_pool",
        "_lease",
        "_lock",
        "_options",
        "_owner",
        "_parts",
        "_root",
        "_settings",
        "_state",
        "savepoint_name",
        "transaction_id",
    )
    _connection: Connection
    _parent: Transaction | None

    def __init__(
        self,
        parts: EngineParts,
        options: TransactionOptions,
        *,
        allow_nested: bool = True,
        in_pool: bool = True,
    ) -> None:
        super().__init__(parts.engine)
        if not allow_nested and enclosing_transaction(parts.current) is not None:
            raise TransactionError(
                "a transaction with allow_nested=False cannot be nested: "
                "leave the enclosing transaction first"
            )
        self._parts = parts
        self._options = options
        self._in_pool = in_pool
        self._parent = None
        self._root = self
        """Outermost transaction, whose connection all nested blocks use."""
        self._state = State.NEW
        self._lock = ExclusiveLock()
        self._lease: Lease | None = None
        self._callbacks: list[Callback] = []
        self._failure: DatabaseError | None = None
        """Error because of which the server aborted the transaction, None if it did not."""
        self._owner: weakref.ref[asyncio.Task[Any]] | None = None
        """Task that entered the block."""
        self._settings = ScopeSettings(parts.scopes)
        self._began_at = 0.0
        self.transaction_id: TransactionId | None = None

    @property
    def is_read_only(self) -> bool:
        """True if the block was declared read-only."""
        return self._options.read_only

    @property
    def connection(self) -> Lease:
        """Lease of the transaction's connection, valid until the block ends.

        Its statements do not wait for statements of other tasks, unlike those of
        ``DB.connection()``. They raise asyncpg's errors, and a block that such an error leaves
        raises the package's error for it.

        Raises:
            TransactionError: the block was not entered.
        """
        if self._lease is None:
            if self._state is State.NEW:
                raise TransactionError(
                    "a transaction has no connection before its block is entered: "
                    "use it inside `async with`"
                )
            self._lease = self.new_lease()
        return self._lease

    def new_lease(self, *, is_repeatable: bool = False) -> Lease:
        """Return a new lease of the connection, valid until the block ends at the latest."""
        return Lease(
            self._connection,
            lambda: self.is_open,
            before_operation=self._before_operation,
            is_repeatable=is_repeatable,
        )

    @property
    def is_entered(self) -> bool:
        """True if BEGIN or SAVEPOINT succeeded."""
        return self._state is not State.NEW

    @property
    def is_open(self) -> bool:
        """True while the block accepts statements."""
        return self._state is State.OPEN and self._root._state is State.OPEN

    @property
    def is_abandoned(self) -> bool:
        """True if the block ended in another context than the one that entered it.

        That happens if an async generator is not closed: the event loop closes it in a new task,
        which cannot reset the context variable of the task that entered the block. There the
        variable still refers to this transaction and has to be ignored.
        """
        owner = self._owner() if self._owner else None
        return self._state is State.CLOSED and owner is asyncio.current_task()

    async def __aenter__(self) -> Self:
        if self._state is not State.NEW:
            raise TransactionError(
                "a transaction can be entered only once: call DB.transaction() for each block"
            )
        parent = enclosing_transaction(self._parts.current)
        if parent is None:
            await self._begin()
        else:
            await self._begin_nested(parent)
        self._state = State.OPEN
        if task := asyncio.current_task():
            self._owner = weakref.ref(task)
        self.context = self._parts.current.set(self)
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> Literal[False]:
        # The variable is reset first: whatever COMMIT or ROLLBACK raises, later statements of this
        # task must not take part in a transaction that has ended.
        try:
            self._parts.current.reset(self.context)
        except ValueError:
            owner = self._owner() if self._owner else None
            _set_in_task(owner, self._parts.current, self._parent)
        lease, failure = self._lease, None
        if exception is not None and lease is not None and lease.is_to_be_translated(exception):
            failure = self._failure_of(exception)
        await finish(self._close(failure or exception))
        if failure is not None:
            raise failure from exception
        return False

    def after_commit(self, callback: Callback) -> None:
        """Register a function or async function to be called after the outermost commit.

        It is dropped if this block or an enclosing one is rolled back. An error that it raises is
        only logged, since the transaction is committed.
        """
        self._callbacks.append(callback)

    async def perform(self, work: Callable[[Connection], Awaitable[T]], statement: str = "") -> T:
        """Call work with the connection while no other task uses it."""
        await self._lock.acquire(self._parts.connections.settings.db_command_timeout)
        connection = self._connection
        try:
            self._require_open()
            if self._root._settings.may_differ():
                await self._before_operation(statement)
            return await work(connection)
        except DatabaseError:
            raise
        except DRIVER_ERRORS as error:
            if is_error_of_caller(error, is_closed=connection.is_closed()):
                raise
            raise self._failure_of(error, statement) from error
        finally:
            self._release_lock()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[Lease]:
        """Lease the connection to this task, while statements of other tasks wait."""
        await self._lock.acquire(self._parts.connections.settings.db_command_timeout)
        lease = self.new_lease()
        try:
            try:
                self._require_open()
                yield lease
            finally:
                lease.end()
        except DRIVER_ERRORS as error:
            if not lease.is_to_be_translated(error):
                raise
            raise self._failure_of(error) from error
        finally:
            self._release_lock()

    def _release_lock(self) -> None:
        """Release the lock, but not before the connection is idle.

        A task that fails or is cancelled may leave a statement running. Without the wait the next
        statement would fail with "another operation is in progress".
        """
        lock, connection = self._lock, self._connection
        if connection.is_running and lock.is_acquired_once:
            lock.disown()
            connection.operations.call_when_idle(lock.release)
        else:
            lock.release()

    async def _before_operation(self, statement: str | None) -> None:
        """Send the settings of the current scope if the server has those of another scope."""
        if sql := self._root._settings.sql_before(statement):
            await self._connection.control(sql, log_text=LOG_TEXT)
            self._root._settings.mark_sent()

    async def commit(self) -> None:
        """Commit before the end of the block, after which the block accepts no statements.

        The work of a nested block becomes part of the outer transaction.

        Raises:
            TransactionError: the method was called on an outer transaction inside a nested block.
            CommitUnknown, DatabaseError: see ``DatabaseEngine.transaction``.
        """
        await self._end_early(self._commit)

    async def rollback(self) -> None:
        """Roll back before the end of the block, after which the block accepts no statements.

        After the rollback of a nested block the outer transaction can be used.

        Raises:
            TransactionError: the method was called on an outer transaction inside a nested block.
        """
        await self._end_early(self._rollback)

    async def rollback_to(self, savepoint_name: str) -> None:
        """Roll back to a savepoint that ``savepoint()`` has set.

        Raises:
            TransactionError: the method was called on an outer transaction inside a nested block.
        """
        self._require_innermost()
        await super().rollback_to(savepoint_name)

    async def _end_early(self, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._require_innermost()
        await self._lock.acquire(self._parts.connections.settings.db_command_timeout)
        try:
            self._require_open()
            self._state = State.ENDED_EARLY
            await finish(end())
        finally:
            self._release_lock()

    def _require_innermost(self) -> None:
        """Raise TransactionError if this task is inside a nested block, which has the lock."""
        inner: Transaction | None = self._parts.current.get()
        is_nested = False
        while inner is not None and inner is not self:
            is_nested = is_nested or inner._state is State.OPEN
            inner = inner._parent
        if inner is self and is_nested:
            raise TransactionError(
                "an outer transaction cannot be ended inside a nested block: leave that block first"
            )

    def _require_open(self) -> None:
        if not self.is_open:
            raise TransactionFinished(TRANSACTION_CLOSED)

    def _failure_of(self, error: BaseException, statement: str = "") -> DatabaseError:
        """Return the package's error for one of the driver, and record it as cause of a rollback.

        TransactionAborted is not recorded, as it is a mere consequence.
        """
        failure = self._parts.connections.handle_error(
            error, statement, self._connection, read_only=self._root.is_read_only
        )
        if not isinstance(failure, TransactionAborted):
            self._failure = self._root._failure = failure
        return failure

    async def _begin(self) -> None:
        """Send BEGIN, and once more on another connection if the first one was lost."""
        self._began_at = time.perf_counter()
        try:
            try:
                self._connection = await self._begin_once()
            except ConnectionLost as error:
                self.notify_error(error, is_retried=True)
                self._connection = await self._begin_once()
        except DatabaseError as error:
            self.notify_error(error, is_retried=False)
            raise

    async def _begin_once(self) -> Connection:
        connections = self._parts.connections
        connection = await connections.acquire(in_pool=self._in_pool)
        sql = f"BEGIN{self._options.sql}"
        try:
            if settings := self._settings.sql_with_begin():
                await send_begin(connection, sql, settings)
            else:
                await connection.control(sql)
        except DRIVER_ERRORS as error:
            # before the release, which may close the connection: handle_error() checks that
            failure = connections.handle_error(error, sql, connection)
            await connections.release(connection)
            raise failure from error
        except BaseException:
            await connections.release(connection)
            raise
        connection.is_managed = True
        return connection

    async def _begin_nested(self, parent: Transaction) -> None:
        if self._options.sql:
            raise TransactionError(
                "isolation, read_only and deferrable are options of the outermost transaction"
            )
        await parent._lock.acquire(self._parts.connections.settings.db_command_timeout)
        try:
            parent._require_open()
            self._connection = parent._connection
            self._root = parent._root
            self.savepoint_name = f"nested_{self._root.get_savepoint_id()}"
            await self._connection.control(f"SAVEPOINT {self.savepoint_name}")
        except BaseException as error:
            parent._release_lock()
            if isinstance(error, DRIVER_ERRORS):
                failure = self._parts.connections.handle_error(error, "SAVEPOINT", self._connection)
                raise failure from error
            raise
        # The nested block keeps the lock of its parent until it ends. Otherwise statements of other
        # tasks in the outer block would belong to the savepoint and be rolled back with it.
        # Meanwhile the lock has no owner, so that the task that entered the nested block waits as
        # well if it uses the outer transaction object.
        if parent._lock.is_acquired_once:
            parent._lock.disown()
        self._parent = parent

    async def _close(self, exception: BaseException | None) -> None:
        """Commit or roll back, release the connection, and after that call the callbacks."""
        is_locked = False
        error = exception
        try:
            is_locked = await self._acquire_for_close(commits=exception is None)
            if self._state is State.OPEN:
                self._state = State.CLOSED
                await (self._commit() if exception is None else self._rollback())
        except BaseException as second:
            error = second
            if isinstance(second, DatabaseError):
                self.notify_error(second, is_retried=False)
            raise
        finally:
            self._state = State.CLOSED
            if self._lease is not None:
                self._lease.end()
            if is_locked:  # tasks that wait for the lock then get TransactionFinished
                self._lock.release()
            if self._parent is not None:
                self._parent._release_lock()
            else:
                await self._parts.connections.release(self._connection)
                self._notify_end(error)
        if self._committed and self._parent is not None:
            self._parent._callbacks += self._callbacks
        elif self._committed:
            await call_all(self._callbacks)

    async def _acquire_for_close(self, *, commits: bool) -> bool:
        """Acquire the lock, and return True if statements of other tasks have ended in time.

        If they have not, the connection is terminated, which rolls the transaction back.

        Raises:
            TransactionBusy: the statements did not end in time, and the block cannot be committed.
        """
        settings = self._parts.connections.settings
        try:
            await self._lock.acquire(settings.db_acquire_timeout if commits else ROLLBACK_SECONDS)
        except TransactionBusy:
            self._connection.terminate()
            if commits:
                raise
            return False
        return True

    async def _commit(self) -> None:
        try:
            if self._parent is None:
                await self._send_commit()
            elif self._root._state is State.OPEN:
                await self._release_savepoint()
            else:
                raise TransactionFinished("the outer transaction ended before the nested block")
        except TransactionRolledBack as error:
            raise error from self._failure
        self._committed = True

    async def _send_commit(self) -> None:
        """Send COMMIT.

        Raises:
            CommitUnknown: COMMIT was sent and its answer lost, or the synchronous standby did not
                confirm it.
            TransactionRolledBack: the server answered ROLLBACK, as an error had been caught.
            DatabaseError: nothing was committed.
        """
        connection = self._connection
        if self._options.track_commit and not connection.is_closed():
            await self._read_transaction_id()
        if connection.is_closed():
            raise ConnectionLost("the connection broke before COMMIT: nothing was committed")
        if not connection.is_in_transaction():
            raise TransactionError(
                "the transaction was ended inside its block: leave BEGIN, COMMIT and ROLLBACK to "
                "the block"
            )
        try:
            tag = await connection.control("COMMIT")
        except DRIVER_ERRORS as error:
            if outcome_is_unknown(error) and not self.is_read_only:
                connection.terminate()
                raise CommitUnknown(
                    f"COMMIT was sent and its answer lost ({type(error).__name__})",
                    self.transaction_id,
                ) from error
            raise self._parts.connections.handle_error(error, "COMMIT", connection) from error
        if tag != "COMMIT":  # PostgreSQL rolls back an aborted transaction without an error
            raise TransactionRolledBack(
                "nothing was committed: an error inside the transaction was caught"
            )
        if connection.is_unconfirmed:
            raise CommitUnknown(UNCONFIRMED, self.transaction_id, unconfirmed=True)

    async def _read_transaction_id(self) -> None:
        try:
            self.transaction_id = await read_transaction_id(self._connection)
        except asyncpg.InFailedSQLTransactionError:
            pass  # the server then answers COMMIT with ROLLBACK
        except DRIVER_ERRORS as error:
            raise self._parts.connections.handle_error(error, "", self._connection) from error

    async def _release_savepoint(self) -> None:
        """Make the work of the nested block part of the outer transaction.

        Raises:
            TransactionRolledBack: an error inside the block was caught; the block is rolled back.
            DatabaseError: the connection was lost.
        """
        try:
            await self._connection.control(f"RELEASE SAVEPOINT {self.savepoint_name}")
        except asyncpg.InFailedSQLTransactionError:
            await self._rollback()
            raise TransactionRolledBack(
                "the nested block was rolled back: an error inside it was caught"
            ) from None
        except DRIVER_ERRORS as error:
            connections = self._parts.connections
            raise connections.handle_error(error, "RELEASE", self._connection) from error

    async def _rollback(self) -> None:
        """Roll back the transaction, or a nested block to its savepoint.

        An error is only logged: the error that caused the rollback is more important, and the
        connection is terminated, which rolls back everything.
        """
        connection = self._connection
        statement = "ROLLBACK"
        if self._parent is not None:
            if self._root._state is not State.OPEN:
                return
            name = self.savepoint_name
            statement = f"ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}"
            self._root._settings.mark_rolled_back()
        if connection.is_closed():
            return
        try:
            async with asyncio.timeout(ROLLBACK_SECONDS):
                await connection.control(statement)
        except Exception as error:  # noqa: BLE001  # logged, see above
            log.warning("rollback failed with %s, connection terminated", type(error).__name__)
            connection.terminate()

    def _notify_end(self, error: BaseException | None) -> None:
        if self._parts.observers.registered:
            self._parts.observers.notify(
                TransactionEvent(
                    replica=self._parts.connections.replica_name,
                    seconds=time.perf_counter() - self._began_at,
                    outcome=_outcome(error, is_committed=self._committed),
                    error=None if error is None else type(error),
                    sqlstate=sqlstate_of(error),
                )
            )

    def notify_error(self, error: DatabaseError, *, is_retried: bool) -> None:
        """Report an error of BEGIN, COMMIT or the unit to the observers."""
        parts = self._parts
        parts.observers.notify_error(error, parts.connections.replica_name, is_retried=is_retried)


def _set_in_task(
    task: asyncio.Task[Any] | None, variable: CurrentTransaction, value: Transaction | None
) -> None:
    """Set the variable in the context of a task, see :attr:`Transaction.is_abandoned`."""
    if task is not None and hasattr(task, "get_context"):  # Python 3.12 and newer
        with suppress(RuntimeError):  # the context is in use, and its task checks is_abandoned
            task.get_context().run(variable.set, value)


def _outcome(error: BaseException | None, *, is_committed: bool) -> Outcome:
    """Return what is known about the end of a transaction."""
    if is_committed:
        return "committed"
    return "unknown" if isinstance(error, CommitUnknown) else "rolled back"
