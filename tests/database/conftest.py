"""Helpers and fixtures of the database tests."""

from collections.abc import AsyncIterator

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.listening.tables import ListeningSessionTable


async def add(key: str) -> None:
    await ListeningSessionTable.insert(ListeningSessionTable(id=key))


async def keys() -> list[str]:
    rows = await ListeningSessionTable.select(ListeningSessionTable.id).order_by(
        ListeningSessionTable.id
    )
    return [row["id"] for row in rows]


async def reopen(engine: DatabaseEngine, **settings: object) -> DatabaseEngine:
    """Open the pool again with other settings."""
    await engine.close_connection_pool()
    for name, value in settings.items():
        setattr(engine.settings, name, value)
    engine._connector = None
    await engine.start_connection_pool()
    return engine


@pytest.fixture
async def small_pool(clone: DatabaseEngine) -> AsyncIterator[DatabaseEngine]:
    """Pool of two connections with an acquire timeout of 0.3 s."""
    yield await reopen(clone, db_pool_max=2, db_acquire_timeout=0.3)
    assert clone.pool is not None
    assert not clone.pool.in_use, "a connection was not released"
