"""One established connection beside the pool, which the watch and the health check question.

Opening a connection takes several round trips and a free postmaster, so that a failure to open one
in time says little about statements that are under way. An established connection answers in one
round trip as long as server and network work. It is replaced in the background when it was lost,
stays silent or has become read only; the old one is kept until the new one is there.
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

CANCEL_GRACE_SECONDS = 0.5
"""Time for an answer beyond the round trip, after which a replacement is opened."""

PATIENCE_ROUND_TRIPS = 3
PING_SECONDS = 10
"""Keeps the connection alive in firewalls, and the measured round trip up to date."""

MAX_ATTEMPTS = 2
MEASURED = 8


class Answer(NamedTuple):
    """Rows, and the connection that they came from."""

    connection: Connection
    rows: list[Any]


class Monitor:
    """Keeps its connection open from construction until :meth:`close`."""

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
        """Addresses whose established connection stopped answering, with the loop's time."""
        self._loop = asyncio.get_running_loop()
        self._lifetime = lifetime
        self._opener = ReconnectLoop(name, connect, self.adopt, self._failed, is_quiet=True)
        self.attempted = asyncio.Event()
        """Set once the first attempt to connect has come to an end."""
        self._turn = asyncio.Lock()
        self._asked_at = 0.0
        self._answered_at = 0.0
        self._is_unfit = False
        self._is_closed = False
        self._trips: deque[float] = deque(maxlen=MEASURED)
        self._ping: asyncio.Task[None] | None = None
        self._opener.want(1, is_urgent=True)

    @property
    def round_trip(self) -> float:
        """Longest time to an answer among the recent ones, in seconds."""
        return max(self._trips, default=0.0)

    @property
    def patience(self) -> float:
        """Seconds without an answer after which the connection counts as silent."""
        return CANCEL_GRACE_SECONDS + PATIENCE_ROUND_TRIPS * self.round_trip

    async def ask(self, query: str, *args: Any, address: Any = None) -> Answer:
        """Return the answer to a query, however long it takes until the connection is given up.

        Callers limit their own waiting with ``asyncio.wait`` and leave the question in place: to
        cancel it would take another connection. A question whose connection is replaced is asked
        again on the new one.

        Args:
            query: a read; it may be sent twice.
            args: its values.
            address: ask only a server at this address.

        Raises:
            DatabaseUnavailable: there is no connection, or none to that address.
            asyncpg.PostgresError: the server refused the query.
        """
        async with self._turn:
            for attempt in range(1, MAX_ATTEMPTS + 1):
                connection = self.connection
                if connection is None or address not in (None, connection.address):
                    raise DatabaseUnavailable("the monitoring connection is being opened")
                try:
                    return Answer(connection, await self._fetch(connection, query, args))
                except DRIVER_ERRORS:
                    if self.connection in (None, connection) or attempt == MAX_ATTEMPTS:
                        raise
        raise AssertionError

    def adopt(self, connection: Connection) -> None:
        """Use this connection from now on, unless the present one is in order."""
        old = self.connection
        if self._is_closed or (old is not None and not self._needs_replacement()):
            connection.terminate()
            return
        self.connection = connection
        self.attempted.set()
        self._is_unfit = False
        self._trips.clear()
        connection.retire_at = self._loop.time() + self._lifetime * random.uniform(0.9, 1)  # noqa: S311  # no secret
        connection.add_termination_listener(self._lost)
        self.silent_since.pop(connection.address, None)
        if old is not None:
            old.terminate()
        self._start_ping()

    def replace(self) -> None:
        """Open another connection, since this one leads to a server that takes no writes."""
        self._is_unfit = True
        self._opener.want(1, is_urgent=False)

    def tick(self) -> None:
        """Notice silence and age. Called several times a second."""
        now = self._loop.time()
        if self._is_silent() and self.connection is not None:
            self.silent_since.setdefault(self.connection.address, self._asked_at)
        if self.connection is None or self._needs_replacement():
            self._opener.want(1, is_urgent=False)
        elif not self._asked_at and now - self._answered_at > PING_SECONDS:
            self._start_ping()

    def heard(self, address: Any, at: float) -> None:
        """Note that another connection had an answer from that address."""
        if at > self.silent_since.get(address, at):
            del self.silent_since[address]

    def close(self) -> None:
        self._is_closed = True
        self._opener.close()
        if self._ping is not None:
            self._ping.cancel()
        if self.connection is not None:
            self.connection.terminate()

    async def _fetch(self, connection: Connection, query: str, args: tuple[Any, ...]) -> list[Any]:
        self._asked_at = self._loop.time()
        try:
            rows: list[Any] = await connection.fetch(query, *args)
        except DRIVER_ERRORS as error:
            if _is_over(error):
                connection.terminate()
                self._lost(connection)
            raise
        finally:
            asked_at, self._asked_at = self._asked_at, 0.0
        self._answered_at = self._loop.time()
        self._trips.append(self._answered_at - asked_at)
        self.silent_since.pop(connection.address, None)
        return rows

    def _is_silent(self) -> bool:
        return bool(self._asked_at and self._loop.time() - self._asked_at > self.patience)

    def _needs_replacement(self) -> bool:
        connection = self.connection
        return (
            connection is None
            or connection.is_closed()
            or self._is_unfit
            or self._is_silent()
            or self._loop.time() > connection.retire_at
        )

    def _failed(self, _error: LearnerError) -> None:
        self.attempted.set()

    def _lost(self, connection: Any) -> None:
        if connection is self.connection:
            self.connection = None
            if not self._is_closed:
                self._opener.want(1, is_urgent=False)

    def _start_ping(self) -> None:
        if self._ping is None or self._ping.done():
            self._ping = self._loop.create_task(self._measure())

    async def _measure(self) -> None:
        try:
            await self.ask("SELECT 1")
        except (*DRIVER_ERRORS, DatabaseUnavailable):
            return


def _is_over(error: BaseException) -> bool:
    """Return whether the error ended the session rather than the statement alone."""
    if not isinstance(error, asyncpg.PostgresError):
        return True
    severity = getattr(error, "severity_en", None)
    return severity in ("FATAL", "PANIC") or (error.sqlstate or "").startswith("08")
