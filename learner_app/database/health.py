"""Health check for probes: bounded in time, independent of the pool, free of secrets.

It asks over the monitoring connection, which is open already, in one round trip: a probe that had
to wait for a connection of the pool would report an outage whenever the pool is busy. A connection
is opened only if the monitoring connection was lost, or if there is no pool.
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
EXHAUSTED_SECONDS = 0.5
"""Time without a checkin after which a full pool counts as exhausted."""

CONNECT_SECONDS = 0.75
"""Below PROBE_SECONDS, so that the probe can report why connecting failed."""

POLL_SECONDS = 0.02

READ_ONLY = "SELECT current_setting('transaction_read_only')"
WITH_READ_ONLY = """
    SELECT state.read_only, migrations.*
    FROM (SELECT current_setting('transaction_read_only') AS read_only) AS state
    LEFT JOIN ({}) AS migrations ON true
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
    """Duration of the check."""
    pool: PoolStatus | None
    """None without a pool."""
    pending_migrations: int | None
    """None if the server did not answer, or the role may not read the migration table."""
    time: datetime


@dataclass
class _Answer:
    """Answer of the server, or the reason why there is none."""

    answered: bool = False
    reason: Reason | None = None
    pending: int | None = None


AskQuery = Callable[[str], Awaitable[list[Any]]]

_running_checks: WeakKeyDictionary[DatabaseEngine, asyncio.Task[DatabaseHealth]] = (
    WeakKeyDictionary()
)
_unanswered_queries: WeakKeyDictionary[DatabaseEngine, asyncio.Task[_Answer]] = WeakKeyDictionary()
"""Queries that a probe stopped waiting for; the next probe waits for them, not for new ones."""


async def check_database(engine: DatabaseEngine | None = None) -> DatabaseHealth:
    """Check server, migrations and pool within 0.9 s, without writing.

    Concurrent callers share one check. The reasons:

    - ``unreachable``: no connection could be opened, or the server refused it.
    - ``timeout``: the server did not answer.
    - ``read_only``: no server accepts writes.
    - ``pool_exhausted``: all connections are in use, and none was released for half a second.
    - ``migrations_pending``: the database lacks migrations of the code.

    Args:
        engine: that of ``piccolo_conf`` if left out.

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
    answer, is_exhausted = await asyncio.gather(_ask_within_limit(engine), _is_exhausted(pool))
    if is_exhausted and answer.reason in (None, "migrations_pending"):
        answer.reason = "pool_exhausted"
    is_usable = answer.reason in (None, "migrations_pending")
    return DatabaseHealth(
        status="ok" if answer.reason is None else "warn" if is_usable else "unavailable",
        reason=answer.reason,
        database="up" if answer.answered else "down",
        latency_ms=round((time.perf_counter() - started) * 1000, 1),
        pool=_pool_status(pool) if pool else None,
        pending_migrations=answer.pending,
        time=datetime.now(UTC),
    )


async def _ask_within_limit(engine: DatabaseEngine) -> _Answer:
    """Return the server's answer within PROBE_SECONDS.

    The query goes on after that: cancelling it would take a connection, and a server that does not
    answer would get a new query with each probe.
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
        return _Answer(reason="timeout")
    try:
        return task.result()
    except DatabaseReadOnly:
        return _Answer(answered=True, reason="read_only")
    except (LearnerError, *DRIVER_ERRORS) as error:
        cause = error.__cause__ or error
        is_late = isinstance(cause, TimeoutError) or loop.time() - started > PROBE_SECONDS
        return _Answer(reason="timeout" if is_late else "unreachable")


def _retrieve_exception(task: asyncio.Task[_Answer]) -> None:
    """Retrieve an error that no probe waits for, so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()


async def _query(engine: DatabaseEngine) -> _Answer:
    if not declared_migrations.cache_info().currsize:
        await asyncio.to_thread(declared_migrations)  # reads files and imports them
    monitor = engine.connections.monitor
    if monitor is None:
        return await _ask_once(engine)
    if monitor.connection is not None:
        try:
            return await _ask_monitor(engine, monitor)
        except (*DRIVER_ERRORS, DatabaseUnavailable):
            if monitor.connection is not None:  # the server rejected the query
                raise
    monitor.adopt(await engine.connections.connector.connect_for_monitor(CONNECT_SECONDS))
    return await _ask_monitor(engine, monitor)


async def _ask_monitor(engine: DatabaseEngine, monitor: Monitor) -> _Answer:
    async def ask(query: str) -> list[Any]:
        return (await monitor.ask(query)).rows

    answer = await _ask(engine, ask)
    if answer.reason == "read_only":
        monitor.leave_read_only_server()
    return answer


async def _ask_once(engine: DatabaseEngine) -> _Answer:
    connection = await engine.get_new_connection(CONNECT_SECONDS)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await _ask(engine, connection.fetch)
    finally:
        # not close(), which waits for the server
        connection.terminate()


async def _ask(engine: DatabaseEngine, ask: AskQuery) -> _Answer:
    """Ask for pending migrations and read-only mode, in one round trip."""
    reader = _MigrationReader(ask)
    try:
        pending = len(await pending_migrations(reader))
    except asyncpg.InsufficientPrivilegeError:
        pending = None
    if reader.is_read_only is None:
        rows = await ask(READ_ONLY)
        reader.is_read_only = rows[0][0] == "on"
    if reader.is_read_only and engine.name is None:
        return _Answer(answered=True, reason="read_only", pending=pending)
    return _Answer(answered=True, reason="migrations_pending" if pending else None, pending=pending)


class _MigrationReader:
    """Connection for :func:`pending_migrations` that adds the read-only mode to its query."""

    def __init__(self, ask: AskQuery) -> None:
        self.is_read_only: bool | None = None
        self._ask = ask

    async def fetch(self, query: str) -> list[Any]:
        rows = await self._ask(WITH_READ_ONLY.format(query))
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
