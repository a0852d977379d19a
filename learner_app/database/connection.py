"""Connection of asyncpg that tracks its operations, its session state and the server's replies.

The pool needs to know three things about a released connection that asyncpg's own class does not
report: whether an operation is still running, whether a statement left session state, and whether
the server has closed the connection. asyncpg has no public hook for them, so this class overrides
private methods. The version of asyncpg is pinned, and ``docs/private-parts.md`` lists each private
attribute with the test that detects a change of it.
"""

from __future__ import annotations

import asyncio
import fcntl
import select
import sys
import termios
from collections.abc import Awaitable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg
import asyncpg.transaction

from learner_app.database.bind_execute import execute_prepared
from learner_app.database.cancellation import finish
from learner_app.database.known_types import KNOWN_TYPES
from learner_app.database.operations import RunningOperations
from learner_app.database.reply_tracker import ReplyTracker
from learner_app.database.shared_timer import SharedTimer
from learner_app.database.sql_inspection import controls_transaction, leaves_session_state
from learner_app.database.statement_log import NO_LOG, StatementLog
from learner_app.errors import LeaseEnded, SessionStateRefused, TransactionError

T = TypeVar("T")

# Any, as asyncpg's stubs omit the private attributes that this class uses
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
"""Statements before and after asyncpg's type lookup, whose query takes a second with JIT.

The rollback restores the previous value of the setting.
"""

JIT_RESTORE_SECONDS = 2
"""Time limit for the rollback after a failed lookup, then the connection is terminated."""

UNNAMED_STATEMENT = SimpleNamespace(name="")
"""Statement of a type lookup, which replaced the unnamed one: asyncpg has to parse that again."""

PEER_CLOSED = getattr(select, "POLLRDHUP", 0)
"""Poll event: the server has closed its side (Linux only)."""
UNREAD = select.POLLIN | PEER_CLOSED
"""Poll events: there is unread input, the end of the stream included."""


class Connection(_Base):  # type: ignore[misc]  # see above
    """Connection with the whole interface of ``asyncpg.Connection``, in the pool or outside it."""

    __slots__ = (
        "_poll",
        "_session_has_ended",
        "acquired_at",
        "answered_at",
        "backend",
        "command_timer",
        "completed_operations",
        "generation",
        "has_session_state",
        "idle_since",
        "is_invalidated",
        "is_managed",
        "is_transaction_pooled",
        "is_unconfirmed",
        "last_sent_at",
        "lease",
        "operations",
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
        """True if a setting, lock, temporary table or listener may be left in the session."""
        self.is_invalidated = False
        """True if the connection must not be used again after its release."""
        self.is_unconfirmed = False
        """True after a commit that this server did, but its synchronous standby did not confirm."""
        self.is_transaction_pooled = False
        """True if PgBouncer shares the session, so that statements must leave no session state."""
        self.is_managed = False
        """True while a transaction block owns the transaction and alone begins and ends it."""
        self.sent_at = self.last_sent_at = 0.0
        """Loop time at which the running statement was sent, 0 while there is none.

        ``last_sent_at`` keeps the value after the end of the statement, and is also set for other
        operations of a lease.
        """
        self.completed_operations = 0
        """Number of operations that have succeeded so far."""
        self.operations = RunningOperations()
        """Running operations, nested operations included."""
        self.command_timer: SharedTimer | None = None
        """Timer that enforces DB_COMMAND_TIMEOUT, None outside the pool."""
        self._session_has_ended = False
        """True after the server has sent the error that ends the session."""
        self.lease: Any = None
        """The lease through which the connection is used at present, or None."""
        self.statement_log: StatementLog = NO_LOG
        self.answered_at = 0.0
        """Loop time of the last answer to a statement, 0 before the first."""
        self.acquired_at = 0.0
        """Loop time of the last checkout."""
        self.idle_since = self._loop.time()
        """Loop time since which the connection is idle in the pool."""
        self.retire_at = float("inf")
        """Loop time after which the pool replaces the connection."""
        self.generation = 0
        """Number of calls of ``Pool.expire()`` before the connection was opened."""
        self.server: tuple[Any, Any] = (None, None)
        """Identity of the server: its addresses, and its start time, which changes with a restart.

        (None, None) where it is not known, as through PgBouncer.
        """
        self.propagates_settings: bool | None = None
        """True if Citus sends SET LOCAL to its workers as well, None until that is known."""
        self.timeline: int | None = None
        """Timeline of the server's write-ahead log, which each promotion of a standby increments.

        None for a standby, and where it is not known.
        """
        self.backend: tuple[int, Any] | None = None
        """Process id and start time of the server process, kept when the connection is closed."""
        self.replies = ReplyTracker(self._protocol, self._end_session)
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
        """Return True if there is input that asyncpg has not read, or the server has closed.

        For an idle connection that is usually the FATAL error with which the server ended the
        session. The check takes a microsecond, unlike :meth:`ping`.
        """
        return bool(self._poll.poll(0))

    def is_closed_by_server(self) -> bool:
        """Return True if the server closed the connection, even before asyncpg reads that."""
        events = self._poll.poll(0)
        return bool(events) and bool(events[0][1] & (PEER_CLOSED | select.POLLHUP))

    def unacknowledged_bytes(self) -> int:
        """Return the number of bytes to send that the other side has not acknowledged yet."""
        in_kernel = bytearray(4)
        with suppress(OSError, ValueError):  # the socket is closed, or TIOCOUTQ is not supported
            socket = self._transport.get_extra_info("socket")
            fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, in_kernel)
        size: int = self._transport.get_write_buffer_size()
        return size + int.from_bytes(in_kernel, sys.byteorder)

    async def ping(self) -> None:
        """Raise an error unless the server answers ``SELECT 1`` within 0.5 s."""
        async with asyncio.timeout(PING_SECONDS):
            await self.fetchval("SELECT 1")

    async def reset(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # asyncpg's
        """Roll back an open transaction and discard the session state.

        If there is neither, nothing is sent. ``DISCARD ALL`` also discards what asyncpg's own reset
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
        """Return True while an operation runs or is being cancelled, or a transaction is open."""
        return self.is_running or self._needs_rollback()

    def _needs_rollback(self) -> bool:
        # also while a statement is being cancelled: asyncpg delays the ROLLBACK until that is done
        protocol = self._protocol
        return bool(
            protocol.is_in_transaction() or protocol._is_cancelling() or self._top_xact is not None
        )

    def is_clean(self) -> bool:
        """Return True if the next caller can use the connection as it is."""
        protocol = self._protocol
        return not (
            self.operations.tasks
            or self.has_session_state
            or self.is_invalidated
            or self._aborted
            or self._top_xact is not None
            or protocol.is_in_transaction()
            or protocol._is_cancelling()
            or not protocol.is_connected()
        )

    @property
    def needs_commit_check(self) -> bool:
        """True if a commit is unconfirmed, or the last known state is a transaction."""
        return self.is_unconfirmed or self._protocol.is_in_transaction()

    @property
    def is_running(self) -> bool:
        """True while an operation runs."""
        return bool(self.operations.tasks)

    def cancel_operations(self) -> None:
        """Cancel the running operations, whose tasks get :class:`LeaseEnded`."""
        self.operations.cancel_all(
            lambda: LeaseEnded("the block ended while the statement was running")
        )

    def leave_block(self) -> None:
        """End the ownership of a transaction block, see ``is_managed``."""
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
        """Return True if the server has reported that it is read-only (PostgreSQL 14 or newer)."""
        settings = None if self.is_closed() else self.get_settings()
        return (
            getattr(settings, "in_hot_standby", "off") == "on"
            or getattr(settings, "default_transaction_read_only", "off") == "on"
        )

    def clear_statement_cache(self) -> None:
        """Make asyncpg prepare all statements again, after a change of tables or types."""
        self._drop_local_statement_cache()
        self._drop_local_type_cache()
        self._protocol.get_settings().register_data_types(KNOWN_TYPES)

    async def control(self, sql: str, *, log_text: str | None = None) -> str:
        """Send a statement of the package itself, such as COMMIT, which is not checked.

        Args:
            sql: one or more statements without parameters.
            log_text: text for the statement log, where the SQL contains values.
        """
        status: str = await self.timed(super().execute(sql), log_text or sql)
        return status

    async def execute(self, query: str, *args: Any, **kwargs: Any) -> str:
        tag: str
        if args:  # asyncpg calls _execute(), which is overridden below
            tag = await super().execute(query, *args, **kwargs)
        else:
            self.check_statement(query)
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
        The transaction of a block was begun without asyncpg's class, so it is made known here.

        Args:
            holder: the connection, or the lease of it, on which the transaction is used.
            options: arguments of :meth:`transaction`.
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
        """Close a cursor, and deallocate its statement if PgBouncer shares the session."""
        await cursor._close_portal(None)
        if self.is_transaction_pooled:
            await self.control(f'DEALLOCATE "{cursor._state.name}"')

    async def tracked(self, work: Awaitable[T]) -> T:
        """Await an operation of any kind, during which the connection counts as running."""
        task = asyncio.current_task()
        tasks = self.operations.tasks
        if not tasks:
            self.replies.forget()
        tasks.append(task)
        self.last_sent_at = self._loop.time()
        try:
            result = await work
        except asyncio.CancelledError:
            self.operations.translate_cancellation(task)
            raise
        except asyncpg.InternalClientError:
            self.terminate()  # asyncpg may still consider the failed operation as running
            raise
        finally:
            self.operation_ended(task)
        self.completed_operations += 1
        return result

    async def timed(self, work: Awaitable[T], sql: str = "", *, is_bound: bool = False) -> T:
        """Await a statement, during which the watchdog observes it, and write it to the log.

        Args:
            work: the driver's operation.
            sql: its SQL, for the statement log.
            is_bound: True in the extended query protocol, where the server confirms Bind before it
                executes the statement; the simple query protocol has no such step.
        """
        task = asyncio.current_task()
        tasks = self.operations.tasks
        if not tasks:
            if is_bound:
                self.replies.start()
            else:  # the reply to an earlier statement proves nothing about this one
                self.replies.forget()
        tasks.append(task)
        self.sent_at = self.last_sent_at = self._loop.time()
        try:
            result = await work
        except asyncio.CancelledError:
            self.operations.translate_cancellation(task)
            raise
        except Exception as error:
            if self.statement_log.is_on:
                self._log(sql, error)
            raise
        finally:
            self.operation_ended(task)
        self.completed_operations += 1
        self.answered_at = self._loop.time()
        if self.statement_log.is_on:
            self._log(sql, result)
        return result

    def _end_session(self) -> None:
        """Close the connection after the server has ended the session.

        A running operation is completed before that, so that it raises the server's error instead
        of "connection is closed".
        """
        self._session_has_ended = True
        if self.operations.tasks:
            self.operations.call_when_idle(self.terminate)
        else:
            self.terminate()

    async def _copy_out(self, copy_stmt: str, *args: Any, **kwargs: Any) -> Any:
        self.check_statement(copy_stmt)  # the query may call pg_advisory_lock(), for example
        return await super()._copy_out(copy_stmt, *args, **kwargs)

    async def _copy_in(self, *args: Any, **kwargs: Any) -> Any:
        self._require_session()
        return await super()._copy_in(*args, **kwargs)

    async def _prepare(self, *args: Any, **kwargs: Any) -> Any:
        # also the first step of copy_records_to_table()
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
        # asyncpg's method also sets _protocol to None, so that a running operation of several steps
        # fails with AttributeError instead of "connection is closed"
        self._aborted = True  # type: ignore[misc]  # asyncpg's
        self._protocol.abort()

    def operation_ended(self, task: asyncio.Task[Any] | None) -> None:
        """Record the end of an operation, and call the callbacks if it was the last one."""
        self.operations.end(task)
        if not self.operations.tasks:
            self.sent_at = 0.0

    def _log(self, sql: str, result: object) -> None:
        self.statement_log.write(sql, self._loop.time() - self.last_sent_at, result)

    _execute = execute_prepared  # asyncpg's fetch(), fetchrow(), fetchval() and execute() call it

    async def _executemany(self, query: str, *args: Any, **kwargs: Any) -> Any:
        work = super()._executemany(query, *args, **kwargs)
        return await self.timed(work, query, is_bound=True)

    def _get_statement(self, query: str, timeout: float | None, **kwargs: Any) -> Any:
        # called for all statements except COPY and those of execute() without arguments
        self.check_statement(query)
        if self.is_transaction_pooled and kwargs.get("named") is True:
            # asyncpg numbers the names per process, so two processes would use one name in the
            # session that PgBouncer shares
            kwargs["named"] = f"cursor_{uuid4().hex}"
        return super()._get_statement(query, timeout, **kwargs)

    async def _introspect_types(
        self,
        typeoids: Any,
        timeout: float | None,  # noqa: ASYNC109  # asyncpg's signature
    ) -> Any:
        """Look types up in the catalog, with JIT off in a transaction or savepoint.

        asyncpg would switch JIT off and on for the session, which PgBouncer shares with others.
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
        """Roll back a failed or cancelled lookup, or terminate the connection if that fails."""
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
        self.is_invalidated = True  # or the listener would receive messages of the next caller
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
        """Return the lease, which asyncpg passes to listeners, as it ends with its block."""
        return self.lease or self

    def _process_log_message(self, fields: dict[str, str], last_query: str) -> None:
        if fields.get("R") == "SyncRepWaitForLSN":  # the C function that sent the warning
            self.is_unconfirmed = True
        super()._process_log_message(fields, last_query)

    def check_statement(self, query: str) -> None:
        """Set ``has_session_state`` if the statement may leave session state.

        Raises:
            TransactionError: the statement begins or ends a transaction that a block owns.
            SessionStateRefused: the statement would leave session state in a shared session.
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
