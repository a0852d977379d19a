"""One look at the database for a probe: quick, not queued behind the pool, free of secrets."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from weakref import WeakKeyDictionary

import asyncpg

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import LearnerError
from learner_app.schema.pending import pending_migrations

PROBE_SECONDS = 0.8


@dataclass(frozen=True)
class PoolNumbers:
    """Connections of this process: open, of them unused, in use, and the bounds."""

    size: int
    idle: int
    in_use: int
    min: int
    max: int


@dataclass(frozen=True)
class DatabaseHealth:
    """What a probe learns; ``pending_migrations`` is None when the database did not answer."""

    status: Literal["ok", "unavailable"]
    database: Literal["up", "down"]
    latency_ms: float
    pool: PoolNumbers | None
    pending_migrations: int | None
    time: datetime


_under_way: WeakKeyDictionary[DatabaseEngine, asyncio.Task[DatabaseHealth]] = WeakKeyDictionary()


async def check_database(engine: DatabaseEngine) -> DatabaseHealth:
    """One attempt over a connection of its own, ended after 0.8 s.

    Callers at the same time share one attempt: a flood of probes costs one connection.
    """
    task = _under_way.get(engine)
    if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
        task = _under_way[engine] = asyncio.create_task(_check(engine))
    return await asyncio.shield(task)


async def _check(engine: DatabaseEngine) -> DatabaseHealth:
    started = time.perf_counter()
    pending: int | None
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            pending = await _ask(engine)
    except (LearnerError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        pending = None
    answered = pending is not None
    return DatabaseHealth(
        status="ok" if answered else "unavailable",
        database="up" if answered else "down",
        latency_ms=round((time.perf_counter() - started) * 1000, 1),
        pool=_pool_numbers(engine),
        pending_migrations=pending,
        time=datetime.now(UTC),
    )


async def _ask(engine: DatabaseEngine) -> int:
    connection = await engine.get_new_connection()
    try:
        await connection.execute("SELECT 1")
        return len(await pending_migrations(connection))
    finally:
        # not close(): its farewell could wait for a server that no longer answers
        connection.terminate()


def _pool_numbers(engine: DatabaseEngine) -> PoolNumbers | None:
    pool = engine.pool
    if pool is None:
        return None
    size, idle = pool.get_size(), pool.get_idle_size()
    return PoolNumbers(size, idle, size - idle, pool.get_min_size(), pool.get_max_size())
