"""Fixtures for the tests of ``learner_app.database``."""

from collections.abc import AsyncIterator

import pytest

from learner_app.database.engine import DatabaseEngine
from tests.database.pools import reopen


@pytest.fixture
async def small_pool(clone: DatabaseEngine) -> AsyncIterator[DatabaseEngine]:
    """Engine with two connections and an acquire timeout of 0.3 s."""
    yield await reopen(clone, db_pool_max=2, db_acquire_timeout=0.3)
    assert clone.pool is not None
    assert not clone.pool.in_use, "a connection was not released"
