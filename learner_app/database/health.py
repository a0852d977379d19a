"""One look at the database for a probe: quick, not queued behind the pool, free of secrets."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

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


async def check_database(engine: DatabaseEngine) -> DatabaseHealth:
    """One attempt over a connection of its own, ended after 0.8 s; never raises."""
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
