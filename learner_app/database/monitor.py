"""Monitoring connection: one connection beside the pool for the watchdog and the health check.

Opening a connection takes several round trips and a responsive postmaster, so a new connection that
fails is no evidence about the statements that are running. An established connection gets an answer
in one round trip as long as server and network work; its silence is evidence. It is replaced in the
background when it is lost, silent or read-only. The old one remains until the new one is open.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import asyncpg

from learner_app.database.connection import Connection
from learner_app.database.error_mapping import DRIVER_ERRORS
from learner_app.database.reconnect import ReconnectLoop
from learner_app.errors import DatabaseUnavailable, LearnerError

ANSWER_SECONDS = 0.5
ANSWER_ROUND_TRIPS = 3
"""Time limit of an answer: seconds plus round trips. After it a replacement is opened."""

PING_INTERVAL_SECONDS = 10
"""Keeps the connection alive in firewalls, and the measured round trip current."""

MAX_ATTEMPTS = 2
KEPT_ROUND_TRIPS = 8


class Answer(NamedTuple):
    """Rows, and the connection that they came from."""

    connection: Connection
    rows: list[Any]


class Monitor:
    """Monitoring connection, kept open from construction until :meth:`close`."""

    def __init__(
        self, name: str, connect: Callable[[], Awaitable[Connection]], lifetime: float
    ) -> None:
        """
        Args:
            name: of the target, for the log.
            connect: opens one connection.
            lifetime: seconds after which the connection is replaced, as those of the pool are.
        """
        self.connection: Connection | None = None
        self.silent_since: dict[Any, float] = {}
        """Loop time since which an established connection to the address got no answer."""
        self._loop = asyncio.get_running_loop()
        self._lifetime = lifetime
        self._reconnect = ReconnectLoop(name, connect, self.adopt, self._failed, is_quiet=True)
        self.attempted = asyncio.Event()
        """Set when the first attempt to connect has ended."""
        self._lock = asyncio.Lock()
        self._asked_at = 0.0
        self._answered_at = 0.0
        self._is_read_only = False
        self._is_closed = False
        self._round_trips: deque[float] = deque(maxlen=KEPT_ROUND_TRIPS)
        self._ping: asyncio.Task[None] | None = None
        self._reconnect.request(1, is_urgent=True)

    @property
    def round_trip(self) -> float:
        """Longest recent time to an answer, in seconds."""
        return max(self._round_trips, default=0.0)

    async def ask(self, query: str, *args: Any, address: Any = None) -> Answer:
        """Return the answer to a query, without a time limit.

        Callers limit their own wait with ``asyncio.wait`` and let the query go on, as cancelling it
        would take another connection. If the connection is replaced, the query is sent again on the
        new one.

        Args:
            query: a statement that only reads, since it may be sent twice.
            args: its parameters.
            address: ask only a server at this address.

        Raises:
            DatabaseUnavailable: there is no connection, or none to that address.
            asyncpg.PostgresError: the server rejected the query.
        """
        async with self._lock:
            for attempt in range(1, MAX_ATTEMPTS + 1):
                connection = self.connection
                if connection is None or address not in (None, connection.address):
                    raise DatabaseUnavailable("the monitoring connection is not open yet")
                try:
                    return Answer(connection, await self._fetch(connection, query, args))
                except DRIVER_ERRORS:
                    if self.connection in (None, connection) or attempt == MAX_ATTEMPTS:
                        raise
        raise AssertionError

    def adopt(self, connection: Connection) -> None:
        """Use a new connection, unless the present one needs no replacement."""
        old = self.connection
        if self._is_closed or (old is not None and not self._needs_replacement()):
            connection.terminate()
            return
        self.connection = connection
        self.attempted.set()
        self._is_read_only = False
        self._round_trips.clear()
        lifetime = self._lifetime * random.uniform(0.9, 1)  # noqa: S311  # no secret
        connection.retire_at = self._loop.time() + lifetime
        connection.add_termination_listener(self._lost)
        self.silent_since.pop(connection.address, None)
        if old is not None:
            old.terminate()
        self._start_ping()

    def leave_read_only_server(self) -> None:
        """Replace the connection, whose server has turned out to be read-only."""
        self._is_read_only = True
        self._reconnect.request(1, is_urgent=False)

    def tick(self) -> None:
        """Detect silence, replace the connection if needed, ping it if it is unused.

        The watchdog calls it several times per second.
        """
        now = self._loop.time()
        if self._is_silent() and self.connection is not None:
            self.silent_since.setdefault(self.connection.address, self._asked_at)
        if self.connection is None or self._needs_replacement():
            self._reconnect.request(1, is_urgent=False)
        elif not self._asked_at and now - self._answered_at > PING_INTERVAL_SECONDS:
            self._start_ping()

    def note_answer(self, address: Any, at: float) -> None:
        """Record that another connection to the address got an answer, at that loop time."""
        if at > self.silent_since.get(address, at):
            del self.silent_since[address]

    def close(self) -> None:
        self._is_closed = True
        self._reconnect.close()
        if self._ping is not None:
            self._ping.cancel()
        if self.connection is not None:
            self.connection.terminate()

    async def _fetch(self, connection: Connection, query: str, args: tuple[Any, ...]) -> list[Any]:
        self._asked_at = self._loop.time()
        try:
            rows: list[Any] = await connection.fetch(query, *args)
        except DRIVER_ERRORS as error:
            if _ends_session(error):
                connection.terminate()
                self._lost(connection)
            raise
        finally:
            asked_at, self._asked_at = self._asked_at, 0.0
        self._answered_at = self._loop.time()
        self._round_trips.append(self._answered_at - asked_at)
        self.silent_since.pop(connection.address, None)
        return rows

    def _is_silent(self) -> bool:
        limit = ANSWER_SECONDS + ANSWER_ROUND_TRIPS * self.round_trip
        return bool(self._asked_at and self._loop.time() - self._asked_at > limit)

    def _needs_replacement(self) -> bool:
        connection = self.connection
        return (
            connection is None
            or connection.is_closed()
            or self._is_read_only
            or self._is_silent()
            or self._loop.time() > connection.retire_at
        )

    def _failed(self, _error: LearnerError) -> None:
        self.attempted.set()

    def _lost(self, connection: Any) -> None:
        if connection is self.connection:
            self.connection = None
            if not self._is_closed:
                self._reconnect.request(1, is_urgent=False)

    def _start_ping(self) -> None:
        if self._ping is None or self._ping.done():
            self._ping = self._loop.create_task(self._measure_round_trip())

    async def _measure_round_trip(self) -> None:
        try:
            await self.ask("SELECT 1")
        except (*DRIVER_ERRORS, DatabaseUnavailable):
            return


def _ends_session(error: BaseException) -> bool:
    """Return True if the error ended the session rather than only the statement."""
    if not isinstance(error, asyncpg.PostgresError):
        return True
    severity = getattr(error, "severity_en", None)
    return severity in ("FATAL", "PANIC") or (error.sqlstate or "").startswith("08")
