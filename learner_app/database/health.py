"""Health check for probes: bounded in time, independent of the pool, without secrets.

The question goes over the monitoring connection, which is open already: one round trip. A probe
opens a connection of its own only where that one was lost, or where there is no pool.
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
STUCK_SECONDS = 0.5
"""A full pool counts as exhausted when nothing comes back to it for so long."""

CONNECT_SECONDS = 0.75
"""A new connection has to be there before the probe gives up, to tell why it is not."""

POLL_SECONDS = 0.02

READ_ONLY = "SELECT current_setting('transaction_read_only')"
WITH_READ_ONLY = """
    SELECT state.read_only, journal.*
    FROM (SELECT current_setting('transaction_read_only') AS read_only) AS state
    LEFT JOIN ({}) AS journal ON true
"""

Reason = Literal["unreachable", "pool_exhausted", "read_only", "timeout", "migrations_pending"]


@dataclass(frozen=True)
class PoolNumbers:
    """Connections of this process: open, unused, in use, callers waiting, and the bounds."""

    size: int
    idle: int
    in_use: int
    waiting: int
    min: int
    max: int


@dataclass(frozen=True)
class DatabaseHealth:
    """What a probe learns."""

    status: Literal["ok", "warn", "unavailable"]
    """``warn`` is a database that can be used although something should be done about it."""
    reason: Reason | None
    """Why it is not ``ok``."""
    database: Literal["up", "down"]
    """Whether the server answered, be the application able to use it or not."""
    latency_ms: float
    pool: PoolNumbers | None
    pending_migrations: int | None
    """None when the database did not answer."""
    time: datetime


@dataclass
class _Findings:
    answered: bool = False
    reason: Reason | None = None
    pending: int | None = None


Ask = Callable[[str], Awaitable[list[Any]]]

_under_way: WeakKeyDictionary[DatabaseEngine, asyncio.Task[DatabaseHealth]] = WeakKeyDictionary()
_unanswered: WeakKeyDictionary[DatabaseEngine, asyncio.Task[_Findings]] = WeakKeyDictionary()
"""Questions that a probe gave up waiting for; the next one goes on waiting instead of asking."""


async def check_database(engine: DatabaseEngine | None = None) -> DatabaseHealth:
    """Question the server and look at the pool; ends within 0.9 s and writes nothing.

    The engine is that of ``piccolo_conf`` when left out.

    ``unreachable``: no connection, or refused. ``timeout``: no answer. ``read_only``: no server
    that takes writes. ``pool_exhausted``: all connections in use, none came back for half a
    second. ``migrations_pending``: the code has migrations that the database has not.

    Concurrent callers share one attempt.
    """
    engine = engine or _configured_engine()
    task = _under_way.get(engine)
    if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
        task = _under_way[engine] = asyncio.create_task(_check(engine))
    return await asyncio.shield(task)


def _configured_engine() -> DatabaseEngine:
    engine = engine_finder()
    if not isinstance(engine, DatabaseEngine):
        raise SettingsError("piccolo_conf names no DatabaseEngine as DB")
    return engine


async def _check(engine: DatabaseEngine) -> DatabaseHealth:
    started = time.perf_counter()
    pool = engine.pool
    found, is_stuck = await asyncio.gather(_look(engine), _is_stuck(pool))
    if is_stuck and found.reason in (None, "migrations_pending"):
        found.reason = "pool_exhausted"
    works = found.reason in (None, "migrations_pending")
    return DatabaseHealth(
        status="ok" if found.reason is None else "warn" if works else "unavailable",
        reason=found.reason,
        database="up" if found.answered else "down",
        latency_ms=round((time.perf_counter() - started) * 1000, 1),
        pool=_numbers(pool) if pool else None,
        pending_migrations=found.pending,
        time=datetime.now(UTC),
    )


async def _look(engine: DatabaseEngine) -> _Findings:
    """Wait for an answer within the time of a probe; the question itself is not cancelled."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    task = _unanswered.pop(engine, None)
    if task is None or task.done() or task.get_loop() is not loop:
        task = loop.create_task(_question(engine))
        task.add_done_callback(_forget)
    done, _ = await asyncio.wait([task], timeout=PROBE_SECONDS)
    if not done:
        _unanswered[engine] = task
        return _Findings(reason="timeout")
    try:
        return task.result()
    except DatabaseReadOnly:
        return _Findings(answered=True, reason="read_only")
    except (LearnerError, *DRIVER_ERRORS) as error:
        cause = error.__cause__ or error
        is_late = isinstance(cause, TimeoutError) or loop.time() - started > PROBE_SECONDS
        return _Findings(reason="timeout" if is_late else "unreachable")


def _forget(task: asyncio.Task[_Findings]) -> None:
    """Take note of an error that no probe waits for any more, lest asyncio logs it."""
    if not task.cancelled():
        task.exception()


async def _question(engine: DatabaseEngine) -> _Findings:
    if not declared_migrations.cache_info().currsize:
        await asyncio.to_thread(declared_migrations)  # reads files and imports them
    monitor = engine.connections.monitor
    if monitor is None:
        return await _ask_once(engine)
    if monitor.connection is not None:
        try:
            return await _ask_monitor(engine, monitor)
        except (*DRIVER_ERRORS, DatabaseUnavailable):
            if monitor.connection is not None:  # the server refused the question
                raise
    monitor.adopt(await engine.connections.connector.connect_for_monitor(CONNECT_SECONDS))
    return await _ask_monitor(engine, monitor)


async def _ask_monitor(engine: DatabaseEngine, monitor: Monitor) -> _Findings:
    async def ask(query: str) -> list[Any]:
        return (await monitor.ask(query)).rows

    found = await _ask(engine, ask)
    if found.reason == "read_only":
        monitor.replace()
    return found


async def _ask_once(engine: DatabaseEngine) -> _Findings:
    connection = await engine.get_new_connection(CONNECT_SECONDS)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await _ask(engine, connection.fetch)
    finally:
        # not close(): its farewell could wait for a server that no longer answers
        connection.terminate()


async def _ask(engine: DatabaseEngine, ask: Ask) -> _Findings:
    """Ask for the state of the server in the round trip that reads the migration journal."""
    question = _Question(ask)
    try:
        pending = len(await pending_migrations(question))
    except asyncpg.InsufficientPrivilegeError:  # the journal is for another role
        pending = None
    if question.is_read_only is None:
        rows = await ask(READ_ONLY)
        question.is_read_only = rows[0][0] == "on"
    if question.is_read_only and engine.name is None:
        return _Findings(answered=True, reason="read_only", pending=pending)
    return _Findings(
        answered=True, reason="migrations_pending" if pending else None, pending=pending
    )


class _Question:
    """A connection as :func:`pending_migrations` needs one, which adds its own column."""

    def __init__(self, ask: Ask) -> None:
        self.is_read_only: bool | None = None
        self._ask = ask

    async def fetch(self, query: str) -> list[Any]:
        rows = await self._ask(WITH_READ_ONLY.format(query))
        self.is_read_only = rows[0]["read_only"] == "on"
        return [row for row in rows if row["app_name"] is not None]


async def _is_stuck(pool: Pool | None) -> bool:
    """Whether the pool is full and stays so."""
    if pool is None:
        return False
    turnover, polls = pool.turnover, int(STUCK_SECONDS / POLL_SECONDS)
    for _ in range(polls):
        if len(pool.held) < pool.max or pool.turnover != turnover:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True


def _numbers(pool: Pool) -> PoolNumbers:
    return PoolNumbers(pool.size, pool.idle, len(pool.held), pool.waiting, pool.min, pool.max)
