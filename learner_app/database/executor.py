"""Sending statements: inside the task's transaction, or alone on a connection of the pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from learner_app.database.connection import Connection
from learner_app.database.connections import Connections
from learner_app.database.error_mapping import (
    DRIVER_ERRORS,
    outcome_is_unknown,
    translate,
    was_sent,
)
from learner_app.database.lease import Lease
from learner_app.database.sql_inspection import is_read
from learner_app.errors import (
    AccessDenied,
    CommitUnknown,
    Conflict,
    ConnectionLost,
    DatabaseError,
    DatabaseReadOnly,
    InvalidValue,
    MissingReference,
    PoolNotStarted,
    SchemaChanged,
    StatementRefused,
    StillReferenced,
    TransactionError,
    TransactionFinished,
)

if TYPE_CHECKING:
    from learner_app.database.transaction import Transaction

T = TypeVar("T")
NOT_SUPPORTED = "0A000"
OVER = "the transaction is over: await its tasks inside the block, or start them after it"
Work = Callable[[Connection], Awaitable[T]]

MOST_REPETITIONS = 5
"""Of work that was never executed: when one session is ended, the others often are as well."""

REJECTIONS = (
    AccessDenied,
    Conflict,
    InvalidValue,
    MissingReference,
    StatementRefused,
    StillReferenced,
)
"""Answers to an idempotent statement that would have been the same at the first attempt."""


class StatementExecutor(Connections):
    """An engine whose statements fail with errors of ours only."""

    current_transaction: Any

    def enclosing_transaction(self) -> Transaction | None:
        """The transaction that statements of this task take part in.

        Raises:
            TransactionFinished: the task outlived the block that it was started in.
        """
        current: Transaction | None = self.current_transaction.get()
        while current is not None and not current.is_open:
            if not current.is_abandoned:
                raise TransactionFinished(OVER)
            current = current._parent
            self.current_transaction.set(current)  # for the children of this task as well
        return current

    def transaction_exists(self) -> bool:
        return self.enclosing_transaction() is not None

    async def fetch(self, sql: str, *args: Any, idempotent: bool = False) -> list[Any]:
        """The rows of a statement, as records of asyncpg; ``$1`` and so on stand for ``args``.

        Args:
            sql: one statement.
            args: its values.
            idempotent: doing it twice is the same as once. Such a statement, like one that only
                reads, is repeated once when its connection breaks; any other only when it was
                certainly not executed.

        Raises:
            CommitUnknown: a write outside a transaction was sent and its answer lost; of an
                idempotent one also when the repetition failed.
            DatabaseError: the statement failed; see :mod:`learner_app.errors`.
        """
        return await self._perform(lambda it: it.fetch(sql, *args), sql, idempotent=idempotent)

    async def fetchrow(self, sql: str, *args: Any, idempotent: bool = False) -> Any | None:
        """The first row or None; else as :meth:`fetch`."""
        return await self._perform(lambda it: it.fetchrow(sql, *args), sql, idempotent=idempotent)

    async def fetchval(self, sql: str, *args: Any, idempotent: bool = False) -> Any:
        """The first column of the first row, None without rows; else as :meth:`fetch`."""
        return await self._perform(lambda it: it.fetchval(sql, *args), sql, idempotent=idempotent)

    async def execute(self, sql: str, *args: Any, idempotent: bool = False) -> str:
        """The server's tag, such as ``UPDATE 3``; else as :meth:`fetch`."""
        if not sql.strip():
            raise StatementRefused("there is no statement")
        return await self._perform(lambda it: it.execute(sql, *args), sql, idempotent=idempotent)

    async def perform(
        self,
        work: Callable[[Lease], Awaitable[T]],
        statement: str = "",
        *,
        idempotent: bool = False,
        in_pool: bool = True,
    ) -> T:
        """Do something on a connection, that of the transaction where there is one.

        Args:
            work: what to do; all methods of asyncpg work on the lease that it is called with,
                until it returns.
            statement: the SQL it sends, to tell reads from writes.
            idempotent: as of :meth:`fetch`.
            in_pool: False opens a connection for it.

        Raises:
            As :meth:`fetch`; LeaseEnded: the connection was used after the work had returned.
        """

        async def leased(connection: Connection) -> T:
            lease = Lease(connection, is_repeatable=True)
            try:
                return await work(lease)
            finally:
                lease.end()

        return await self._perform(leased, statement, idempotent=idempotent, in_pool=in_pool)

    async def _perform(
        self, work: Work[T], statement: str = "", *, idempotent: bool = False, in_pool: bool = True
    ) -> T:
        """Do what :meth:`perform` does, with a connection that the work does not keep."""
        transaction = self.enclosing_transaction()
        if transaction is not None:
            return await transaction.perform(work, statement)
        reads = is_read(statement)
        try:
            return await self._attempt(work, statement, in_pool, reads)
        except _Broken as broken:
            first = broken
        attempt = partial(self._attempt, work, statement, in_pool, reads)
        return await _repeat(attempt, first, is_harmless=reads or idempotent)

    async def _attempt(self, work: Work[T], statement: str, in_pool: bool, reads: bool) -> T:
        """
        Raises:
            _Broken: the connection broke.
        """
        connection = await self.take_connection(in_pool=in_pool)
        answered = connection.answered
        try:
            result = await work(connection)
            _require_settled(connection)
        except DatabaseError:
            raise
        except DRIVER_ERRORS as error:
            failure = self.failure(error, statement, connection)
            is_unknown = not reads and outcome_is_unknown(error)
            if not isinstance(failure, ConnectionLost):
                raise (_lost_write(error) if is_unknown else failure) from error
            is_undone = connection.answered == answered and (
                not was_sent(error) or connection.replies.proves_unexecuted(error)
            )
            raise _Broken(failure, is_undone=is_undone, is_unknown=is_unknown) from error
        else:
            return result
        finally:
            await self.give_back(connection)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Lease]:
        """A connection of the driver's, for what the methods here do not offer, such as COPY.

        Inside a transaction it is the transaction's, for this task alone meanwhile. After the
        block it refuses to work, and so do the cursors and prepared statements made through it.
        A statement that is still running then is cancelled; inside a transaction the next statement
        waits for it.

        Raises:
            CommitUnknown: a write was sent and its answer lost.
            LeaseEnded: something of it was used after its block.
        """
        transaction = self.enclosing_transaction()
        if transaction is not None:
            async with transaction.turn() as lease:
                yield lease
            return
        connection = await self.take_connection()
        lease = Lease(connection)
        try:
            yield lease
            _require_settled(connection)
        except DatabaseError:
            raise
        except DRIVER_ERRORS as error:
            if not lease.has_raised(error):
                raise
            failure = self.failure(error, "", connection)
            raise (_lost_write(error) if error is lease.lost_write else failure) from error
        finally:
            lease.end()
            await self.give_back(connection)

    def failure(
        self,
        error: BaseException,
        statement: str,
        connection: Connection,
        *,
        read_only: bool = False,
    ) -> DatabaseError:
        """The error of the package for one of the driver's; the pool learns what it has to."""
        failure = translate(error, statement, lost=connection.is_closed())
        if isinstance(error, TimeoutError):
            elapsed = asyncio.get_running_loop().time() - connection.last_sent_at
            if elapsed > self.settings.statement_seconds:  # the server itself would have ended it
                connection.terminate()
        if failure.sqlstate == NOT_SUPPORTED and connection.is_read_only():
            # a standby does not even begin a serializable transaction
            failure = DatabaseReadOnly(str(failure), sqlstate=NOT_SUPPORTED)
        if isinstance(failure, SchemaChanged) and self.pool is not None:
            self.pool.clear_statement_cache()
        if isinstance(failure, InvalidValue) and failure.sqlstate is None:
            connection.clear_statement_cache()  # the column may be of another type by now
        if isinstance(failure, ConnectionLost) and self.pool is not None:
            self.pool.drop_idle()
        if isinstance(failure, DatabaseReadOnly):
            if read_only or self.name is not None:
                return StatementRefused("only reads are possible here", sqlstate=failure.sqlstate)
            if self.pool is not None:
                self.pool.expire()
        return failure


class _Broken(Exception):  # passed between functions of this module, never seen outside
    """The connection broke under an attempt."""

    def __init__(self, failure: ConnectionLost, *, is_undone: bool, is_unknown: bool) -> None:
        """
        Args:
            failure: what the caller gets if the work is not repeated.
            is_undone: certainly nothing was executed.
            is_unknown: else, a write may have been done.
        """
        super().__init__()
        self.failure = failure
        self.is_undone = is_undone
        self.is_unknown = is_unknown and not is_undone


async def _repeat(attempt: Callable[[], Awaitable[T]], broken: _Broken, *, is_harmless: bool) -> T:
    """Repeat work whose connection broke: once when it may have begun, else some times.

    Raises:
        CommitUnknown: a write was sent in one of the attempts, and none succeeded.
    """
    is_unknown = False
    for number in count(1):
        if not broken.is_undone:
            is_unknown = is_unknown or broken.is_unknown
            if not is_harmless:
                break
            is_harmless = False
        if number > MOST_REPETITIONS:
            break
        try:
            return await attempt()
        except _Broken as again:
            broken = again
        except PoolNotStarted:  # it was closed meanwhile
            break
        except DatabaseError as error:
            if is_unknown and not isinstance(error, REJECTIONS):
                raise _lost_write(error) from error
            raise
    cause = broken.__cause__ or broken
    raise (_lost_write(cause) if is_unknown else broken.failure) from cause


def _lost_write(error: BaseException) -> CommitUnknown:
    return CommitUnknown(f"a write was sent and its answer lost ({type(error).__name__})")


def _require_settled(connection: Connection) -> None:
    """What was done outside a transaction block is done for good, or it is an error."""
    if connection.is_unconfirmed:
        raise CommitUnknown("done on one server, not confirmed by its standby", unconfirmed=True)
    if not connection.is_closed() and connection.is_in_transaction():
        raise TransactionError("a transaction was left open and is undone: use DB.transaction()")
