"""Transactions and savepoints, which always release their connection."""

import asyncio

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import (
    Conflict,
    ConnectionLost,
    MissingReference,
    PoolExhausted,
    TransactionError,
    TransactionRolledBack,
)
from tests.database.sessions import add, keys


async def test_a_block_is_committed_or_rolled_back(clone: DatabaseEngine):
    async with clone.transaction():
        await add("kept")
    with pytest.raises(RuntimeError, match="first"):
        async with clone.transaction():
            await add("lost")
            raise RuntimeError("first")
    assert await keys() == ["kept"]


async def test_a_nested_block_is_a_savepoint(clone: DatabaseEngine):
    async with clone.transaction():
        await add("outer")
        with pytest.raises(Conflict):
            async with clone.transaction():
                await add("inner")
                await add("outer")
        async with clone.transaction():
            await add("second")
            with pytest.raises(ZeroDivisionError):
                async with clone.transaction():
                    await add("deep")
                    raise ZeroDivisionError
    assert await keys() == ["outer", "second"]


async def test_a_block_that_must_not_be_nested_is_an_error_of_the_package(clone: DatabaseEngine):
    async with clone.transaction(allow_nested=False):
        with pytest.raises(TransactionError, match="allow_nested"):
            clone.transaction(allow_nested=False)
        await add("outer")
    assert await keys() == ["outer"]


async def test_commit_answered_with_rollback_is_an_error(clone: DatabaseEngine):
    with pytest.raises(TransactionRolledBack):
        async with clone.transaction():
            await add("lost")
            with pytest.raises(Conflict):
                await add("lost")
    assert await keys() == []


async def test_failing_commits_lose_no_connection(small_pool: DatabaseEngine):
    await small_pool.run_ddl(
        "CREATE TABLE part (whole text REFERENCES sessions (id) DEFERRABLE INITIALLY DEFERRED)"
    )
    for _ in range(5):
        with pytest.raises(MissingReference):
            async with small_pool.transaction():
                await small_pool.run_ddl("INSERT INTO part VALUES ('missing')")
        assert not small_pool.transaction_exists()
    async with small_pool.transaction():
        await add("still working")
    assert await keys() == ["still working"]


async def test_terminated_session_loses_no_connection(small_pool: DatabaseEngine):
    for _ in range(3):
        with pytest.raises(ConnectionLost):
            async with small_pool.transaction():
                await add("lost")
                await small_pool.run_ddl("SELECT pg_terminate_backend(pg_backend_pid())")
    assert await keys() == []


async def test_a_cancelled_transaction_releases_its_connection(small_pool: DatabaseEngine):
    for _ in range(4):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), small_pool.transaction():
                await add("lost")
                await small_pool.run_ddl("SELECT pg_sleep(10)")
    assert await keys() == []


async def test_an_exhausted_pool_raises_within_the_timeout(small_pool: DatabaseEngine):
    async with small_pool.transaction():
        other = await small_pool.connections.acquire()
        loop = asyncio.get_running_loop()
        started = loop.time()
        with pytest.raises(PoolExhausted, match=r"within 0\.3 s"):
            await small_pool.connections.acquire()
        assert loop.time() - started < 2
        await small_pool.connections.release(other)


async def test_early_commit_and_rollback_of_nested_blocks(clone: DatabaseEngine):
    with pytest.raises(RuntimeError):
        async with clone.transaction():
            await add("outer")
            async with clone.transaction() as nested:
                await add("inner")
                await nested.commit()
            raise RuntimeError
    assert await keys() == []
    async with clone.transaction():
        await add("outer")
        async with clone.transaction() as nested:
            await add("inner")
            await nested.rollback()
        await add("after")
    assert await keys() == ["after", "outer"]


async def test_an_error_caught_in_a_nested_block_leaves_the_outer_usable(clone: DatabaseEngine):
    async with clone.transaction():
        await add("outer")
        with pytest.raises(TransactionRolledBack, match="nested"):
            async with clone.transaction():
                with pytest.raises(Conflict):
                    await add("outer")
        await add("after")
    assert await keys() == ["after", "outer"]


@pytest.mark.slow
async def test_cancelled_query_without_a_pool_closes_its_connection(clone: DatabaseEngine):
    engine = DatabaseEngine(clone.url, needs_pool=False)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await engine.run_ddl("SELECT pg_sleep(10)", in_pool=False)
    async with asyncio.timeout(10):
        while await clone.fetch(
            "SELECT FROM pg_stat_activity WHERE query LIKE '%sleep(10)' AND pid <> pg_backend_pid()"
            " AND datname = current_database()"
        ):
            await asyncio.sleep(0.05)
