"""Bounded connection pool: last in first out, validated on checkout, waiters served in order.

Why not asyncpg's pool: it sends a reset query each time a connection is released, and its callers
wait without limit. This pool resets a connection only if session state was left, passes it to the
next waiter in the same step of the event loop, and checks on checkout that the server has not
closed it.

Last in first out: a few connections do most of the work, so that their prepared statements stay
cached, and the others are idle long enough to be closed.

Validation on checkout has three levels, from cheap to expensive. A closed or outdated connection is
closed. One with unread input (usually the FATAL message of a server that stops), or one that was
idle for 5 s, is pinged. Meanwhile the caller waits in the queue, so that it gets another connection
if one becomes free earlier. If the ping fails, all idle connections are closed, since they were
idle even longer.

In an outage (see :class:`ReconnectLoop`) a caller waits one second instead of DB_ACQUIRE_TIMEOUT:
a service that answers 503 quickly recovers soon after the outage, one with ten seconds of queued
requests does not.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from learner_app.database.checkout import Checkout, locate_caller
from learner_app.database.connection import Connection
from learner_app.database.error_mapping import DRIVER_ERRORS
from learner_app.database.reconnect import ReconnectLoop, copy_exception
from learner_app.database.shared_timer import SharedTimer
from learner_app.errors import (
    DatabaseError,
    DatabaseUnavailable,
    LearnerError,
    PoolExhausted,
    PoolNotStarted,
)
from learner_app.settings import Settings

log = logging.getLogger(__name__)

PING_AFTER_SECONDS = 5
"""Idle time after which a connection is pinged before it is checked out."""

CANCEL_SECONDS = 2
"""Time limit for cancelling a statement that is still running when its connection is released."""

OUTAGE_SECONDS = 1
"""Time that a caller waits for a connection in an outage."""

OUTDATED = -1
"""Generation of a connection whose server was restarted after it was opened."""

POOL_CLOSED = "the connection pool was closed: send statements only inside `DB.running()`"


class Pool:
    """Connection pool of one engine, bound to the event loop in which it is created."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[Connection]],
        settings: Settings,
        *,
        needs_primary: bool = False,
    ) -> None:
        """Start without connections, which :meth:`acquire` and :meth:`prune` open.

        Args:
            name: name of the target for the log, without a password.
            connect: opens one connection.
            settings: pool sizes and time limits.
            needs_primary: close idle connections to a server that has become read-only.
        """
        self.loop = asyncio.get_running_loop()
        self.min_size = settings.db_pool_min
        self.max_size = settings.db_pool_max
        self.in_use: dict[Connection, Checkout | None] = {}
        """Connections that are checked out, with the code that did it.

        None for a single statement: its task shows the code, see ``checkout.locate_task``.
        """
        self.checkins = 0
        """Number of times that a connection became available, new connections included."""
        self.orphans: dict[Connection, float] = {}
        """Connections that broke in use, with the loop time; their sessions may still hold locks.

        The watchdog terminates these sessions on the server.
        """
        self._settings = settings
        self._needs_primary = needs_primary
        self._idle: list[Connection] = []
        self._waiters: dict[asyncio.Future[Connection], tuple[float, Checkout | None]] = {}
        """Waiting callers, the oldest first: loop time since which one waits, and its code."""
        self._wait_timer = SharedTimer(settings.db_acquire_timeout, self._end_waits)
        self._command_timer = SharedTimer(settings.db_command_timeout, self._end_statements)
        self._validating: dict[Connection, asyncio.Task[None]] = {}
        """Connections that are being pinged or reset."""
        self._reconnect = ReconnectLoop(name, connect, self._add, self._connect_failed)
        self._generation = 0
        """Number of calls of :meth:`expire`."""
        self._server_starts: dict[Any, Any] = {}
        """Start time of each server as the newest connection shows it; a restart changes it."""
        self.is_closing = False

    @property
    def size(self) -> int:
        """Number of open connections."""
        return len(self._idle) + len(self.in_use) + len(self._validating)

    @property
    def idle(self) -> int:
        """Number of connections that are not in use."""
        return len(self._idle)

    @property
    def waiting(self) -> int:
        """Number of callers that wait for a connection."""
        return len(self._waiters)

    @property
    def outage(self) -> LearnerError | None:
        """Error of the last attempt if it did not reach the server, else None."""
        return self._reconnect.outage

    async def acquire(self) -> Connection:
        """Check out a connection for exclusive use until :meth:`release`.

        Raises:
            PoolExhausted: none became free within DB_ACQUIRE_TIMEOUT.
            DatabaseUnavailable, DatabaseRefused: no new connection could be opened.
            PoolNotStarted: the pool was closed.
        """
        checkout = locate_caller()
        return self.take(checkout) or await self.wait(checkout)

    def take(self, checkout: Checkout | None = None) -> Connection | None:
        """Check out an idle connection, None if the caller has to wait for one.

        Args:
            checkout: the code that needs the connection, None for a single statement.
        """
        if not self._idle or self.is_closing:
            return None
        connection = self._take_idle()
        if connection is not None:
            self.in_use[connection] = checkout
        return connection

    async def wait(self, checkout: Checkout | None = None) -> Connection:
        """Wait for a connection, with the argument of :meth:`take`, the errors of ``acquire()``."""
        if self.is_closing:
            raise PoolNotStarted(POOL_CLOSED)
        since = self.loop.time()
        waiter: asyncio.Future[Connection] = self.loop.create_future()
        self._waiters[waiter] = since, checkout
        if not self._wait_timer.is_set:
            self._wait_timer.set(since)
        if self._reconnect.failing_since and self._server_unreachable():
            self._limit_in_outage(waiter, since)
        if self.size < self.max_size:
            self.replenish()
        try:
            return await waiter
        except asyncio.CancelledError:
            # a connection may have been assigned in the same step as the cancellation
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.release(waiter.result())
            raise
        finally:
            self._waiters.pop(waiter, None)

    def release(self, connection: Connection) -> None:
        """Return a connection in any state to the pool.

        A second call does nothing. A clean connection is available immediately. If a statement has
        to be cancelled, a transaction rolled back or the session reset, a task does that, and the
        connection is available after it; the caller does not wait.
        """
        try:
            del self.in_use[connection]
        except KeyError:
            return
        if connection.is_managed:
            connection.leave_block()
        now = self.loop.time()
        is_usable = not (self.is_closing or self._is_outdated(connection, now))
        if is_usable and connection.is_clean():
            self._check_in(connection, now)
            return
        connection.sent_at = 0.0
        if connection.is_closed() or connection.is_invalidated or not is_usable:
            self._discard(connection)
        elif connection.is_running:  # a statement of a task that the caller did not await
            connection.cancel_operations()
            self._validate_later(connection, _reset_when_idle(connection))
        else:
            self._validate_later(connection, connection.reset())

    def expire(self) -> None:
        """Replace all connections: idle ones now, the others when they are released."""
        self._generation += 1
        self.drop_idle()

    def drop_idle(self) -> None:
        """Close the idle connections, after a sign that they are broken or outdated."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.terminate()
        self.replenish()

    def open_connections(self) -> list[Connection]:
        """Return the idle connections and those in use, without those being pinged or reset."""
        return [*self._idle, *self.in_use]

    def terminate(self, connection: Connection) -> None:
        """Close a connection immediately, even if a statement is running on it."""
        if connection in self._idle:
            self._idle.remove(connection)
        connection.terminate()
        self.replenish()

    def clear_statement_cache(self) -> None:
        """Make asyncpg prepare all statements again, after a change of tables or types."""
        for connection in self.open_connections():
            connection.clear_statement_cache()

    def prune(self) -> None:
        """Close idle connections that are broken, outdated or not needed, then replenish."""
        now = self.loop.time()
        spare = self.size - self.min_size
        kept = []
        for connection in self._idle:  # beginning with the one that was idle for the longest time
            is_spare = spare > 0 and now - connection.idle_since > self._settings.db_pool_idle
            is_demoted = self._needs_primary and connection.is_read_only()
            if (
                is_spare
                or is_demoted
                or connection.is_closed()
                or self._is_outdated(connection, now)
            ):
                spare -= 1
                connection.terminate()
            else:
                kept.append(connection)
        self._idle = kept
        self.replenish()

    def replenish(self) -> None:
        """Request connections for the waiters and up to the minimum size."""
        if self.is_closing:
            return
        missing = max(len(self._waiters) - len(self._validating), self.min_size - self.size)
        count = min(missing, self.max_size - self.size)
        self._reconnect.request(count, is_urgent=bool(self._waiters))

    async def close(self, seconds: float) -> None:
        """Close all connections, immediately if cancelled.

        Args:
            seconds: time to wait for the release of connections in use.
        """
        self.is_closing = True
        self._reconnect.close()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(PoolNotStarted(POOL_CLOSED))
        deadline = self.loop.time() + seconds
        try:
            while (self.in_use or self._validating) and self.loop.time() < deadline:
                await asyncio.sleep(0.01)
        finally:
            self._terminate_all()
        await asyncio.sleep(0)  # asyncpg calls listeners and query loggers in the next step

    def _terminate_all(self) -> None:
        for task in self._validating.values():
            task.cancel()
        for connection in (*self._idle, *self.in_use, *self._validating):
            connection.terminate()
        self._idle.clear()
        self._wait_timer.cancel()
        self._command_timer.cancel()

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            now = self.loop.time()
            if connection.is_closed() or self._is_outdated(connection, now):
                connection.terminate()
            elif connection.has_unread() or now - connection.idle_since > PING_AFTER_SECONDS:
                self._validate_later(connection, self._ping(connection))
                return None
            else:
                connection.acquired_at = now
                return connection
        return None

    def _check_in(self, connection: Connection, now: float) -> None:
        """Pass a valid connection to the first waiter, or make it idle."""
        self.checkins += 1
        connection.is_unconfirmed = False
        while self._waiters:
            waiter = next(iter(self._waiters))
            _, checkout = self._waiters.pop(waiter)
            if not waiter.done():
                connection.acquired_at = now
                self.in_use[connection] = checkout
                waiter.set_result(connection)
                return
        connection.idle_since = now
        self._idle.append(connection)

    def _discard(self, connection: Connection) -> None:
        is_broken = connection.is_closed() or connection.is_invalidated or connection.is_busy()
        if is_broken and connection.backend is not None:
            self.orphans[connection] = self.loop.time()
        connection.terminate()
        self.replenish()

    def _validate_later(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        self._validating[connection] = self.loop.create_task(self._validate(connection, work))

    async def _validate(self, connection: Connection, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            connection.is_invalidated = True
            if not isinstance(error, (DatabaseError, *DRIVER_ERRORS)):
                log.exception("a connection could not be reset because of a defect")
        finally:
            self._validating.pop(connection, None)
        if connection.is_invalidated or connection.is_closed() or self.is_closing:
            self._discard(connection)
        else:
            self._check_in(connection, self.loop.time())

    async def _ping(self, connection: Connection) -> None:
        try:
            await connection.ping()
        except Exception:
            self.drop_idle()  # the others were idle even longer
            raise

    def _add(self, connection: Connection) -> None:
        """Add a new connection, and close the idle ones if the server was restarted before it."""
        if self.is_closing or self.size >= self.max_size:
            connection.terminate()
            return
        self._mark_restarted(connection)
        connection.generation = self._generation
        connection.command_timer = self._command_timer
        now = self.loop.time()
        # random, as connections that were opened together would be replaced together
        lifetime = self._settings.db_pool_age * random.uniform(0.9, 1)  # noqa: S311  # no secret
        connection.retire_at = now + lifetime
        self._check_in(connection, now)
        self.replenish()

    def _mark_restarted(self, new: Connection) -> None:
        """Mark the connections to the server as outdated if it was restarted before the new one."""
        server, started = new.server
        if self._server_starts.get(server, started) != started:
            self.drop_idle()
            for connection in (*self.in_use, *self._validating):
                if connection.server[0] == server and connection.server[1] != started:
                    connection.generation = OUTDATED
        self._server_starts[server] = started

    def _connect_failed(self, error: LearnerError) -> None:
        for waiter, (since, _) in self._waiters.items():
            if isinstance(error, DatabaseUnavailable):
                self._limit_in_outage(waiter, since)
            elif not waiter.done():  # the server refused, for example the password
                waiter.set_exception(copy_exception(error))

    def _limit_in_outage(self, waiter: asyncio.Future[Connection], since: float) -> None:
        """Limit the caller's wait during an outage to one second.

        The second begins with the outage or with the wait, whichever is later. If the outage ends
        within it, the caller continues to wait, up to DB_ACQUIRE_TIMEOUT.
        """
        begin = max(since, self._reconnect.failing_since)
        self.loop.call_at(begin + OUTAGE_SECONDS, self._give_up_in_outage, waiter)

    def _give_up_in_outage(self, waiter: asyncio.Future[Connection]) -> None:
        if self._server_unreachable():
            self._give_up(waiter)

    def _server_unreachable(self) -> bool:
        """Return True if the last attempt failed, or no attempt is answered and nothing is in use.

        A connection in use is evidence that the server is slow rather than unreachable.
        """
        return bool(self.outage or (self._reconnect.is_silent and not self.in_use))

    def _end_waits(self, began_before: float) -> float | None:
        """End the waits that exceed DB_ACQUIRE_TIMEOUT, see :class:`SharedTimer`."""
        for waiter, (since, _) in self._waiters.items():
            if since > began_before:
                return since
            self._give_up(waiter)
        return None

    def _end_statements(self, sent_before: float) -> float | None:
        """Cancel the statements that exceed DB_COMMAND_TIMEOUT, see :class:`SharedTimer`."""
        oldest: float | None = None
        for operations in [connection.operations for connection in self.in_use]:
            since = operations.limited_since
            if operations.limited is None:
                continue
            if since <= sent_before:
                operations.cancel_limited()
            elif oldest is None or since < oldest:
                oldest = since
        return oldest

    def _give_up(self, waiter: asyncio.Future[Connection]) -> None:
        if not waiter.done():
            waiter.set_exception(self._acquire_error())

    def _acquire_error(self) -> LearnerError:
        """Return the reason why a caller gets no connection."""
        error = self._reconnect.last_error
        is_full = len(self.in_use) >= self.max_size
        if error is not None and (self.outage or not is_full):
            return copy_exception(error)
        if self._reconnect.is_silent and not self.in_use:
            return DatabaseUnavailable("the server does not answer")
        seconds = self._settings.db_acquire_timeout
        used = f"{len(self.in_use)} of {self.max_size} are in use"
        if is_full:
            return PoolExhausted(f"no connection became free within {seconds:g} s, {used}")
        return DatabaseUnavailable(f"no connection could be opened within {seconds:g} s, {used}")

    def _is_outdated(self, connection: Connection, now: float) -> bool:
        """Return True after :meth:`expire`, its lifetime, or a restart of its server."""
        return connection.generation != self._generation or now > connection.retire_at


async def _reset_when_idle(connection: Connection) -> None:
    async with asyncio.timeout(CANCEL_SECONDS):
        await connection.operations.wait_until_idle()
    await connection.reset()
