"""One look at the database for a probe: quick, not queued behind the pool, free of secrets."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from weakref import WeakKeyDictionary

from piccolo.engine import engine_finder

from learner_app.database.engine import DatabaseEngine
from learner_app.database.failures import DRIVER_ERRORS
from learner_app.database.pool import Pool
from learner_app.errors import DatabaseReadOnly, LearnerError, SettingsError
from learner_app.schema.pending import declared_migrations, pending_migrations

PROBE_SECONDS = 0.8
STUCK_SECONDS = 0.5
"""A full pool counts as exhausted when nothing comes back to it for so long."""

POLL_SECONDS = 0.02

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


_under_way: WeakKeyDictionary[DatabaseEngine, asyncio.Task[DatabaseHealth]] = WeakKeyDictionary()


async def check_database(engine: DatabaseEngine | None = None) -> DatabaseHealth:
    """Look at the server over a connection of its own and at the pool; ends within 0.9 s.

    The engine is that of ``piccolo_conf`` when left out.

    ``unreachable``: no connection, or refused. ``timeout``: no answer. ``read_only``: no server
    that takes writes. ``pool_exhausted``: all connections in use, none came back for half a
    second. ``migrations_pending``: the code has migrations that the database has not.

    Callers at the same time share one attempt: a flood of probes costs one connection.
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
    found = _Findings()
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await _ask(engine, found)
    except DatabaseReadOnly:
        found.answered, found.reason = True, "read_only"
    except (LearnerError, *DRIVER_ERRORS) as error:
        cause = error.__cause__ or error
        is_late = isinstance(cause, TimeoutError) or loop.time() - started > PROBE_SECONDS
        found.answered, found.reason = False, "timeout" if is_late else "unreachable"
    return found


async def _ask(engine: DatabaseEngine, found: _Findings) -> None:
    if not declared_migrations.cache_info().currsize:
        await asyncio.to_thread(declared_migrations)  # reads files and imports them
    connection = await engine.get_new_connection(PROBE_SECONDS)
    try:
        read_only = await connection.fetchval("SELECT current_setting('transaction_read_only')")
        found.pending = len(await pending_migrations(connection))
        found.answered = True
        if read_only == "on" and engine.name is None:
            found.reason = "read_only"
        elif found.pending:
            found.reason = "migrations_pending"
    finally:
        # not close(): its farewell could wait for a server that no longer answers
        connection.terminate()


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
