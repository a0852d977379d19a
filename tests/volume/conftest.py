"""A database with a million events, filled once a run by ``ingest`` itself."""

from collections.abc import AsyncIterator

import pytest

from learner_app.conf import DB
from learner_app.listening.repositories import BehavioralEventRepository
from learner_app.testing.servers import TestServer
from tests.memory import memory_in_use
from tests.volume.million import FILL, Million, source


@pytest.fixture(scope="session")
async def _million(main_server: TestServer, learner_template: str) -> AsyncIterator[Million]:
    name = await main_server.create(learner_template)
    DB.url = main_server.url(name)
    memory: list[int] = []
    async with DB.running():
        async with DB.connection() as connection:
            await connection.execute(FILL)
        events = source(lambda: memory.append(memory_in_use()))
        result = await BehavioralEventRepository().ingest(events)
        await DB.execute("VACUUM ANALYZE")
    DB.url = None
    yield Million(main_server.url(name), result, memory)
    await main_server.drop(name)


@pytest.fixture
async def million(_million: Million) -> AsyncIterator[Million]:
    """With the pool open."""
    DB.url = _million.url
    async with DB.running():
        yield _million
    DB.url = None
