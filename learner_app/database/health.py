"""Health check for probes: bounded in time, independent of the pool, free of secrets.

It sends one query on the monitoring connection, which is already open. A probe that waited for a
connection of the pool would report an outage whenever the pool is busy. A connection is opened only
if the monitoring connection was lost, or if there is no pool.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from weakref import WeakKeyDictionary

import asyncpg
from piccolo.engine import engine_finder

from learner_app.database.engine import DatabaseEngine
from learner_app.database.error_mapping import DRIVER_ERRORS
from learner_app.database.monitor import Monitor
from learner_app.database.pool import Pool
from learner_app.errors import DatabaseReadOnly, DatabaseUnavailable, LearnerError, SettingsError
from learner_app.schema.pending import declared_migrations, pending_migrations

PROBE_SECONDS = 0.8
"""Time limit for the answer of the server."""

EXHAUSTED_SECONDS = 0.5
"""Time without a checkin after which a full pool counts as exhausted."""

CONNECT_SECONDS = 0.75
"""Below PROBE_SECONDS, so that the probe can report why connecting failed."""

POLL_SECONDS = 0.02
"""Interval in which a full pool is observed."""

READ_ONLY = "SELECT current_setting('transaction_read_only')"
WITH_READ_ONLY = """
    SELECT state.read_only, migrations.*
    FROM (SELECT current_setting('transaction_read_only') AS read_only) AS state
    LEFT JOIN ({}) AS migrations ON true
"""
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

_running_checks: WeakKeyDictionary[DatabaseEngine, asyncio.Task[DatabaseHealth]] = (
    WeakKeyDictionary()
)
"""Running check of each engine, which concurrent callers share."""

_unanswered_queries: WeakKeyDictionary[DatabaseEngine, asyncio.Task[_ServerState]] = (
    WeakKeyDictionary()
)
"""Query of each engine that got no answer in time; the next check waits for it again."""


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
    task = _running_checks.get(engine)
    if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
        task = _running_checks[engine] = asyncio.create_task(_check(engine))
    return await asyncio.shield(task)


def _configured_engine() -> DatabaseEngine:
    engine = engine_finder()
    if not isinstance(engine, DatabaseEngine):
        raise SettingsError("piccolo_conf must define DB as a DatabaseEngine")
    return engine


async def _check(engine: DatabaseEngine) -> DatabaseHealth:
    started = time.perf_counter()
    pool = engine.pool
    state, is_exhausted = await asyncio.gather(_query_within_limit(engine), _is_exhausted(pool))
    if is_exhausted and state.reason in (None, "migrations_pending"):
        state.reason = "pool_exhausted"
    is_usable = state.reason in (None, "migrations_pending")
    return DatabaseHealth(
        status="ok" if state.reason is None else "warn" if is_usable else "unavailable",
        reason=state.reason,
        database="up" if state.answered else "down",
        latency_ms=round((time.perf_counter() - started) * 1000, 1),
        pool=_pool_status(pool) if pool else None,
        pending_migrations=state.pending,
        time=datetime.now(UTC),
    )


async def _query_within_limit(engine: DatabaseEngine) -> _ServerState:
    """Return the state of server and migrations within PROBE_SECONDS.

    The query continues after that: asyncpg opens a connection to cancel one, and a server that does
    not answer would get a new query with each probe.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    task = _unanswered_queries.pop(engine, None)
    if task is None or task.done() or task.get_loop() is not loop:
        task = loop.create_task(_query(engine))
        task.add_done_callback(_retrieve_exception)
    done, _ = await asyncio.wait([task], timeout=PROBE_SECONDS)
    if not done:
        _unanswered_queries[engine] = task
        return _ServerState(reason="timeout")
    try:
        return task.result()
    except DatabaseReadOnly:
        return _ServerState(answered=True, reason="read_only")
    except (LearnerError, *DRIVER_ERRORS) as error:
        cause = error.__cause__ or error
        is_late = isinstance(cause, TimeoutError) or loop.time() - started > PROBE_SECONDS
        return _ServerState(reason="timeout" if is_late else "unreachable")


def _retrieve_exception(task: asyncio.Task[_ServerState]) -> None:
    """Retrieve the error of a query that no check awaits, or asyncio would log it."""
    if not task.cancelled():
        task.exception()


async def _query(engine: DatabaseEngine) -> _ServerState:
    if not declared_migrations.cache_info().currsize:
        await asyncio.to_thread(declared_migrations)  # blocks: it reads files and imports them
    monitor = engine.connections.monitor
    if monitor is None:
        return await _query_on_new_connection(engine)
    if monitor.connection is not None:
        try:
            return await _query_on_monitor(engine, monitor)
        except (*DRIVER_ERRORS, DatabaseUnavailable):
            if monitor.connection is not None:  # the server rejected the query
                raise
    monitor.adopt(await engine.connections.connector.connect_for_monitor(CONNECT_SECONDS))
    return await _query_on_monitor(engine, monitor)


async def _query_on_monitor(engine: DatabaseEngine, monitor: Monitor) -> _ServerState:
    async def fetch(query: str) -> list[Any]:
        return (await monitor.ask(query)).rows

    state = await _read_state(engine, fetch)
    if state.reason == "read_only":
        monitor.leave_read_only_server()
    return state


async def _query_on_new_connection(engine: DatabaseEngine) -> _ServerState:
    connection = await engine.get_new_connection(CONNECT_SECONDS)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await _read_state(engine, connection.fetch)
    finally:
        connection.terminate()  # close() would wait for the server


async def _read_state(engine: DatabaseEngine, fetch: Fetch) -> _ServerState:
    """Read pending migrations and read-only mode, in one round trip if the table is readable."""
    reader = _MigrationReader(fetch)
    try:
        pending = len(await pending_migrations(reader))
    except asyncpg.InsufficientPrivilegeError:
        pending = None
    if reader.is_read_only is None:
        rows = await fetch(READ_ONLY)
        reader.is_read_only = rows[0][0] == "on"
    reason: Reason | None = "migrations_pending" if pending else None
    if reader.is_read_only and engine.name is None:  # a replica is read-only by design
        reason = "read_only"
    return _ServerState(answered=True, reason=reason, pending=pending)


class _MigrationReader:
    """Connection for :func:`pending_migrations` that adds the read-only mode to its query."""

    def __init__(self, fetch: Fetch) -> None:
        self.is_read_only: bool | None = None
        """Read-only mode of the server, None before a query has succeeded."""
        self._fetch = fetch

    async def fetch(self, query: str) -> list[Any]:
        """Execute the query of the migrations, and read the read-only mode with it."""
        rows = await self._fetch(WITH_READ_ONLY.format(query))
        self.is_read_only = rows[0]["read_only"] == "on"
        return [row for row in rows if row["app_name"] is not None]


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
