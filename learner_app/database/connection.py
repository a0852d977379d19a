"""A connection that knows whether something was left in its session, and whether it still lives."""

from __future__ import annotations

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

from learner_app.database.known_types import KNOWN_TYPES
from learner_app.database.statements import controls_transaction, leaves_session_state
from learner_app.errors import SessionStateRefused, TransactionError

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

UNNAMED = SimpleNamespace(name="")
"""Tells asyncpg that its unnamed statement was replaced meanwhile, so that it is parsed again."""

UNREAD = select.POLLIN | getattr(select, "POLLRDHUP", 0)


class Connection(_Base):  # type: ignore[misc]  # see above
    """What the pool lends; everything of ``asyncpg.Connection`` works on it."""

    __slots__ = (
        "_incoming",
        "answered",
        "answered_at",
        "generation",
        "has_session_state",
        "idle_since",
        "is_managed",
        "is_spoiled",
        "is_unconfirmed",
        "keeps_no_state",
        "last_sent_at",
        "retire_at",
        "sent_at",
        "server",
        "session",
        "timeline",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.has_session_state = False
        """Something ran that may have left a setting, a lock, a temporary table or a listener."""
        self.is_spoiled = False
        """Never to be used again."""
        self.is_unconfirmed = False
        """A commit was cancelled while it waited for a synchronous standby: done here only."""
        self.keeps_no_state = False
        """Whether session state is refused since the session is shared, as by PgBouncer."""
        self.is_managed = False
        """Whether a transaction block is in charge, so that nobody else begins or ends one."""
        self.sent_at = self.last_sent_at = 0.0
        """Loop time at which the statement under way was sent, 0 when there is none."""
        self.answered = 0
        """How many statements came to an end so far."""
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

    def unsent(self) -> int:
        """Return how many bytes of the statement the other side has not acknowledged yet."""
        waiting = bytearray(4)
        with suppress(OSError, ValueError):  # closed meanwhile, or unknown to the system
            socket = self._transport.get_extra_info("socket")
            fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, waiting)
        size: int = self._transport.get_write_buffer_size()
        return size + int.from_bytes(waiting, sys.byteorder)

    def is_busy(self) -> bool:
        """Whether a transaction is open or a cancelled statement not yet acknowledged."""
        protocol = self._protocol
        return bool(
            protocol.is_in_transaction() or protocol._is_cancelling() or self._top_xact is not None
        )

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

    def forget_statements(self) -> None:
        """Prepare all statements anew, since tables or types have changed."""
        self._drop_local_statement_cache()
        self._drop_local_type_cache()
        self._protocol.get_settings().register_data_types(KNOWN_TYPES)

    async def forget_session(self) -> None:
        """Undo what was left in the session; asyncpg's own reset leaves roles and such."""
        self._listeners.clear()
        self._drop_local_statement_cache()
        await self._protocol.query("DISCARD ALL", None)
        self.has_session_state = False

    async def control(self, sql: str) -> str:
        """Send a statement of the block in charge: BEGIN, SAVEPOINT, COMMIT and the like."""
        status: str = await self.watched(super().execute(sql))
        return status

    async def execute(self, query: str, *args: Any, **kwargs: Any) -> str:
        self._note(query)
        status: str = await self.watched(super().execute(query, *args, **kwargs))
        return status

    async def close_cursor(self, cursor: Any) -> None:
        """Close it, and where the session is shared take its statement out of that as well."""
        await cursor._close_portal(None)
        if self.keeps_no_state:
            await self.control(f'DEALLOCATE "{cursor._state.name}"')

    async def watched(self, work: Awaitable[T]) -> T:
        """Await work of the driver's, in sight of the pool's watch; public for a cursor's."""
        self.sent_at = self.last_sent_at = self._loop.time()
        try:
            result = await work
        finally:
            self.sent_at = 0.0
        self.answered += 1
        self.answered_at = self._loop.time()
        return result

    async def _execute(self, *args: Any, **kwargs: Any) -> Any:
        return await self.watched(super()._execute(*args, **kwargs))

    async def _executemany(self, *args: Any, **kwargs: Any) -> Any:
        return await self.watched(super()._executemany(*args, **kwargs))

    def _get_statement(self, query: str, timeout: float | None, **kwargs: Any) -> Any:
        # all statements but those of execute() without arguments are made here
        self._note(query)
        if self.keeps_no_state and kwargs.get("named") is True:
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
        await self._protocol.query(begin, timeout)
        try:
            types = await self._look_up_types(typeoids, seconds=timeout)
        except Exception:
            with suppress(Exception):  # the first error counts
                await self._protocol.query(end, timeout)
            raise
        await self._protocol.query(end, timeout)
        return types, UNNAMED

    async def _look_up_types(self, typeoids: Any, *, seconds: float | None) -> Any:
        types, _ = await self._Connection__execute(
            self._intro_query, (list(typeoids),), 0, seconds, ignore_custom_codec=True
        )
        return types

    def add_log_listener(self, callback: Any) -> None:
        self.is_spoiled = True  # it would hear of the next holder
        super().add_log_listener(callback)

    def add_query_logger(self, callback: Any) -> None:
        self.is_spoiled = True
        super().add_query_logger(callback)

    async def set_type_codec(self, *args: Any, **kwargs: Any) -> None:
        self.is_spoiled = True  # the next holder would get other Python types
        await super().set_type_codec(*args, **kwargs)

    async def set_builtin_type_codec(self, *args: Any, **kwargs: Any) -> None:
        self.is_spoiled = True
        await super().set_builtin_type_codec(*args, **kwargs)

    async def reset_type_codec(self, *args: Any, **kwargs: Any) -> None:
        self.is_spoiled = True
        await super().reset_type_codec(*args, **kwargs)

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
            if self.keeps_no_state:
                raise SessionStateRefused(
                    "through PgBouncer no session state: use SET LOCAL, set_config(..., true) or "
                    "a transaction-level lock"
                )
            self.has_session_state = True
