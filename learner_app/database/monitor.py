"""Monitoring connection: one connection outside the pool for the watchdog and the health check.

Opening a connection takes several round trips and a responsive postmaster, so a failure to connect
is no evidence about the statements that are running. An established connection gets an answer in
one round trip as long as server and network work, so a missing answer is evidence. The connection
is replaced in the background when it is lost, gets no answer, is read-only or has reached its
maximum age. The old one is kept until the new one is open.
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
"""Time limit for an answer: the sum of these seconds and round trips, then it is silent."""

PING_INTERVAL_SECONDS = 10
"""Time without a query after which a ping keeps the connection open in firewalls."""

MAX_ATTEMPTS = 2
"""Attempts of a query: the second one is sent if the connection was replaced meanwhile."""
KEPT_ROUND_TRIPS = 8
"""Number of recent round trips that are remembered."""


class Answer(NamedTuple):
    """Rows of a query, and the connection on which it was executed."""

    connection: Connection
    rows: list[Any]


class Monitor:
    """Monitoring connection, kept open from construction until :meth:`close`."""

    def __init__(
        self, name: str, connect: Callable[[], Awaitable[Connection]], lifetime: float
    ) -> None:
        """
        Args:
            name: name of the target for the log, without a password.
            connect: opens one connection.
            lifetime: seconds after which the connection is replaced.
        """
        self.connection: Connection | None = None
        """The open connection, None while there is none."""
        self.silent_since: dict[Any, float] = {}
        """Loop time since which an established connection got no answer, by its address."""
        self._loop = asyncio.get_running_loop()
        self._lifetime = lifetime
        self._reconnect = ReconnectLoop(
            name, connect, self.adopt, self._connect_failed, is_quiet=True
        )
        self.attempted = asyncio.Event()
        """Set when the first attempt to connect has ended."""
        self._lock = asyncio.Lock()
        self._asked_at = 0.0
        """Loop time at which the running query was sent, 0 while there is none."""
        self._answered_at = 0.0
        """Loop time of the last answer."""
        self._is_read_only = False
        self._is_closed = False
        self._round_trips: deque[float] = deque(maxlen=KEPT_ROUND_TRIPS)
        self._ping: asyncio.Task[None] | None = None
        self._reconnect.request(1, is_urgent=True)

    @property
    def round_trip(self) -> float:
        """Longest of the recent round trips, in seconds."""
        return max(self._round_trips, default=0.0)

    async def ask(self, query: str, *args: Any, address: Any = None) -> Answer:
        """Execute a query on the monitoring connection, without a time limit.

        Callers limit their own wait with ``asyncio.wait`` and let the query continue, as asyncpg
        opens another connection to cancel one. If the connection is replaced meanwhile, the query
        is sent again on the new one.

        Args:
            query: statement that only reads, since it may be sent twice.
            args: values of its parameters.
            address: required address of the server; None for any.

        Raises:
            DatabaseUnavailable: the connection is not open, or leads to another address.
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
        raise AssertionError  # the last attempt returns or raises

    def adopt(self, connection: Connection) -> None:
        """Use a new connection, or close it if the present one needs no replacement."""
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
        connection.add_termination_listener(self._connection_lost)
        self.silent_since.pop(connection.address, None)
        if old is not None:
            old.terminate()
        self._start_ping()

    def leave_read_only_server(self) -> None:
        """Request a replacement, as the server of the connection is read-only."""
        self._is_read_only = True
        self._reconnect.request(1, is_urgent=False)

    def tick(self) -> None:
        """Detect a missing answer, replace the connection if needed, and ping an unused one.

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
        """End the silence of an address if another connection to it got a later answer.

        Args:
            address: address of the server.
            at: loop time of the answer.
        """
        if at > self.silent_since.get(address, at):
            del self.silent_since[address]

    def close(self) -> None:
        """Close the connection and open no other one."""
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
                self._connection_lost(connection)
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

    def _connect_failed(self, _error: LearnerError) -> None:
        self.attempted.set()

    def _connection_lost(self, connection: Any) -> None:
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
