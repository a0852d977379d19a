"""Transactions and tasks: cancellation, several tasks, tasks that outlive the block."""

import asyncio
import gc
import random
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import anyio
import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import TransactionBusy, TransactionError, TransactionFinished
from tests.database.sessions import add, keys


async def test_statements_of_tasks_are_executed_one_after_another(small_pool: DatabaseEngine):
    async with small_pool.transaction():
        await asyncio.gather(*(add(f"{number:02}") for number in range(20)))
        await asyncio.wait_for(add("waited for"), 5)
        async with asyncio.TaskGroup() as group:
            group.create_task(add("grouped"))
    assert len(await keys()) == 22


async def test_work_of_tasks_is_rolled_back_with_the_block(small_pool: DatabaseEngine):
    with pytest.raises(ZeroDivisionError):
        async with small_pool.transaction():
            await asyncio.gather(*(add(str(number)) for number in range(5)))
            raise ZeroDivisionError
    assert await keys() == []


async def test_nested_blocks_of_tasks_do_not_overlap(small_pool: DatabaseEngine):
    async def one(number: int) -> None:
        with suppress(ZeroDivisionError):
            async with small_pool.transaction():
                await add(f"{number:02}")
                await asyncio.sleep(number % 3 / 100)
                _ = 1 / (number % 2 - 1)

    async with small_pool.transaction():
        await asyncio.gather(*(one(number) for number in range(10)))
    assert await keys() == ["00", "02", "04", "06", "08"]


async def test_a_task_that_outlives_the_block_gets_an_error(small_pool: DatabaseEngine):
    over = asyncio.Event()

    async def late() -> None:
        await over.wait()
        await add("late")

    async with small_pool.transaction():
        await add("in time")
        task = asyncio.create_task(late())
    over.set()
    with pytest.raises(TransactionFinished, match="has ended"):
        await task
    assert await keys() == ["in time"]


async def test_a_nested_block_of_an_outliving_task_commits_nothing(small_pool: DatabaseEngine):
    entered = asyncio.Event()

    async def nested() -> None:
        async with small_pool.transaction():
            await add("half")
            entered.set()
            await asyncio.sleep(30)

    with pytest.raises(TransactionBusy):
        async with small_pool.transaction():
            await add("outer")
            task = asyncio.create_task(nested())
            await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await keys() == []


async def test_the_first_of_gathered_errors_ends_the_block(small_pool: DatabaseEngine):
    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise ZeroDivisionError

    async def go_on() -> None:
        for number in range(100):
            await add(f"go on {number}")

    tasks: list[asyncio.Task[None]] = []
    with pytest.raises(ZeroDivisionError):
        async with small_pool.transaction():
            tasks += [asyncio.create_task(go_on()), asyncio.create_task(fail())]
            await asyncio.gather(*tasks)
    with pytest.raises(TransactionFinished):
        await tasks[0]
    assert await keys() == []


async def test_statements_fail_after_an_early_end(small_pool: DatabaseEngine):
    async with small_pool.transaction() as transaction:
        await add("kept")
        await transaction.commit()
        with pytest.raises(TransactionFinished):
            await add("never by itself")
    assert await keys() == ["kept"]


@pytest.mark.parametrize("how", ["task", "timeout", "anyio", "anyio group"])
async def test_a_cancelled_block_is_rolled_back(small_pool: DatabaseEngine, how: str):
    async def work() -> None:
        async with small_pool.transaction():
            await add("lost")
            await small_pool.execute("SELECT pg_sleep(30)")

    for _ in range(3):
        started = asyncio.get_running_loop().time()
        if how == "task":
            task = asyncio.create_task(work())
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        elif how == "timeout":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await work()
        elif how == "anyio":
            with anyio.move_on_after(0.05) as scope:
                await work()
            assert scope.cancelled_caught
        else:
            async with anyio.create_task_group() as group:
                group.start_soon(work)
                await anyio.sleep(0.05)
                group.cancel_scope.cancel()
        assert asyncio.get_running_loop().time() - started < 2
        assert small_pool.pool is not None
        assert not small_pool.pool.in_use, "the rollback is awaited, its locks are free"
        assert not small_pool.transaction_exists()
    assert await keys() == []


async def test_a_block_cancelled_at_any_moment_is_atomic(small_pool: DatabaseEngine):
    """Cancel at random moments, during BEGIN and COMMIT as well."""
    done = []

    async def work(number: int) -> None:
        async with small_pool.transaction():
            await add(f"{number} a")
            async with small_pool.transaction():
                await add(f"{number} b")
        done.append(number)

    started = time.perf_counter()
    for number in range(10):
        await work(number)
    usual_seconds = (time.perf_counter() - started) / 10
    for number in range(10, 160):
        task = asyncio.create_task(work(number))
        await asyncio.sleep(random.random() * usual_seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    found = await keys()
    assert {int(key.split()[0]) for key in found if key.endswith("a")} == {
        int(key.split()[0]) for key in found if key.endswith("b")
    }
    assert {f"{number} {part}" for number in done for part in "ab"} <= set(found)
    assert 20 <= len(found) < 320


async def rows_in_a_transaction(engine: DatabaseEngine) -> AsyncIterator[int]:
    async with engine.transaction():
        await add("lost")
        for number in range(1000):
            yield number


async def test_a_dropped_generator_rolls_back(small_pool: DatabaseEngine):
    """Drop a generator, as the body of a streaming response whose client disconnects."""
    for _ in range(4):
        rows = rows_in_a_transaction(small_pool)
        assert await anext(rows) == 0
        del rows
        gc.collect()
        await asyncio.sleep(0.05)
        assert await keys() == [], "neither kept, nor is this task inside its transaction"
    await add("after")
    assert await keys() == ["after"]


async def test_a_generator_closed_in_another_task_rolls_back(small_pool: DatabaseEngine):
    async def leave() -> None:
        async for _ in rows_in_a_transaction(small_pool):
            return

    for _ in range(4):
        await asyncio.create_task(leave())
        gc.collect()
        await asyncio.sleep(0.05)
    assert await keys() == []


async def test_tasks_started_after_a_dropped_generator_have_no_transaction(
    small_pool: DatabaseEngine,
):
    rows = rows_in_a_transaction(small_pool)
    await anext(rows)
    del rows
    gc.collect()
    await asyncio.sleep(0.05)
    await add("mine")
    await asyncio.gather(add("child"), add("other child"))
    assert await keys() == ["child", "mine", "other child"]


@pytest.mark.parametrize("sql", ["COMMIT", "rollback", "INSERT INTO a VALUES (1); COMMIT", "BEGIN"])
async def test_statements_cannot_end_a_block(small_pool: DatabaseEngine, sql: str):
    with pytest.raises(TransactionError, match="BEGIN, COMMIT and ROLLBACK are not allowed"):
        async with small_pool.transaction():
            await add("lost")
            await small_pool.execute(sql)
    with pytest.raises(TransactionError):
        async with small_pool.transaction(), small_pool.connection() as connection:
            await connection.execute(sql)
    async with small_pool.transaction():
        await small_pool.execute("SAVEPOINT a; INSERT INTO sessions (id) VALUES ('undone')")
        await small_pool.execute("ROLLBACK TO SAVEPOINT a")
    assert await keys() == []


async def test_an_early_commit_waits_for_other_tasks(small_pool: DatabaseEngine):
    async with small_pool.transaction() as transaction:
        task = asyncio.create_task(
            small_pool.execute("INSERT INTO sessions (id) SELECT pg_sleep(0.2)::text || 'slow'")
        )
        await asyncio.sleep(0.05)
        await transaction.commit()
        await task
    assert await keys() == ["slow"]
