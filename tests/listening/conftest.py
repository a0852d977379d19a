"""Fixtures of the tests of listening."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from learner_app.database.engine import DatabaseEngine
from tests.content.factories import add_contents
from tests.listening.factories import ensure_sessions


@pytest.fixture
async def references(db: DatabaseEngine) -> None:
    """Contents and sessions that events and likes refer to: c1 and c2, s1 and s2."""
    await add_contents("c1", "c2")
    await ensure_sessions("s1", "s2")


@pytest.fixture
async def direct(clone: DatabaseEngine) -> AsyncIterator[Any]:
    """Yield a connection that does not belong to the engine."""
    connection = await asyncpg.connect(clone.url)
    yield connection
    await connection.close()
