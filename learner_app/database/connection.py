"""Connection of asyncpg that tracks its operations, its session state and the server's replies.

asyncpg's own connection cannot answer three questions that the pool has to ask when a connection
comes back: is an operation still running, did a statement leave something in the session, has the
server closed the other end. Its public methods offer no place to observe that, so this class
overrides private ones. The version of asyncpg is pinned, and ``docs/private-parts.md`` lists each
private attribute with the test that guards it.
"""

from __future__ import annotations

import asyncio
import fcntl
import select
import sys
import termios
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg
import asyncpg.transaction

from learner_app.database.cancellation import finish
from learner_app.database.known_types import KNOWN_TYPES
from learner_app.database.reply_monitor import ReplyMonitor
from learner_app.database.sql_inspection import controls_transaction, leaves_session_state
from learner_app.database.statement_log import NO_ANSWER, StatementLog
from learner_app.errors import LeaseEnded, SessionStateRefused, TransactionError

T = TypeVar("T")

# asyncpg's stubs leave out the private attributes that this class uses
_Base: Any = asyncpg.Connection

PING_SECONDS = 0.5
RESET_SECONDS = 2

INSIDE_BLOCK = (
    "BEGIN, COMMIT and ROLLBACK are not allowed inside a transaction block, which sends them "
    "itself: nest another DB.transaction() for a savepoint"
)

JIT_OFF_IN_TRANSACTION = ("BEGIN READ ONLY; SET LOCAL jit = off", "ROLLBACK")
JIT_OFF_IN_SAVEPOINT = (
    "SAVEPOINT introspection; SET LOCAL jit = off",
    "ROLLBACK TO SAVEPOINT introspection; RELEASE SAVEPOINT introspection",
)
"""Begin and end of a block around the introspection query, which takes a second with JIT.

The rollback restores the previous setting.
"""

JIT_RESTORE_SECONDS = 2
"""Time limit for the end of that block after a failure, then the connection is terminated."""

UNNAMED_STATEMENT = SimpleNamespace(name="")
"""Reports to asyncpg that its unnamed statement was replaced, so that it is parsed again."""

PEER_CLOSED = getattr(select, "POLLRDHUP", 0)
UNREAD = select.POLLIN | PEER_CLOSED


class Connection(_Base):  # type: ignore[misc]  # see above
    """Pooled connection with the whole interface of ``asyncpg.Connection``."""

    __slots__ = (
        "_cancelled",
        "_idle_callbacks",
        "_operations",
        "_poll",
        "_session_has_ended",
        "answered",
        "answered_at",
        "backend",
        "generation",
        "has_session_state",
        "idle_since",
        "is_invalidated",
        "is_managed",
        "is_transaction_pooled",
        "is_unconfirmed",
        "last_sent_at",
        "lease",
        "propagates_settings",
        "replies",
        "retire_at",
        "sent_at",
        "server",
        "statement_log",
        "timeline",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.has_session_state = False
        """A statement may have left a setting, lock, temporary table or listener in the session."""
        self.is_invalidated = False
        """The connection must not be used again."""
        self.is_unconfirmed = False
        """A commit is done on this server, but its synchronous standby did not confirm it."""
        self.is_transaction_pooled = False
        """Statements that leave session state are refused, as PgBouncer shares the session."""
        self.is_managed = False
        """A transaction block owns the transaction, so that only the block begins or ends one."""
        self.sent_at = self.last_sent_at = 0.0
        """Loop time at which the running statement was sent, 0 when there is none."""
        self.answered = 0
        """Number of operations that have succeeded so far."""
        self._operations: list[asyncio.Task[Any] | None] = []
        """Tasks of the running operations, nested operations included."""
        self._cancelled: dict[asyncio.Task[Any] | None, int] = {}
        """Tasks cancelled by :meth:`cancel_operations`, with their earlier cancel requests."""
        self._session_has_ended = False
        self.lease: Any = None
        """The lease through which the connection is used at present, or None."""
        self.statement_log: StatementLog = NO_ANSWER
        self._idle_callbacks: list[Callable[[], object]] = []
        self.answered_at = 0.0
        """Loop time of the last answer, 0 before the first."""
        self.idle_since = self._loop.time()
        self.retire_at = float("inf")
        """Loop time after which the pool replaces the connection."""
        self.generation = 0
        """Number of calls of ``Pool.expire()`` before the connection was opened."""
        self.server: tuple[Any, Any] = (None, None)
        """Server identity: its own address, and its start time, which changes with a restart."""
        self.propagates_settings: bool | None = None
        """True if Citus propagates SET LOCAL to its workers, None until that is known."""
        self.timeline: int | None = None
        """Timeline of the server's write-ahead log, which each promotion of a standby increments.

        None for a standby, and where it is not known.
        """
        self.backend: tuple[int, Any] | None = None
        """Process id and start time of the server process, known also after the end."""
        self.replies = ReplyMonitor(self._protocol, self._end_session)
        self._transport.set_protocol(self.replies)
        self._poll = select.poll()
        self._poll.register(self._transport.get_extra_info("socket").fileno(), UNREAD)
        self._protocol.get_settings().register_data_types(KNOWN_TYPES)

    @property
    def address(self) -> tuple[str, int] | str:
        """Host and port, or the path of a unix socket."""
        address: tuple[str, int] | str = self._addr
        return address

    def has_unread(self) -> bool:
        """Return True if the server sent something unrequested, usually FATAL before it closed.

        Takes a microsecond, unlike :meth:`ping`.
        """
        return bool(self._poll.poll(0))

    def has_hung_up(self) -> bool:
        """Return True if the server closed the connection, even before asyncpg reads that."""
        events = self._poll.poll(0)
        return bool(events) and bool(events[0][1] & (PEER_CLOSED | select.POLLHUP))

    def unsent(self) -> int:
        """Return the number of bytes that the other side has not acknowledged yet."""
        waiting = bytearray(4)
        with suppress(OSError, ValueError):  # the socket is closed, or TIOCOUTQ is not supported
            socket = self._transport.get_extra_info("socket")
            fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, waiting)
        size: int = self._transport.get_write_buffer_size()
        return size + int.from_bytes(waiting, sys.byteorder)

    async def ping(self) -> None:
        """Raise an error unless the server answers ``SELECT 1`` within 0.5 s."""
        async with asyncio.timeout(PING_SECONDS):
            await self.fetchval("SELECT 1")

    async def reset(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # asyncpg's
        """Roll back an open transaction and discard what was left in the session.

        A clean session gets no statement. ``DISCARD ALL`` also discards what asyncpg's own reset
        leaves: the role, temporary tables and prepared statements.

        Args:
            timeout: seconds, 2 if left out.

        Raises:
            TransactionError: the connection belongs to a transaction block.
            TimeoutError: the server did not answer in time.
        """
        if self.is_managed:
            raise TransactionError(INSIDE_BLOCK)
        self._check_open()
        async with asyncio.timeout(RESET_SECONDS if timeout is None else timeout):
            if self._needs_rollback():
                self._top_xact = None  # type: ignore[misc]  # asyncpg's record of the transaction
                await self.control("ROLLBACK")
            self._listeners.clear()
            self._log_listeners.clear()
            if self.has_session_state:
                self._drop_local_statement_cache()
                await self._protocol.query("DISCARD ALL", None)
                self.has_session_state = False

    def is_busy(self) -> bool:
        """Return True while an operation runs, is being cancelled or a transaction is open."""
        return self.is_running or self._needs_rollback()

    def _needs_rollback(self) -> bool:
        # a cancelled statement counts: asyncpg sends the ROLLBACK after the cancellation has ended
        protocol = self._protocol
        return bool(
            protocol.is_in_transaction() or protocol._is_cancelling() or self._top_xact is not None
        )

    @property
    def is_running(self) -> bool:
        """True while an operation runs."""
        return bool(self._operations)

    def cancel_operations(self) -> None:
        """Cancel the running operations, whose tasks get :class:`LeaseEnded`."""
        for task in set(self._operations):
            if task is not None and task not in self._cancelled:
                self._cancelled[task] = task.cancelling()
                task.cancel()

    def call_when_idle(self, callback: Callable[[], object]) -> None:
        """Call back once, when the running operations have ended."""
        self._idle_callbacks.append(callback)

    async def until_idle(self) -> None:
        """Wait until the running operations have ended."""
        while self._operations:
            idle = asyncio.Event()
            self.call_when_idle(idle.set)
            await idle.wait()

    def leave_block(self) -> None:
        """Return control of the transaction from a transaction block to the caller."""
        if self.is_managed:
            self.is_managed = False
            self._top_xact = None  # type: ignore[misc]  # see transaction_on()

    def remove_callbacks(self) -> None:
        """Remove the listeners and loggers that the caller has added."""
        self._listeners.clear()
        self._log_listeners.clear()
        self._termination_listeners.clear()
        self._query_loggers.clear()

    def is_read_only(self) -> bool:
        """Return True if the server has reported to be read-only (PostgreSQL 14 or newer)."""
        settings = None if self.is_closed() else self.get_settings()
        return (
            getattr(settings, "in_hot_standby", "off") == "on"
            or getattr(settings, "default_transaction_read_only", "off") == "on"
        )

    def clear_statement_cache(self) -> None:
        """Have all statements prepared again after a change of tables or types."""
        self._drop_local_statement_cache()
        self._drop_local_type_cache()
        self._protocol.get_settings().register_data_types(KNOWN_TYPES)

    async def control(self, sql: str, *, log_text: str | None = None) -> str:
        """Send a transaction control statement of the transaction block, such as COMMIT.

        Args:
            sql: one or more statements without parameters.
            log_text: text for the statement log instead of SQL that contains values.
        """
        status: str = await self.timed(super().execute(sql), log_text or sql)
        return status

    async def execute(self, query: str, *args: Any, **kwargs: Any) -> str:
        tag: str
        if args:  # asyncpg sends it by _execute()
            tag = await super().execute(query, *args, **kwargs)
        else:
            self._check_statement(query)
            tag = await self.timed(super().execute(query, **kwargs), query)
        return tag

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False, deferrable: bool = False
    ) -> Any:
        """Return asyncpg's transaction, which is a savepoint inside a transaction block.

        Raises:
            TransactionError: options were passed inside a transaction block.
        """
        options = {"isolation": isolation, "readonly": readonly, "deferrable": deferrable}
        return self.transaction_on(self, options)

    def transaction_on(self, holder: Any, options: dict[str, Any]) -> Any:
        """Return asyncpg's transaction for this connection or for a lease of it.

        asyncpg sends BEGIN for the first transaction that it knows, and SAVEPOINT for one inside.
        The block began its transaction itself, so asyncpg does not know it until it is set here.
        """
        self._check_open()
        if self.is_managed:
            if any(options.values()):
                raise TransactionError(
                    "inside a transaction block connection.transaction() is a savepoint: "
                    "isolation, readonly and deferrable belong to the outermost DB.transaction()"
                )
            if self._top_xact is None:
                outermost: Any = asyncpg.transaction.Transaction(
                    self, None, readonly=False, deferrable=False
                )
                self._top_xact = outermost  # type: ignore[misc]
        return asyncpg.transaction.Transaction(holder, **options)

    async def close_cursor(self, cursor: Any) -> None:
        """Close a cursor, and deallocate its statement if the session is shared."""
        await cursor._close_portal(None)
        if self.is_transaction_pooled:
            await self.control(f'DEALLOCATE "{cursor._state.name}"')

    async def tracked(self, work: Awaitable[T]) -> T:
        """Await an operation, and keep the connection out of the pool until it has ended."""
        task = asyncio.current_task()
        if not self._operations:
            self.replies.forget()
        self._operations.append(task)
        try:
            result = await work
        except asyncio.CancelledError:
            self._translate_cancellation(task)
            raise
        except asyncpg.InternalClientError:
            self.terminate()  # asyncpg may regard the failed operation as still running
            raise
        finally:
            self._operation_ended(task)
        self.answered += 1
        return result

    async def timed(self, work: Awaitable[T], sql: str = "", *, is_bound: bool = False) -> T:
        """Await a statement, timed for the watchdog and written to the statement log.

        Args:
            work: the driver's operation.
            sql: its text, for the log.
            is_bound: it uses the extended query protocol, in which the server confirms Bind before
                it executes; the simple query protocol has no such step.
        """
        task = asyncio.current_task()
        operations = self._operations
        if not operations:
            if is_bound:
                self.replies.start()
            else:  # the first reply to an earlier statement proves nothing about this one
                self.replies.forget()
        operations.append(task)
        self.sent_at = self.last_sent_at = self._loop.time()
        try:
            result = await work
        except asyncio.CancelledError:
            self._translate_cancellation(task)
            raise
        except Exception as error:
            if self.statement_log.is_on:
                self._log(sql, error)
            raise
        finally:
            self.replies.stop()
            self._operation_ended(task)
        self.answered += 1
        self.answered_at = self._loop.time()
        if self.statement_log.is_on:
            self._log(sql, result)
        return result

    def _end_session(self) -> None:
        """Close after the server has ended the session.

        A running operation gets the server's error first: closing immediately would replace it by
        "connection is closed".
        """
        self._session_has_ended = True
        if self._operations:
            self.call_when_idle(self.terminate)
        else:
            self.terminate()

    async def _copy_in(self, *args: Any, **kwargs: Any) -> Any:
        self._require_session()
        return await super()._copy_in(*args, **kwargs)

    async def _prepare(self, *args: Any, **kwargs: Any) -> Any:
        # the first step of copy_records_to_table()
        statement = await super()._prepare(*args, **kwargs)
        self._require_session()
        return statement

    def _require_session(self) -> None:
        """Raise an error if the session has ended.

        asyncpg's COPY would otherwise start an operation that never ends.
        """
        if self._session_has_ended:
            self.terminate()
            raise asyncpg.InterfaceError("connection is closed")

    def _abort(self) -> None:
        # asyncpg also sets _protocol to None, and a running operation of several steps then fails
        # with AttributeError instead of "connection is closed"
        self._aborted = True  # type: ignore[misc]  # asyncpg's
        self._protocol.abort()

    def _operation_ended(self, task: asyncio.Task[Any] | None) -> None:
        self._operations.remove(task)
        if task in self._cancelled and task not in self._operations:
            del self._cancelled[task]
        if not self._operations:
            self.sent_at = 0.0
            if self._idle_callbacks:
                callbacks, self._idle_callbacks = self._idle_callbacks, []
                for callback in callbacks:
                    callback()

    def _translate_cancellation(self, task: asyncio.Task[Any] | None) -> None:
        """Raise :class:`LeaseEnded` if only :meth:`cancel_operations` cancelled the task.

        Its task goes on after the error, so the cancel request has to be taken back. If somebody
        else cancelled it as well, the cancellation must reach that caller.
        """
        if task is not None and task in self._cancelled:
            earlier = self._cancelled.pop(task)  # Python 3.11 leaves some requests in the count
            if task.uncancel() <= earlier:
                raise LeaseEnded("the block ended while the statement was running") from None

    def _log(self, sql: str, result: object) -> None:
        self.statement_log.write(sql, self._loop.time() - self.last_sent_at, result)

    async def _execute(self, query: str, *args: Any, **kwargs: Any) -> Any:
        work = super()._execute(query, *args, **kwargs)
        return await self.timed(work, query, is_bound=True)

    async def _executemany(self, query: str, *args: Any, **kwargs: Any) -> Any:
        work = super()._executemany(query, *args, **kwargs)
        return await self.timed(work, query, is_bound=True)

    def _get_statement(self, query: str, timeout: float | None, **kwargs: Any) -> Any:
        # all statements except those of execute() without arguments are made here
        self._check_statement(query)
        if self.is_transaction_pooled and kwargs.get("named") is True:
            # asyncpg numbers the names per process: two processes would collide in one session
            kwargs["named"] = f"cursor_{uuid4().hex}"
        return super()._get_statement(query, timeout, **kwargs)

    async def _introspect_types(
        self,
        typeoids: Any,
        timeout: float | None,  # noqa: ASYNC109  # asyncpg's signature
    ) -> Any:
        """Look types up in the catalog, with JIT off for this query only.

        asyncpg switches JIT off and on for the session, which other clients of PgBouncer share.
        """
        if not self._server_caps.jit:
            return await self._look_up_types(typeoids, seconds=timeout), UNNAMED_STATEMENT
        is_inside = self._protocol.is_in_transaction()
        begin, end = JIT_OFF_IN_SAVEPOINT if is_inside else JIT_OFF_IN_TRANSACTION
        try:
            await self._protocol.query(begin, timeout)
            types = await self._look_up_types(typeoids, seconds=timeout)
        except BaseException:
            await self._end_introspection(end)
            raise
        await finish(self._protocol.query(end, timeout))
        return types, UNNAMED_STATEMENT

    async def _end_introspection(self, end: str) -> None:
        """End the block of a failed or cancelled lookup, terminate the connection if that fails."""
        try:
            await finish(self._protocol.query(end, JIT_RESTORE_SECONDS))
        except asyncpg.PostgresError:  # BEGIN itself had failed
            pass
        except Exception:  # noqa: BLE001  # the error of the lookup is raised
            self.terminate()

    async def _look_up_types(self, typeoids: Any, *, seconds: float | None) -> Any:
        types, _ = await self._Connection__execute(
            self._intro_query, (list(typeoids),), 0, seconds, ignore_custom_codec=True
        )
        return types

    def add_log_listener(self, callback: Any) -> None:
        self.is_invalidated = True  # it would be called for the next caller as well
        super().add_log_listener(callback)

    def add_query_logger(self, callback: Any) -> None:
        self.is_invalidated = True
        super().add_query_logger(callback)

    async def set_type_codec(self, *args: Any, **kwargs: Any) -> None:
        self.is_invalidated = True  # the next caller would get other Python types
        await super().set_type_codec(*args, **kwargs)

    async def set_builtin_type_codec(self, *args: Any, **kwargs: Any) -> None:
        self.is_invalidated = True
        await super().set_builtin_type_codec(*args, **kwargs)

    async def reset_type_codec(self, *args: Any, **kwargs: Any) -> None:
        self.is_invalidated = True
        await super().reset_type_codec(*args, **kwargs)

    def _unwrap(self) -> Any:
        """Return the lease, so that what asyncpg passes to listeners ends with its block."""
        return self.lease or self

    def _process_log_message(self, fields: dict[str, str], last_query: str) -> None:
        if fields.get("R") == "SyncRepWaitForLSN":
            self.is_unconfirmed = True
        super()._process_log_message(fields, last_query)

    def _check_statement(self, query: str) -> None:
        """Record session state that the statement may leave.

        Raises:
            TransactionError: it begins or ends a transaction that a block owns.
            SessionStateRefused: it would leave session state in a session shared by PgBouncer.
        """
        if self.is_managed and controls_transaction(query):
            raise TransactionError(INSIDE_BLOCK)
        if not self.has_session_state and leaves_session_state(query):
            if self.is_transaction_pooled:
                raise SessionStateRefused(
                    "PgBouncer shares the session: use SET LOCAL, set_config(..., true) or a "
                    "transaction-level lock instead of session state"
                )
            self.has_session_state = True
