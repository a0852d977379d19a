"""Pool in an outage: callers that wait while the server is unreachable and after its return."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from learner_app.database.connection import Connection
from learner_app.database.engine import DatabaseEngine
from learner_app.database.pool import Pool
from learner_app.errors import DatabaseUnavailable, PoolExhausted
from learner_app.settings import Settings


class Line:
    """Network to a real server: up or down, with a delay of the next and of later connections."""

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


@pytest.mark.slow
async def test_a_caller_goes_on_waiting_when_the_outage_ends(pool: Pool, line: Line):
    """The first connection goes to another caller, the second one takes longer than a second."""
    await enter_outage(pool, line)
    callers = [asyncio.create_task(pool.acquire()) for _ in range(2)]
    await asyncio.sleep(0.3)
    line.later_seconds = 1.2
    line.is_up = True
    first, second = await asyncio.gather(*callers)
    assert first is not second
    assert pool.outage is None


@pytest.mark.slow
async def test_a_caller_waits_one_second_in_an_outage(pool: Pool, line: Line):
    await enter_outage(pool, line)
    loop = asyncio.get_running_loop()
    started = loop.time()
    callers = [pool.acquire() for _ in range(5)]
    found = await asyncio.gather(*callers, return_exceptions=True)
    assert 0.9 < loop.time() - started < 2
    assert {(type(error), str(error)) for error in found} == {
        (DatabaseUnavailable, "the line is down")
    }


@pytest.mark.slow
async def test_the_second_begins_with_the_outage(pool: Pool, line: Line):
    """One failed attempt does not end the wait of a caller that has waited for longer."""
    held = [await pool.acquire() for _ in range(pool.max_size)]
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


@pytest.mark.slow
async def test_slow_connecting_is_not_reported_as_an_exhausted_pool(pool: Pool, line: Line):
    held = await pool.acquire()
    line.seconds = line.later_seconds = 10
    with pytest.raises(DatabaseUnavailable, match="could be opened within 3 s, 1 of 10") as caught:
        await pool.acquire()
    assert not isinstance(caught.value, PoolExhausted)
    pool.release(held)


@pytest.mark.slow
async def test_too_many_connections_on_the_server_is_the_reported_reason(pool: Pool, line: Line):
    held = await pool.acquire()

    async def refuse() -> Connection:
        raise DatabaseUnavailable("too many connections", sqlstate="53300")

    pool._reconnect._connect = refuse
    with pytest.raises(DatabaseUnavailable, match="too many connections"):
        await pool.acquire()
    pool.release(held)


@pytest.mark.slow
async def test_a_full_pool_is_exhausted(pool: Pool):
    held = [await pool.acquire() for _ in range(pool.max_size)]
    with pytest.raises(PoolExhausted, match="became free within 3 s, 10 of 10 are in use"):
        await pool.acquire()
    for connection in held:
        pool.release(connection)
