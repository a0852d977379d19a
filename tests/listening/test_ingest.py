"""Streams of events: a chunk is stored while the next one is read and validated."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import CommitUnknown, LockTimeout
from learner_app.listening import events as events_module
from learner_app.listening.repositories import BehavioralEventRepository
from tests.content.factories import add_contents
from tests.database.pools import reopen
from tests.listening.factories import ensure_sessions, event
from tests.listening.waiting import COUNT_LOCK_WAITS, lock_wait

events = BehavioralEventRepository()
SIZE = 150


@pytest.fixture
async def stored(clone: DatabaseEngine, monkeypatch: pytest.MonkeyPatch) -> DatabaseEngine:
    """A database with the references of the events, and small chunks."""
    monkeypatch.setattr(events_module, "MAX_EVENTS", SIZE)
    await add_contents("c1")
    await ensure_sessions("s1")
    return clone


async def numbered(first: int, last: int) -> AsyncIterator[dict[str, Any]]:
    for number in range(first, last):
        yield event(f"e{number:05}")


async def test_the_next_chunk_is_read_while_one_waits_for_a_lock(
    stored: DatabaseEngine, direct: Any
):
    read = asyncio.Event()

    async def source() -> AsyncIterator[dict[str, Any]]:
        async for one in numbered(0, 2 * SIZE):
            if one["id"] == f"e{2 * SIZE - 1:05}":
                read.set()
            yield one

    async with direct.transaction():
        await direct.execute("SELECT FROM content FOR UPDATE")
        ingesting = asyncio.create_task(events.ingest(source()))
        async with asyncio.timeout(10):
            await read.wait()
        assert not ingesting.done()
    result = await ingesting
    assert (result.recorded, await events.count()) == (2 * SIZE, 2 * SIZE)


async def test_a_failing_stream_leaves_the_chunks_before_it(stored: DatabaseEngine, direct: Any):
    async def source() -> AsyncIterator[dict[str, Any]]:
        async for one in numbered(0, SIZE + 10):
            yield one
        releasing.set()
        raise ConnectionError("the client left")

    releasing = asyncio.Event()
    async with direct.transaction():
        await direct.execute("SELECT FROM content FOR UPDATE")
        ingesting = asyncio.create_task(events.ingest(source()))
        await releasing.wait()
    with pytest.raises(ConnectionError, match="the client left"):
        await ingesting
    assert await events.count() == SIZE


async def test_the_error_of_a_chunk_is_raised_even_if_the_stream_fails_after_it(
    stored: DatabaseEngine, direct: Any
):
    async def source() -> AsyncIterator[dict[str, Any]]:
        async for one in numbered(0, SIZE + 10):
            yield one
        raise ConnectionError("the client left")

    await reopen(stored, db_lock_timeout=0.2)
    async with direct.transaction():
        await direct.execute("SELECT FROM content FOR UPDATE")
        with pytest.raises(LockTimeout):
            await events.ingest(source())
    assert await events.count() == 0


@pytest.mark.parametrize("is_reading", [True, False], ids=["reading", "storing"])
async def test_cancellation_ends_the_chunk_that_is_being_stored(
    stored: DatabaseEngine, direct: Any, is_reading: bool
):
    async def source() -> AsyncIterator[dict[str, Any]]:
        async for one in numbered(0, SIZE):
            yield one
        if is_reading:
            await asyncio.Event().wait()

    async with direct.transaction():
        await direct.execute("SELECT FROM content FOR UPDATE")
        ingesting = asyncio.create_task(events.ingest(source()))
        await lock_wait(direct)
        ingesting.cancel()
        async with asyncio.timeout(5):
            with pytest.raises(asyncio.CancelledError):
                await ingesting
        assert not await direct.fetchval(COUNT_LOCK_WAITS)
    assert await events.count() == 0
    result = await events.ingest(numbered(0, SIZE))
    assert result.recorded == SIZE, "the connections of the pool are usable"


async def test_a_stream_can_read_from_the_transaction_that_stores_it(stored: DatabaseEngine):
    await events.ingest(numbered(0, 2 * SIZE))

    async def copies(connection: Any) -> AsyncIterator[dict[str, Any]]:
        async for row in connection.cursor("SELECT id FROM behavioral_events ORDER BY id"):
            yield event(f"copy of {row['id']}")

    async with stored.transaction(), stored.connection() as connection:
        result = await events.ingest(copies(connection))
    assert result.recorded == 2 * SIZE
    assert await events.count() == 4 * SIZE


@pytest.mark.parametrize("isolation", [None, "repeatable read"])
async def test_a_source_that_reads_in_a_transaction_of_its_own_is_stored_in_it(
    stored: DatabaseEngine, isolation: str | None
):
    options = {"isolation": isolation} if isolation else {}

    async def source() -> AsyncIterator[dict[str, Any]]:
        async with stored.transaction(**options), stored.connection() as connection:
            async for record in connection.cursor(f"SELECT generate_series(1, {3 * SIZE}) AS n"):
                yield event(f"e{record['n']:05}")

    async with asyncio.timeout(20):
        result = await events.ingest(source())
    assert (result.recorded, await events.count()) == (3 * SIZE, 3 * SIZE)


async def test_a_batch_whose_commit_is_unknown_is_repeated_and_stored_once(
    stored: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
):
    """As after a failover, when the answer to COMMIT is lost and its status cannot be looked up."""
    run, calls = DatabaseEngine.run_transaction, []

    async def lose_first_answer(self: DatabaseEngine, *args: Any, **kwargs: Any) -> Any:
        result = await run(self, *args, **kwargs)
        calls.append(result)
        if len(calls) == 1:
            raise CommitUnknown("the answer to COMMIT was lost")
        return result

    monkeypatch.setattr(DatabaseEngine, "run_transaction", lose_first_answer)
    without_ids = [event("x") for _ in range(SIZE)]
    for one in without_ids:
        del one["id"]
    result = await events.record_batch(without_ids)
    assert (result.duplicates, len(result.failed), len(calls)) == (SIZE, 0, 2)
    assert await events.count() == SIZE
