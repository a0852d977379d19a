"""The connection pool: last in first out, bounded, and suspicious of what it lends.

asyncpg's own pool resets every connection it gets back and waits for ever when it is empty. This
one resets only where something was left in the session, hands a connection over at once, looks
whether the server has hung up before it lends, and drops all connections once the server was
restarted.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from learner_app.database.checkout import Checkout, record_checkout
from learner_app.database.connection import Connection
from learner_app.database.mending import check, mend
from learner_app.database.reconnect import ReconnectLoop, again
from learner_app.errors import DatabaseUnavailable, LearnerError, PoolExhausted, PoolNotStarted
from learner_app.settings import Settings

CHECK_AFTER_SECONDS = 5
"""A connection that was unused for longer answers a SELECT before it is lent."""

CANCEL_SECONDS = 2
"""How long the server has to cancel a statement that was still running when its block ended."""

OUTAGE_SECONDS = 1
"""How long a request waits for a server that is known to be away."""


class Pool:
    """Lends connections of one engine; belongs to the event loop it was made in."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[Connection]],
        settings: Settings,
        *,
        needs_primary: bool = False,
    ) -> None:
        """For the target of that name, which ``connect`` opens connections to.

        ``needs_primary``: leave a server that reports to have become read only.
        """
        self.loop = asyncio.get_running_loop()
        self.min = settings.db_pool_min
        self.max = settings.db_pool_max
        self.held: dict[Connection, Checkout] = {}
        self.turnover = 0
        """How many connections became free so far."""
        self.orphans: dict[Connection, float] = {}
        """Connections that broke in use, and when: their sessions may still hold locks."""
        self._settings = settings
        self._needs_primary = needs_primary
        self._idle: list[Connection] = []
        self._waiters: dict[asyncio.Future[Connection], Checkout] = {}
        self._mending: dict[Connection, asyncio.Task[None]] = {}
        self._opener = ReconnectLoop(name, connect, self._add, self._connecting_failed)
        self._generation = 0
        self._started: dict[Any, Any] = {}
        self.is_closing = False

    @property
    def size(self) -> int:
        """Connections that are open."""
        return len(self._idle) + len(self.held) + len(self._mending)

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Callers that wait for a connection."""
        return len(self._waiters)

    @property
    def outage(self) -> LearnerError | None:
        """Why the server cannot be reached at present, as far as the pool had to know."""
        return self._opener.outage

    async def acquire(self) -> Connection:
        """A connection for the caller alone, until :meth:`release`.

        Raises:
            PoolExhausted: none became free within DB_ACQUIRE_TIMEOUT.
            DatabaseUnavailable, DatabaseRefused: a new one was needed and could not be had.
        """
        if self.is_closing:
            raise PoolNotStarted("the connection pool was closed")
        hold = record_checkout(self.loop.time())
        connection = self._take_idle()
        if connection is None:
            return await self._wait(hold)
        self.held[connection] = hold
        return connection

    def release(self, connection: Connection) -> None:
        """Take a connection back in whatever state it is; a second time does nothing."""
        if self.held.pop(connection, None) is None:
            return
        connection.sent_at = 0.0
        connection.leave_block()
        if (
            connection.is_closed()
            or connection.is_invalidated
            or self.is_closing
            or self._is_old(connection)
        ):
            self._discard(connection)
        elif connection.is_running:  # for a task that the holder left behind
            connection.cancel_operations()
            self._set_aside(connection, _mend_when_idle(connection))
        elif connection.has_session_state or connection.is_busy():
            self._set_aside(connection, mend(connection))
        else:
            self._deliver(connection)

    def expire(self) -> None:
        """Replace all connections: the unused at once, the others when they come back."""
        self._generation += 1
        self.drop_idle()

    def drop_idle(self) -> None:
        """Close the unused connections, since there is reason to think that they are dead."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.terminate()
        self.stir()

    def open_connections(self) -> list[Connection]:
        return [*self._idle, *self.held]

    def cut(self, connection: Connection) -> None:
        """Close a connection whoever has it; a statement under way on it fails."""
        if connection in self._idle:
            self._idle.remove(connection)
        connection.terminate()
        self.stir()

    def clear_statement_cache(self) -> None:
        """Have all statements prepared anew, since a table or type was altered."""
        for connection in (*self._idle, *self.held):
            connection.clear_statement_cache()

    def tidy(self) -> None:
        """Close what is dead, old or not needed, and open up to the minimum."""
        now = self.loop.time()
        spare = self.size - self.min
        kept = []
        for connection in self._idle:  # the longest unused first
            unused = spare > 0 and now - connection.idle_since > self._settings.db_pool_idle
            is_left = self._needs_primary and connection.is_read_only()
            if unused or is_left or connection.is_closed() or self._is_old(connection):
                spare -= 1
                connection.terminate()
            else:
                kept.append(connection)
        self._idle = kept
        self.stir()

    def stir(self) -> None:
        """Have as many connections opened as are waited for, or missing to the minimum."""
        if self.is_closing:
            return
        wanted = max(len(self._waiters) - len(self._mending), self.min - self.size)
        is_urgent = bool(self._waiters)
        self._opener.want(min(wanted, self.max - self.size), is_urgent=is_urgent)

    async def close(self, seconds: float) -> None:
        """Close all connections, at once when cancelled.

        Args:
            seconds: how long connections in use have to come back before they are closed.
        """
        self.is_closing = True
        self._opener.close()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(PoolNotStarted("the connection pool was closed"))
        deadline = self.loop.time() + seconds
        try:
            while (self.held or self._mending) and self.loop.time() < deadline:
                await asyncio.sleep(0.01)
        finally:
            self._cut_all()
        await asyncio.sleep(0)  # so that what listens to them hears of their last statements

    def _cut_all(self) -> None:
        for task in self._mending.values():
            task.cancel()
        for connection in (*self._idle, *self.held, *self._mending):
            connection.terminate()
        self._idle.clear()

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_closed() or self._is_old(connection):
                connection.terminate()
            elif connection.has_unread() or self._unused(connection) > CHECK_AFTER_SECONDS:
                self._set_aside(connection, self._check(connection))
                return None
            else:
                return connection
        return None

    async def _wait(self, hold: Checkout) -> Connection:
        waiter: asyncio.Future[Connection] = self.loop.create_future()
        self._waiters[waiter] = hold
        timer = self.loop.call_later(self._settings.db_acquire_timeout, self._give_up, waiter)
        if self._is_cut_off():
            self._limit_in_outage(waiter, hold)
        self.stir()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.release(waiter.result())
            raise
        finally:
            timer.cancel()
            self._waiters.pop(waiter, None)

    def _deliver(self, connection: Connection) -> None:
        self.turnover += 1
        connection.is_unconfirmed = False
        while self._waiters:
            waiter = next(iter(self._waiters))
            hold = self._waiters.pop(waiter)
            if not waiter.done():
                self.held[connection] = hold._replace(since=self.loop.time())
                waiter.set_result(connection)
                return
        connection.idle_since = self.loop.time()
        self._idle.append(connection)

    def _discard(self, connection: Connection) -> None:
        is_broken = connection.is_closed() or connection.is_invalidated or connection.is_busy()
        if is_broken and connection.session is not None:
            self.orphans[connection] = self.loop.time()
        connection.terminate()
        self.stir()

    def _set_aside(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        self._mending[connection] = self.loop.create_task(self._after(connection, work))

    async def _after(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001  # whatever it was, the connection is not lent again
            connection.is_invalidated = True
        finally:
            self._mending.pop(connection, None)
        if connection.is_invalidated or connection.is_closed() or self.is_closing:
            self._discard(connection)
        else:
            self._deliver(connection)

    async def _check(self, connection: Connection) -> None:
        try:
            await check(connection)
        except Exception:
            self.drop_idle()  # they were unused for even longer
            raise

    def _add(self, connection: Connection) -> None:
        if self.is_closing or self.size >= self.max:
            connection.terminate()
            return
        server, started = connection.server
        if self._started.get(server, started) != started:
            self.drop_idle()  # it was restarted, so that all older connections to it are dead
        self._started[server] = started
        connection.generation = self._generation
        lifetime = self._settings.db_pool_age * random.uniform(0.9, 1)  # noqa: S311  # no secret
        connection.retire_at = self.loop.time() + lifetime
        self._deliver(connection)
        self.stir()

    def _connecting_failed(self, error: LearnerError) -> None:
        for waiter, hold in self._waiters.items():
            if isinstance(error, DatabaseUnavailable):
                self._limit_in_outage(waiter, hold)
            elif not waiter.done():
                waiter.set_exception(again(error))

    def _limit_in_outage(self, waiter: asyncio.Future[Connection], hold: Checkout) -> None:
        """Let the caller wait a second of the outage at most; if it ends sooner, without limit."""
        since = max(hold.since, self._opener.failing_since)
        self.loop.call_at(since + OUTAGE_SECONDS, self._give_up_in_outage, waiter)

    def _give_up_in_outage(self, waiter: asyncio.Future[Connection]) -> None:
        if self._is_cut_off():
            self._give_up(waiter)

    def _is_cut_off(self) -> bool:
        """Whether the server is away, or silent to somebody who has no connection at all."""
        return bool(self.outage or (self._opener.is_silent and not self.held))

    def _give_up(self, waiter: asyncio.Future[Connection]) -> None:
        if not waiter.done():
            waiter.set_exception(self._reason_without_connection())

    def _reason_without_connection(self) -> LearnerError:
        obstacle = self._opener.obstacle
        if obstacle is not None and (self.outage or len(self.held) < self.max):
            return again(obstacle)
        if self._opener.is_silent and not self.held:
            return DatabaseUnavailable("the server does not answer")
        seconds, used = self._settings.db_acquire_timeout, f"{len(self.held)} of {self.max}"
        if len(self.held) < self.max:
            return DatabaseUnavailable(
                f"no connection could be opened within {seconds:g} s, {used} are in use"
            )
        return PoolExhausted(f"no connection became free within {seconds:g} s, {used} are in use")

    def _is_old(self, connection: Connection) -> bool:
        server, started = connection.server
        return bool(
            connection.generation != self._generation
            or self.loop.time() > connection.retire_at
            or self._started[server] != started
        )

    def _unused(self, connection: Connection) -> float:
        seconds: float = self.loop.time() - connection.idle_since
        return seconds


async def _mend_when_idle(connection: Connection) -> None:
    async with asyncio.timeout(CANCEL_SECONDS):
        await connection.until_idle()
    await mend(connection)
