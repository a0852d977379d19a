"""Health check for probes: bounded in time, independent of the pool, free of secrets.

It sends one query on the monitoring connection, which is already open. A probe that waited for a
connection of the pool would report an outage whenever the pool is busy. Without a pool the first
check opens a connection, which is kept for the next ones. Another one is opened if it was lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from weakref import WeakKeyDictionary

import asyncpg
from piccolo.engine import engine_finder

from learner_app.database.connection import Connection
from learner_app.database.connector import Connector
from learner_app.database.engine import DatabaseEngine
from learner_app.database.error_mapping import DRIVER_ERRORS
from learner_app.database.monitor import Monitor
from learner_app.database.pool import Pool
from learner_app.errors import DatabaseReadOnly, DatabaseUnavailable, LearnerError, SettingsError
from learner_app.schema.pending import APPLIED, count_pending, declared_migrations

PROBE_SECONDS = 0.8
"""Time limit for the answer of the server."""

EXHAUSTED_SECONDS = 0.5
"""Time without a checkin after which a full pool counts as exhausted."""

CONNECT_SECONDS = 0.75
"""Below PROBE_SECONDS, so that the probe can report why connecting failed."""

KEPT_ANSWER_SECONDS = 0.4
"""Time limit for the answer on a kept connection, which a network may have dropped silently."""

KEEP_SECONDS = 60.0
"""Time without a check after which a kept connection is closed."""

POLL_SECONDS = 0.02
"""Interval in which a full pool is observed."""

READ_ONLY = "SELECT current_setting('transaction_read_only')"
STATE = f"""
    SELECT state.read_only, migrations.*
    FROM (SELECT current_setting('transaction_read_only') AS read_only) AS state
    LEFT JOIN ({APPLIED}) AS migrations ON true
"""  # noqa: S608  # a query of this package
"""Query of the migrations together with the read-only mode, for one round trip.

The join returns one row even if no migration is recorded.
"""

Reason = Literal["unreachable", "pool_exhausted", "read_only", "timeout", "migrations_pending"]


@dataclass(frozen=True)
class PoolStatus:
    """Numbers of connections in this process, waiting callers, and limits of the pool."""

    size: int
    idle: int
    in_use: int
    waiting: int
    min: int
    max: int


@dataclass(frozen=True)
class DatabaseHealth:
    """Result of a database health check."""

    status: Literal["ok", "warn", "unavailable"]
    """``warn``: the database is usable, but needs attention."""
    reason: Reason | None
    """Cause of a status other than ``ok``."""
    database: Literal["up", "down"]
    """``up`` if the server answered, even if the application cannot use it."""
    latency_ms: float
    """Duration of the check in milliseconds."""
    pool: PoolStatus | None
    """None without a pool."""
    pending_migrations: int | None
    """None if the server did not answer, or the role may not read the migration table."""
    time: datetime
    """End of the check, in UTC."""


@dataclass
class _ServerState:
    """State of server and migrations, see :class:`DatabaseHealth` for the fields."""

    answered: bool = False
    reason: Reason | None = None
    pending: int | None = None


Fetch = Callable[[str], Awaitable[list[Any]]]
"""Function that executes a query and returns its records."""


async def check_database(engine: DatabaseEngine | None = None) -> DatabaseHealth:
    """Check server, migrations and pool within 0.9 s, without writing.

    Concurrent callers share one check. The reasons:

    - ``unreachable``: no connection could be opened, or the server refused it.
    - ``timeout``: the server did not answer.
    - ``read_only``: no server accepts writes.
    - ``pool_exhausted``: all connections are in use, and none was released for half a second.
    - ``migrations_pending``: the database lacks migrations of the code.

    Args:
        engine: engine of ``piccolo_conf`` if left out.

    Raises:
        SettingsError: ``piccolo_conf`` has no engine of this package.
    """
    engine = engine or _configured_engine()
    loop = asyncio.get_running_loop()
    probe = _probes.get(engine)
    if probe is None or probe.loop is not loop:
        probe = _probes[engine] = _Probe(loop)
    return await asyncio.shield(probe.running_check(engine))


def _configured_engine() -> DatabaseEngine:
    engine = engine_finder()
    if not isinstance(engine, DatabaseEngine):
        raise SettingsError("piccolo_conf must define DB as a DatabaseEngine")
    return engine


class _KeptConnection:
    """Connection of the checks of an engine without a pool, open between the checks.

    It is closed after KEEP_SECONDS without a check, and when the event loop ends.
    """

    def __init__(self) -> None:
        self._connection: Connection | None = None
        self._connector: Connector | None = None
        """Connector of the connection; another one means other settings or another target."""
        self._expires_at = 0.0
        """Loop time at which the connection has reached its maximum age."""
        self._last_used_at = 0.0
        self._expiry: asyncio.Task[None] | None = None

    async def read_state(self, engine: DatabaseEngine) -> _ServerState:
        """Query the server on the kept connection, or on a new one that is kept afterwards."""
        loop = asyncio.get_running_loop()
        self._last_used_at = loop.time()
        connection = self._usable(engine.connections.connector)
        if connection is not None:
            limit = loop.call_later(KEPT_ANSWER_SECONDS, connection.terminate)
            try:
                return self._checked(await _read_state(engine, connection.fetch))
            except DRIVER_ERRORS:
                if not connection.is_closed():  # the server rejected the query
                    raise
            finally:
                limit.cancel()
        return await self._read_on_new_connection(engine)

    def close(self) -> None:
        """Close the connection if there is one."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = None
        if self._connection is not None:
            self._connection.terminate()  # close() would wait for the server
        self._connection = None

    def _usable(self, connector: Connector) -> Connection | None:
        connection = self._connection
        if connection is None:
            return None
        is_old = self._last_used_at > self._expires_at
        if connection.is_closed() or connector is not self._connector or is_old:
            self.close()
        return self._connection

    def _checked(self, state: _ServerState) -> _ServerState:
        """Return the state, after closing a connection to a server that became read-only.

        The next check connects anew and finds the primary.
        """
        if state.reason == "read_only":
            self.close()
        return state

    async def _read_on_new_connection(self, engine: DatabaseEngine) -> _ServerState:
        self.close()
        connector = engine.connections.connector
        connection = await engine.get_new_connection(CONNECT_SECONDS)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                state = await _read_state(engine, connection.fetch)
        except BaseException:
            connection.terminate()
            raise
        loop = asyncio.get_running_loop()
        self._connection, self._connector = connection, connector
        self._expires_at = loop.time() + engine.settings.db_pool_age
        # A task, because asyncio.run() cancels it at its end, and so closes the connection.
        self._expiry = loop.create_task(self._close_unused(connection))
        return self._checked(state)

    async def _close_unused(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        try:
            while (left := self._last_used_at + KEEP_SECONDS - loop.time()) > 0:
                await asyncio.sleep(left)
        finally:
            connection.terminate()


class _Probe:
    """Checks of one engine in one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._running: asyncio.Task[DatabaseHealth] | None = None
        """Running check, which concurrent callers share."""
        self._unanswered: asyncio.Task[_ServerState] | None = None
        """Query that got no answer in time; the next check waits for it again."""
        self._kept = _KeptConnection()

    def running_check(self, engine: DatabaseEngine) -> asyncio.Task[DatabaseHealth]:
        """Return the running check, or start one."""
        if self._running is None or self._running.done():
            self._running = self.loop.create_task(self._check(engine))
        return self._running

    async def _check(self, engine: DatabaseEngine) -> DatabaseHealth:
        started = self.loop.time()
        pool, query = engine.pool, self._start_query(engine)
        is_exhausted = await _is_exhausted(pool)  # while the query runs
        state = await self._result_within_limit(query, started)
        if is_exhausted and state.reason in (None, "migrations_pending"):
            state.reason = "pool_exhausted"
        is_usable = state.reason in (None, "migrations_pending")
        return DatabaseHealth(
            status="ok" if state.reason is None else "warn" if is_usable else "unavailable",
            reason=state.reason,
            database="up" if state.answered else "down",
            latency_ms=round((self.loop.time() - started) * 1000, 1),
            pool=_pool_status(pool) if pool else None,
            pending_migrations=state.pending,
            time=datetime.now(UTC),
        )

    def _start_query(self, engine: DatabaseEngine) -> asyncio.Task[_ServerState]:
        """Return the query that got no answer so far, or send one.

        A server that does not answer would otherwise get a new query with each probe.
        """
        task, self._unanswered = self._unanswered, None
        if task is None or task.done():
            task = self.loop.create_task(self._query(engine))
            task.add_done_callback(_retrieve_exception)
        return task

    async def _result_within_limit(
        self, query: asyncio.Task[_ServerState], started: float
    ) -> _ServerState:
        """Return the state of server and migrations within PROBE_SECONDS.

        The query continues after that, because asyncpg opens a connection to cancel one.
        """
        left = started + PROBE_SECONDS - self.loop.time()
        await asyncio.wait([query], timeout=left)
        if not query.done():
            self._unanswered = query
            return _ServerState(reason="timeout")
        try:
            return query.result()
        except DatabaseReadOnly:
            return _ServerState(answered=True, reason="read_only")
        except (LearnerError, *DRIVER_ERRORS) as error:
            cause = error.__cause__ or error
            is_late = self.loop.time() - started > PROBE_SECONDS
            is_timeout = is_late or isinstance(cause, TimeoutError)
            return _ServerState(reason="timeout" if is_timeout else "unreachable")

    async def _query(self, engine: DatabaseEngine) -> _ServerState:
        if not declared_migrations.cache_info().currsize:
            await asyncio.to_thread(declared_migrations)  # blocks: it reads files and imports them
        monitor = engine.connections.monitor
        if monitor is None:
            return await self._kept.read_state(engine)
        self._kept.close()
        if monitor.connection is not None:
            try:
                return await _read_state_on_monitor(engine, monitor)
            except (*DRIVER_ERRORS, DatabaseUnavailable):
                if monitor.connection is not None:  # the server rejected the query
                    raise
        monitor.adopt(await engine.connections.connector.connect_for_monitor(CONNECT_SECONDS))
        return await _read_state_on_monitor(engine, monitor)


_probes: WeakKeyDictionary[DatabaseEngine, _Probe] = WeakKeyDictionary()


def _retrieve_exception(task: asyncio.Task[_ServerState]) -> None:
    """Retrieve the error of a query that no check awaits, or asyncio would log it."""
    if not task.cancelled():
        task.exception()


async def _read_state_on_monitor(engine: DatabaseEngine, monitor: Monitor) -> _ServerState:
    async def fetch(query: str) -> list[Any]:
        return (await monitor.ask(query)).rows

    state = await _read_state(engine, fetch)
    if state.reason == "read_only":
        monitor.leave_read_only_server()
    return state


async def _read_state(engine: DatabaseEngine, fetch: Fetch) -> _ServerState:
    """Read pending migrations and read-only mode, in one round trip if the table is readable."""
    pending: int | None = None
    try:
        rows = await fetch(STATE)
    except (asyncpg.UndefinedTableError, asyncpg.InsufficientPrivilegeError) as error:
        if isinstance(error, asyncpg.UndefinedTableError):
            pending = count_pending(frozenset())
        rows = await fetch(READ_ONLY)
    else:
        recorded = frozenset((app, name) for _, app, name, _ in rows if app is not None)
        pending = count_pending(recorded)
    reason: Reason | None = "migrations_pending" if pending else None
    if rows[0][0] == "on" and engine.name is None:  # a replica is read-only by design
        reason = "read_only"
    return _ServerState(answered=True, reason=reason, pending=pending)


async def _is_exhausted(pool: Pool | None) -> bool:
    """Return True if the pool is full and no connection is released for EXHAUSTED_SECONDS."""
    if pool is None:
        return False
    checkins, polls = pool.checkins, int(EXHAUSTED_SECONDS / POLL_SECONDS)
    for _ in range(polls):
        if len(pool.in_use) < pool.max_size or pool.checkins != checkins:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


def _pool_status(pool: Pool) -> PoolStatus:
    return PoolStatus(
        size=pool.size,
        idle=pool.idle,
        in_use=len(pool.in_use),
        waiting=pool.waiting,
        min=pool.min_size,
        max=pool.max_size,
    )
