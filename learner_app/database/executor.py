"""Execution of statements, in the transaction of the task or on a connection of the pool."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import count
from typing import Any, TypeVar

from learner_app.database.bind_execute import execute_prepared
from learner_app.database.connection import Connection
from learner_app.database.engine_parts import EngineParts
from learner_app.database.error_mapping import (
    DRIVER_ERRORS,
    is_error_of_caller,
    outcome_is_unknown,
    was_sent,
)
from learner_app.database.instrumentation import ExecuteEvent, sqlstate_of
from learner_app.database.lease import Lease
from learner_app.database.scope import NO_SCOPE
from learner_app.database.sql_inspection import is_read
from learner_app.database.transaction import (
    UNCONFIRMED,
    Transaction,
    enclosing_transaction,
)
from learner_app.database.transaction_options import TransactionOptions
from learner_app.errors import (
    AccessDenied,
    CommitUnknown,
    Conflict,
    ConnectionLost,
    DatabaseError,
    InvalidValue,
    MissingReference,
    PoolNotStarted,
    ScopeError,
    StatementRefused,
    StillReferenced,
    TransactionError,
)

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]

MAX_RETRIES = 5
"""Limit for work that was certainly not executed; several sessions often end together."""

REJECTIONS = (
    AccessDenied,
    Conflict,
    InvalidValue,
    MissingReference,
    StatementRefused,
    StillReferenced,
)
"""Errors of a retry that prove that the first attempt of the idempotent statement failed too."""


class StatementExecutor:
    """Executor of one engine's statements, with retries and the errors of the package."""

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts
        self._connections = parts.connections
        self._current = parts.current
        self._scopes = parts.scopes
        self._observers = parts.observers

    def enclosing_transaction(self) -> Transaction | None:
        """Return the transaction to which statements of this task belong, None outside of any.

        Raises:
            TransactionFinished: this task was started in a transaction that has ended.
        """
        return enclosing_transaction(self._current)

    async def perform(
        self,
        work: Callable[[Lease], Awaitable[T]],
        statement: str,
        *,
        idempotent: bool,
        in_pool: bool,
        name: str | None,
    ) -> T:
        """Call work with a lease, see ``DatabaseEngine.perform``."""

        async def leased(connection: Connection) -> T:
            transaction = self.enclosing_transaction()
            if transaction is not None:
                lease = transaction.new_lease(is_repeatable=True)
            else:
                before = self._require_no_scope
                lease = Lease(connection, before_operation=before, is_repeatable=True)
            try:
                return await work(lease)
            finally:
                lease.end()

        return await self.run(leased, statement, idempotent=idempotent, in_pool=in_pool, name=name)

    async def execute(
        self, sql: str, args: Sequence[Any], idempotent: bool, name: str | None
    ) -> str:
        """Execute a statement and return its command tag, see ``DatabaseEngine.execute``."""
        if not sql.strip():
            raise StatementRefused("the statement is empty")
        if not args:  # the simple query protocol, which accepts several statements
            return await self.run(
                lambda connection: connection.execute(sql), sql, idempotent=idempotent, name=name
            )
        _, tag, _ = await self.fetch(sql, args, 0, None, idempotent, name, returns_status=True)
        return str(tag, "ascii")

    async def fetch(
        self,
        sql: str,
        args: Sequence[Any],
        limit: int = 0,
        shape: Callable[[Any], Any] | None = None,
        idempotent: bool = False,
        name: str | None = None,
        *,
        returns_status: bool = False,
    ) -> Any:
        """Execute a statement and return its rows, see ``DatabaseEngine.fetch``.

        Outside of transactions and scopes and without observers, this function is all there is
        between the caller and the protocol of the driver: each further function, coroutine or
        closure would cost about one percent of a short statement.

        Args:
            sql: the statement.
            args: values of its parameters.
            limit: maximum number of rows, 0 for all.
            shape: function that is applied to the rows.
            idempotent: see :meth:`run`.
            name: see :meth:`run`.
            returns_status: return asyncpg's tuple of rows, command tag and completion.
        """
        connections = self._connections
        is_plain = (
            self._current.get() is None
            and not self._observers.registered
            and self._scopes.current() is NO_SCOPE
        )
        pool = connections.usable_pool() if is_plain else None
        if pool is None:
            work = _prepared(sql, args, limit, returns_status)
            rows = await self.run(work, sql, idempotent=idempotent, name=name)
            return rows if shape is None else shape(rows)
        connection = pool.take() or await pool.wait()
        completed = connection.completed_operations
        try:
            rows = await execute_prepared(
                connection, sql, args, limit, return_status=returns_status
            )
            if connection.needs_commit_check:
                _require_committed(connection)
        except DatabaseError:
            raise
        except DRIVER_ERRORS as error:
            broken = self._after_error(error, connection, sql, completed)
        else:
            return rows if shape is None else shape(rows)
        finally:
            pool.release(connection)
        again = partial(self._attempt, _prepared(sql, args, limit, returns_status), sql, True)
        rows = await _retry(again, broken, is_harmless=idempotent or is_read(sql))
        return rows if shape is None else shape(rows)

    def run(
        self,
        work: Work[T],
        statement: str,
        *,
        idempotent: bool = False,
        in_pool: bool = True,
        name: str | None = None,
    ) -> Coroutine[Any, Any, T]:
        """Call work with a connection, and retry it if the connection is lost.

        Args:
            work: sends the statement. It is package code that keeps no reference to the connection,
                so that it needs no lease.
            statement: the SQL, which decides whether a retry is harmless.
            idempotent: True if executing the statement twice has the effect of executing it once.
            in_pool: False opens a new connection for the work.
            name: name of the statement for observers.
        """
        # not an async function, which would cost a coroutine more per statement
        if self._observers.registered:
            return self._run_observed(work, statement, idempotent, in_pool, name)
        return self._run(work, statement, idempotent, in_pool)

    async def _run(
        self,
        work: Work[T],
        statement: str,
        idempotent: bool,
        in_pool: bool,
        on_retry: Callable[[DatabaseError], None] | None = None,
    ) -> T:
        transaction = enclosing_transaction(self._current)
        if transaction is not None:
            return await transaction.perform(work, statement)
        has_scope = self._scopes.current() is not NO_SCOPE
        attempt = self._attempt_in_scope if has_scope else self._attempt
        try:
            return await attempt(work, statement, in_pool)
        except _BrokenConnection as error:
            broken = error
        again = partial(attempt, work, statement, in_pool)
        is_harmless = idempotent or is_read(statement)
        return await _retry(again, broken, is_harmless=is_harmless, on_retry=on_retry)

    async def _attempt(self, work: Work[T], statement: str, in_pool: bool) -> T:
        """Call work with an acquired connection.

        Raises:
            _BrokenConnection: the connection was lost.
        """
        connection = await self._connections.acquire(in_pool=in_pool)
        completed = connection.completed_operations
        try:
            result = await work(connection)
            _require_committed(connection)
        except DatabaseError:
            raise
        except DRIVER_ERRORS as error:
            broken = self._after_error(error, connection, statement, completed)
            raise broken from broken.__cause__
        else:
            return result
        finally:
            await self._connections.release(connection)

    def _after_error(
        self, error: BaseException, connection: Connection, statement: str, completed: int
    ) -> _BrokenConnection:
        """React to an error of the driver, and return the result of the attempt.

        Args:
            error: the error.
            connection: the connection on which it occurred.
            statement: the SQL of the attempt.
            completed: ``completed_operations`` of the connection before the attempt.

        Raises:
            DatabaseError: the connection was not lost, so that there is nothing to retry.
            OSError: the error belongs to the caller's code.
        """
        if is_error_of_caller(error, is_closed=connection.is_closed()):
            raise error
        failure = self._connections.handle_error(error, statement, connection)
        is_unknown = outcome_is_unknown(error) and not is_read(statement)
        if not isinstance(failure, ConnectionLost):
            raise (_lost_write(error) if is_unknown else failure) from error
        # Nothing of the work was executed if none of its statements succeeded, and the failed one
        # was not sent or the server ended the session before it executed the statement.
        is_unexecuted = connection.completed_operations == completed and (
            not was_sent(error) or connection.replies.proves_unexecuted(error)
        )
        broken = _BrokenConnection(failure, is_unexecuted=is_unexecuted, is_unknown=is_unknown)
        broken.__cause__ = error
        return broken

    async def _attempt_in_scope(self, work: Work[T], statement: str, in_pool: bool) -> T:
        """Call work in a short transaction, as the settings of a scope exist in transactions only.

        Raises:
            _BrokenConnection: the connection was lost.
        """
        transaction = Transaction(self._parts, TransactionOptions(), in_pool=in_pool)
        try:
            async with transaction:
                return await transaction.perform(work, statement)
        except ConnectionLost as error:  # before COMMIT
            raise _BrokenConnection(
                error, is_unexecuted=not transaction.is_entered, is_unknown=False
            ) from error.__cause__
        except CommitUnknown as error:
            if error.unconfirmed:
                raise
            cause = error.__cause__ or error
            failure = ConnectionLost(f"the connection was lost ({type(cause).__name__})")
            is_unknown = not is_read(statement)
            raise _BrokenConnection(failure, is_unexecuted=False, is_unknown=is_unknown) from cause

    async def _run_observed(
        self, work: Work[T], statement: str, idempotent: bool, in_pool: bool, name: str | None
    ) -> T:
        """Call work as :meth:`_run` does, and report it to the observers."""
        observers, replica = self._observers, self._connections.replica_name
        attempts = 1
        failed: BaseException | None = None

        def count_attempt(error: DatabaseError) -> None:
            nonlocal attempts
            attempts += 1
            observers.notify_error(error, replica, name, is_retried=True)

        in_transaction = self._current.get() is not None
        started = time.perf_counter()
        try:
            return await self._run(work, statement, idempotent, in_pool, count_attempt)
        except BaseException as error:
            failed = error
            if isinstance(error, DatabaseError):
                observers.notify_error(error, replica, name, is_retried=False)
            raise
        finally:
            observers.notify(
                ExecuteEvent(
                    replica=replica,
                    name=name,
                    seconds=time.perf_counter() - started,
                    attempts=attempts,
                    in_transaction=in_transaction,
                    error=None if failed is None else type(failed),
                    sqlstate=sqlstate_of(failed),
                )
            )

    def connection(self) -> AbstractAsyncContextManager[Lease]:
        """Lease a connection, see ``DatabaseEngine.connection``."""
        transaction = self.enclosing_transaction()
        if transaction is not None:
            return transaction.exclusive()
        if self._scopes.current() is not NO_SCOPE:
            return self._lease_in_scope()
        return self._lease_alone()

    @asynccontextmanager
    async def _lease_in_scope(self) -> AsyncIterator[Lease]:
        transaction = Transaction(self._parts, TransactionOptions())
        async with transaction, transaction.exclusive() as lease:
            yield lease

    @asynccontextmanager
    async def _lease_alone(self) -> AsyncIterator[Lease]:
        connection = await self._connections.acquire()
        lease = Lease(connection, before_operation=self._require_no_scope)
        try:
            yield lease
            _require_committed(connection)
        except DRIVER_ERRORS as error:
            if not lease.is_to_be_translated(error):
                raise
            failure = self._connections.handle_error(error, "", connection)
            raise (_lost_write(error) if error is lease.lost_write else failure) from error
        finally:
            lease.end()
            await self._connections.release(connection)

    async def _require_no_scope(self, _statement: str | None) -> None:
        """Raise ScopeError if a scope was entered after the lease, which has no transaction."""
        if self._scopes.current() is not NO_SCOPE:
            raise ScopeError(
                "a scope does not apply to a connection that was leased before it: "
                "enter the scope first, or use a transaction"
            )


class _BrokenConnection(Exception):  # no DatabaseError, as it never leaves this module
    """The connection was lost during an attempt."""

    def __init__(self, failure: ConnectionLost, *, is_unexecuted: bool, is_unknown: bool) -> None:
        """
        Args:
            failure: error for the caller if the work is not retried.
            is_unexecuted: True if certainly nothing of the work was executed.
            is_unknown: True if a write may have been committed; ignored if ``is_unexecuted``.
        """
        super().__init__()
        self.failure = failure
        self.is_unexecuted = is_unexecuted
        self.is_unknown = is_unknown and not is_unexecuted


async def _retry(
    attempt: Callable[[], Awaitable[T]],
    broken: _BrokenConnection,
    *,
    is_harmless: bool,
    on_retry: Callable[[DatabaseError], None] | None = None,
) -> T:
    """Retry work whose connection was lost.

    Work that may have been executed is retried once, and only if that is harmless. Work that was
    certainly not executed is retried up to :data:`MAX_RETRIES` times.

    Args:
        attempt: makes another attempt.
        broken: result of the first attempt.
        is_harmless: True if the work only reads or is idempotent.
        on_retry: called before each retry with the error of the previous attempt.

    Raises:
        CommitUnknown: a write was sent in one of the attempts, and none succeeded.
        DatabaseError: error of the last attempt.
    """
    is_unknown = False
    for number in count(1):
        if not broken.is_unexecuted:
            is_unknown = is_unknown or broken.is_unknown
            if not is_harmless:
                break
            is_harmless = False
        if number > MAX_RETRIES:
            break
        if on_retry is not None:
            on_retry(broken.failure)
        try:
            return await attempt()
        except _BrokenConnection as error:
            broken = error
        except PoolNotStarted:  # the pool was closed meanwhile
            break
        except DatabaseError as error:
            # The statement is idempotent, so a rejected retry proves that the first attempt was
            # rejected as well. No other error shows the result of the first attempt.
            if is_unknown and not isinstance(error, REJECTIONS):
                raise _lost_write(error) from error
            raise
    cause = broken.__cause__ or broken
    raise (_lost_write(cause) if is_unknown else broken.failure) from cause


def _prepared(sql: str, args: Sequence[Any], limit: int, returns_status: bool) -> Work[Any]:
    """Return the work that executes a statement, see ``StatementExecutor.fetch``."""
    return lambda connection: execute_prepared(
        connection, sql, args, limit, return_status=returns_status
    )


def _lost_write(error: BaseException) -> CommitUnknown:
    return CommitUnknown(f"a write was sent and its answer lost ({type(error).__name__})")


def _require_committed(connection: Connection) -> None:
    """Raise if the commit of work outside a transaction is unconfirmed or has not happened.

    Raises:
        CommitUnknown: the synchronous standby did not confirm the commit.
        TransactionError: the work has left a transaction open.
    """
    if connection.is_unconfirmed:
        raise CommitUnknown(UNCONFIRMED, unconfirmed=True)
    if not connection.is_closed() and connection.is_in_transaction():
        raise TransactionError(
            "a transaction was left open and is rolled back: use DB.transaction()"
        )
