"""A connection that knows whether something was left in its session, and whether it still lives."""

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

# asyncpg's stubs leave out the private parts that this class rests on; the version is pinned
_Base: Any = asyncpg.Connection

IN_TRANSACTION = ("BEGIN READ ONLY; SET LOCAL jit = off", "ROLLBACK")
IN_SAVEPOINT = (
    "SAVEPOINT introspection; SET LOCAL jit = off",
    "ROLLBACK TO SAVEPOINT introspection; RELEASE SAVEPOINT introspection",
)
"""Begin and end of a block around the introspection query, which takes a second with JIT.

The rollback restores the setting, whatever it was.
"""

LEAVE_SECONDS = 2
"""Time for the end of that block after a failure, then the connection is terminated."""

UNNAMED = SimpleNamespace(name="")
"""Tells asyncpg that its unnamed statement was replaced meanwhile, so that it is parsed again."""

HUNG_UP = getattr(select, "POLLRDHUP", 0)
UNREAD = select.POLLIN | HUNG_UP


class Connection(_Base):  # type: ignore[misc]  # see above
    """What the pool lends; everything of ``asyncpg.Connection`` works on it."""

    __slots__ = (
        "_cancelled",
        "_has_ended",
        "_incoming",
        "_operations",
        "_when_idle",
        "answered",
        "answered_at",
        "generation",
        "has_session_state",
        "idle_since",
        "is_invalidated",
        "is_managed",
        "is_transaction_pooled",
        "is_unconfirmed",
        "last_sent_at",
        "lease",
        "replies",
        "retire_at",
        "sent_at",
        "server",
        "session",
        "statement_log",
        "timeline",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.has_session_state = False
        """Something ran that may have left a setting, a lock, a temporary table or a listener."""
        self.is_invalidated = False
        """Never to be used again."""
        self.is_unconfirmed = False
        """A commit was cancelled while it waited for a synchronous standby: done here only."""
        self.is_transaction_pooled = False
        """Whether session state is refused since the session is shared, as by PgBouncer."""
        self.is_managed = False
        """Whether a transaction block is in charge, so that nobody else begins or ends one."""
        self.sent_at = self.last_sent_at = 0.0
        """Loop time at which the statement under way was sent, 0 when there is none."""
        self.answered = 0
        """How many operations have succeeded so far."""
        self._operations: list[asyncio.Task[Any] | None] = []
        self._cancelled: dict[asyncio.Task[Any] | None, int] = {}
        """Tasks cancelled by :meth:`cancel_operations`, with their earlier cancel requests."""
        self._has_ended = False
        self.lease: Any = None
        """The lease through which the current holder uses this connection, if there is one."""
        self.statement_log: StatementLog = NO_ANSWER
        self._when_idle: list[Callable[[], object]] = []
        self.answered_at = 0.0
        """Loop time of the last answer, 0 before the first."""
        self.idle_since = self._loop.time()
        self.retire_at = float("inf")
        self.generation = 0
        self.server: tuple[Any, Any] = (None, None)
        """Which one it is, by its own address, and when it was started."""
        self.timeline: int | None = None
        """Timeline of the server's write-ahead log: each promotion begins a higher one.

        None for a standby, and where it is not known.
        """
        self.session: tuple[int, Any] | None = None
        """Process id and start of the session on the server, known also after the end."""
        self.replies = ReplyMonitor(self._protocol, self._end)
        self._transport.set_protocol(self.replies)
        self._incoming = select.poll()
        self._incoming.register(self._transport.get_extra_info("socket").fileno(), UNREAD)
        self._protocol.get_settings().register_data_types(KNOWN_TYPES)

    @property
    def address(self) -> tuple[str, int] | str:
        """Host and port, or the path of a unix socket."""
        address: tuple[str, int] | str = self._addr
        return address

    def has_unread(self) -> bool:
        """Whether the server said something unasked: usually its farewell. Costs a microsecond."""
        return bool(self._incoming.poll(0))

    def has_hung_up(self) -> bool:
        """Return whether the server closed the connection, also when that was not read yet."""
        events = self._incoming.poll(0)
        return bool(events) and bool(events[0][1] & (HUNG_UP | select.POLLHUP))

    def unsent(self) -> int:
        """Return how many bytes of the statement the other side has not acknowledged yet."""
        waiting = bytearray(4)
        with suppress(OSError, ValueError):  # closed meanwhile, or unknown to the system
            socket = self._transport.get_extra_info("socket")
            fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, waiting)
        size: int = self._transport.get_write_buffer_size()
        return size + int.from_bytes(waiting, sys.byteorder)

    def is_busy(self) -> bool:
        """Whether a transaction is open, or a statement running or cancelled and not yet over."""
        protocol = self._protocol
        return bool(
            self._operations
            or protocol.is_in_transaction()
            or protocol._is_cancelling()
            or self._top_xact is not None
        )

    @property
    def is_running(self) -> bool:
        """Whether an operation has not come to an end."""
        return bool(self._operations)

    def cancel_operations(self) -> None:
        """Cancel what is running; the tasks that wait for it get :class:`LeaseEnded`."""
        for task in set(self._operations):
            if task is not None and task not in self._cancelled:
                self._cancelled[task] = task.cancelling()
                task.cancel()

    def call_when_idle(self, callback: Callable[[], object]) -> None:
        """Call it when the running operations have come to an end."""
        self._when_idle.append(callback)

    async def until_idle(self) -> None:
        """Wait until the running operations have come to an end."""
        while self._operations:
            idle = asyncio.Event()
            self.call_when_idle(idle.set)
            await idle.wait()

    def leave_block(self) -> None:
        """End the reign of a transaction block, and the savepoints that were made for it."""
        if self.is_managed:
            self.is_managed = False
            self._top_xact = None  # type: ignore[misc]  # it is asyncpg's

    def forget_callbacks(self) -> None:
        """Remove the listeners and loggers that the holder added."""
        self._listeners.clear()
        self._log_listeners.clear()
        self._termination_listeners.clear()
        self._query_loggers.clear()

    def is_read_only(self) -> bool:
        """Whether the server takes no writes, as far as it reported (PostgreSQL 14 and newer)."""
        settings = None if self.is_closed() else self.get_settings()
        return (
            getattr(settings, "in_hot_standby", "off") == "on"
            or getattr(settings, "default_transaction_read_only", "off") == "on"
        )

    async def forget_transaction(self) -> None:
        """End whatever transaction there is; asyncpg's own record of it as well."""
        self._top_xact = None  # type: ignore[misc]  # it is asyncpg's
        await self.control("ROLLBACK")

    def clear_statement_cache(self) -> None:
        """Prepare all statements anew, since tables or types have changed."""
        self._drop_local_statement_cache()
        self._drop_local_type_cache()
        self._protocol.get_settings().register_data_types(KNOWN_TYPES)

    async def reset_session(self) -> None:
        """Undo what was left in the session; asyncpg's own reset leaves roles and such."""
        self._listeners.clear()
        self._drop_local_statement_cache()
        await self._protocol.query("DISCARD ALL", None)
        self.has_session_state = False

    async def control(self, sql: str, *, log_text: str | None = None) -> str:
        """Send a statement of the block in charge: BEGIN, SAVEPOINT, COMMIT and the like.

        Args:
            sql: one or more statements without parameters.
            log_text: printed by the statement log instead of SQL that contains values.
        """
        status: str = await self.watched(super().execute(sql), log_text or sql)
        return status

    async def execute(self, query: str, *args: Any, **kwargs: Any) -> str:
        tag: str
        if args:  # asyncpg sends it by _execute()
            tag = await super().execute(query, *args, **kwargs)
        else:
            self._note(query)
            tag = await self.watched(super().execute(query, **kwargs), query)
        return tag

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False, deferrable: bool = False
    ) -> Any:
        """Return asyncpg's transaction, which is a savepoint inside a transaction block.

        Raises:
            TransactionError: inside a block with options, which only the outermost can have.
        """
        options = {"isolation": isolation, "readonly": readonly, "deferrable": deferrable}
        return self.transaction_on(self, options)

    def transaction_on(self, holder: Any, options: dict[str, Any]) -> Any:
        """Return asyncpg's transaction for this connection or for a lease of it."""
        self._check_open()
        if self.is_managed:
            if any(options.values()):
                raise TransactionError(
                    "inside a transaction block connection.transaction() is a savepoint: "
                    "isolation, readonly and deferrable belong to the outermost DB.transaction()"
                )
            if self._top_xact is None:  # asyncpg sends SAVEPOINT below a transaction it knows
                outermost: Any = asyncpg.transaction.Transaction(
                    self, None, readonly=False, deferrable=False
                )
                self._top_xact = outermost  # type: ignore[misc]  # it is asyncpg's
        return asyncpg.transaction.Transaction(holder, **options)

    async def close_cursor(self, cursor: Any) -> None:
        """Close it, and where the session is shared take its statement out of that as well."""
        await cursor._close_portal(None)
        if self.is_transaction_pooled:
            await self.control(f'DEALLOCATE "{cursor._state.name}"')

    async def counted(self, work: Awaitable[T]) -> T:
        """Await an operation during which no other holder may get the connection."""
        task = asyncio.current_task()
        if not self._operations:
            self.replies.forget()
        self._operations.append(task)
        try:
            result = await work
        except asyncio.CancelledError:
            self._explain_cancellation(task)
            raise
        except asyncpg.InternalClientError:
            self.terminate()  # asyncpg may take the failed operation for one still under way
            raise
        finally:
            self._count_down(task)
        self.answered += 1
        return result

    async def watched(self, work: Awaitable[T], sql: str = "", *, is_bound: bool = False) -> T:
        """Await a statement, in sight of the pool's watch and of the log.

        Args:
            work: what the driver does for it.
            sql: its text, for the log.
            is_bound: the server answers Bind before it executes, unlike to a simple query.
        """
        task = asyncio.current_task()
        operations = self._operations
        if not operations:
            if is_bound:
                self.replies.start()
            else:  # the first message of an earlier statement proves nothing about this one
                self.replies.forget()
        operations.append(task)
        self.sent_at = self.last_sent_at = self._loop.time()
        try:
            result = await work
        except asyncio.CancelledError:
            self._explain_cancellation(task)
            raise
        except Exception as error:
            if self.statement_log.is_on:
                self._log(sql, error)
            raise
        finally:
            self.replies.stop()
            self._count_down(task)
        self.answered += 1
        self.answered_at = self._loop.time()
        if self.statement_log.is_on:
            self._log(sql, result)
        return result

    def _end(self) -> None:
        """Close, since the server has ended the session; running operations see that themselves."""
        self._has_ended = True
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
        """Raise if the session has ended; asyncpg's COPY would leave an unfinished operation."""
        if self._has_ended:
            self.terminate()
            raise asyncpg.InterfaceError("connection is closed")

    def _abort(self) -> None:
        # asyncpg's also sets _protocol to None, and an operation of several steps that is running
        # then fails with AttributeError instead of "connection is closed"
        self._aborted = True  # type: ignore[misc]  # it is asyncpg's
        self._protocol.abort()

    def _count_down(self, task: asyncio.Task[Any] | None) -> None:
        self._operations.remove(task)
        if task in self._cancelled and task not in self._operations:
            del self._cancelled[task]
        if not self._operations:
            self.sent_at = 0.0
            if self._when_idle:
                callbacks, self._when_idle = self._when_idle, []
                for callback in callbacks:
                    callback()

    def _explain_cancellation(self, task: asyncio.Task[Any] | None) -> None:
        """Raise :class:`LeaseEnded` where the holder's block ended and nobody else cancelled."""
        if task is not None and task in self._cancelled:
            earlier = self._cancelled.pop(task)  # Python 3.11 leaves some requests in the count
            if task.uncancel() <= earlier:
                raise LeaseEnded("the block ended while the statement was running") from None

    def _log(self, sql: str, result: object) -> None:
        self.statement_log.write(sql, self._loop.time() - self.last_sent_at, result)

    async def _execute(self, query: str, *args: Any, **kwargs: Any) -> Any:
        work = super()._execute(query, *args, **kwargs)
        return await self.watched(work, query, is_bound=True)

    async def _executemany(self, query: str, *args: Any, **kwargs: Any) -> Any:
        work = super()._executemany(query, *args, **kwargs)
        return await self.watched(work, query, is_bound=True)

    def _get_statement(self, query: str, timeout: float | None, **kwargs: Any) -> Any:
        # all statements but those of execute() without arguments are made here
        self._note(query)
        if self.is_transaction_pooled and kwargs.get("named") is True:
            # numbers that count up in each process would meet on one server session
            kwargs["named"] = f"cursor_{uuid4().hex}"
        return super()._get_statement(query, timeout, **kwargs)

    async def _introspect_types(
        self,
        typeoids: Any,
        timeout: float | None,  # noqa: ASYNC109  # asyncpg's signature
    ) -> Any:
        """Look types up in the catalog, with JIT off for this query alone.

        asyncpg's own method switches it off and on in the session, which PgBouncer shares.
        """
        if not self._server_caps.jit:
            return await self._look_up_types(typeoids, seconds=timeout), UNNAMED
        begin, end = IN_SAVEPOINT if self._protocol.is_in_transaction() else IN_TRANSACTION
        try:
            await self._protocol.query(begin, timeout)
            types = await self._look_up_types(typeoids, seconds=timeout)
        except BaseException:
            await self._leave_introspection(end)
            raise
        await finish(self._protocol.query(end, timeout))
        return types, UNNAMED

    async def _leave_introspection(self, end: str) -> None:
        """End the block of a failed or cancelled lookup, or else the connection."""
        try:
            await finish(self._protocol.query(end, LEAVE_SECONDS))
        except asyncpg.PostgresError:  # the block did not begin
            pass
        except Exception:  # noqa: BLE001  # the error of the lookup is raised
            self.terminate()

    async def _look_up_types(self, typeoids: Any, *, seconds: float | None) -> Any:
        types, _ = await self._Connection__execute(
            self._intro_query, (list(typeoids),), 0, seconds, ignore_custom_codec=True
        )
        return types

    def add_log_listener(self, callback: Any) -> None:
        self.is_invalidated = True  # it would hear of the next holder
        super().add_log_listener(callback)

    def add_query_logger(self, callback: Any) -> None:
        self.is_invalidated = True
        super().add_query_logger(callback)

    async def set_type_codec(self, *args: Any, **kwargs: Any) -> None:
        self.is_invalidated = True  # the next holder would get other Python types
        await super().set_type_codec(*args, **kwargs)

    async def set_builtin_type_codec(self, *args: Any, **kwargs: Any) -> None:
        self.is_invalidated = True
        await super().set_builtin_type_codec(*args, **kwargs)

    async def reset_type_codec(self, *args: Any, **kwargs: Any) -> None:
        self.is_invalidated = True
        await super().reset_type_codec(*args, **kwargs)

    def _unwrap(self) -> Any:
        """Return what asyncpg passes to listeners: the lease, which ends with its block."""
        return self.lease or self

    def _process_log_message(self, fields: dict[str, str], last_query: str) -> None:
        if fields.get("R") == "SyncRepWaitForLSN":
            self.is_unconfirmed = True
        super()._process_log_message(fields, last_query)

    def _note(self, query: str) -> None:
        if self.is_managed and controls_transaction(query):
            raise TransactionError(
                "inside a transaction block no BEGIN, COMMIT or ROLLBACK: the block sends them; "
                "nest another DB.transaction() for a savepoint"
            )
        if not self.has_session_state and leaves_session_state(query):
            if self.is_transaction_pooled:
                raise SessionStateRefused(
                    "through PgBouncer no session state: use SET LOCAL, set_config(..., true) or "
                    "a transaction-level lock"
                )
            self.has_session_state = True
