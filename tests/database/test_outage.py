"""Callers that wait for a connection while the server goes away and comes back."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from learner_app.database.connection import Connection
from learner_app.database.engine import DatabaseEngine
from learner_app.database.pool import Pool
from learner_app.errors import DatabaseUnavailable, PoolExhausted
from learner_app.settings import Settings


class Line:
    """Real connections while it is up: the next one after ``seconds``, then ``later_seconds``."""

    def __init__(self, engine: DatabaseEngine) -> None:
        self.is_up = True
        self.seconds = 0.0
        self.later_seconds = 0.0
        self._engine = engine

    async def connect(self) -> Connection:
        if not self.is_up:
            raise DatabaseUnavailable("the line is down")
        seconds, self.seconds = self.seconds, self.later_seconds
        await asyncio.sleep(seconds)
        return await self._engine.connections.connector.connect_for_pool()


@pytest.fixture
async def line(clone: DatabaseEngine) -> Line:
    return Line(clone)


@pytest.fixture
async def pool(line: Line) -> AsyncIterator[Pool]:
    settings = Settings(db_pool_min=1, db_pool_max=10, db_acquire_timeout=3)
    pool = Pool("line", line.connect, settings)
    yield pool
    await pool.close(0)


async def enter_outage(pool: Pool, line: Line) -> None:
    line.is_up = False
    with pytest.raises(DatabaseUnavailable):
        await pool.acquire()
    assert pool.outage is not None


async def test_a_caller_whose_outage_ends_waits_on_for_its_connection(pool: Pool, line: Line):
    """The first connection goes to another caller, the second one takes longer than a second."""
    await enter_outage(pool, line)
    callers = [asyncio.create_task(pool.acquire()) for _ in range(2)]
    await asyncio.sleep(0.3)
    line.later_seconds = 1.2
    line.is_up = True
    first, second = await asyncio.gather(*callers)
    assert first is not second
    assert pool.outage is None


async def test_an_outage_that_lasts_ends_the_wait_after_a_second(pool: Pool, line: Line):
    await enter_outage(pool, line)
    loop = asyncio.get_running_loop()
    started = loop.time()
    callers = [pool.acquire() for _ in range(5)]
    found = await asyncio.gather(*callers, return_exceptions=True)
    assert 0.9 < loop.time() - started < 2
    assert {(type(error), str(error)) for error in found} == {
        (DatabaseUnavailable, "the line is down")
    }


async def test_a_caller_has_a_second_of_the_outage_however_long_it_waited(pool: Pool, line: Line):
    """A single failed attempt is no reason to give up on those who waited for longer."""
    held = [await pool.acquire() for _ in range(pool.max)]
    caller = asyncio.create_task(pool.acquire())
    await asyncio.sleep(1.2)
    line.is_up = False
    broken = held.pop()
    broken.terminate()  # and a new one cannot be had
    pool.release(broken)
    await asyncio.sleep(0.2)
    assert pool.outage is not None
    assert not caller.done()
    pool.release(held.pop(0))
    assert await caller
    for connection in held:
        pool.release(connection)


async def test_connections_that_open_too_slowly_are_no_exhausted_pool(pool: Pool, line: Line):
    held = await pool.acquire()
    line.seconds = line.later_seconds = 10
    with pytest.raises(DatabaseUnavailable, match="could be opened within 3 s, 1 of 10") as caught:
        await pool.acquire()
    assert not isinstance(caught.value, PoolExhausted)
    pool.release(held)


async def test_a_server_without_room_is_the_reason(pool: Pool, line: Line):
    held = await pool.acquire()

    async def refuse() -> Connection:
        raise DatabaseUnavailable("too many connections", sqlstate="53300")

    pool._opener._connect = refuse
    with pytest.raises(DatabaseUnavailable, match="too many connections"):
        await pool.acquire()
    pool.release(held)


async def test_a_full_pool_is_exhausted(pool: Pool):
    held = [await pool.acquire() for _ in range(pool.max)]
    with pytest.raises(PoolExhausted, match="became free within 3 s, 10 of 10 are in use"):
        await pool.acquire()
    for connection in held:
        pool.release(connection)
