"""Callbacks of ``after_commit``."""

import asyncio

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import MissingReference, TransactionRequired
from tests.database.sessions import add, keys


async def test_callbacks_run_once_after_the_outermost_commit(small_pool: DatabaseEngine):
    told: list[object] = []

    async def tell() -> None:
        told.append(await keys())

    async with small_pool.transaction():
        small_pool.after_commit(tell)
        async with small_pool.transaction():
            await add("inner")
            small_pool.after_commit(lambda: told.append("inner"))
        assert told == []
    assert told == [["inner"], "inner"]


async def test_callbacks_are_dropped_on_rollback(small_pool: DatabaseEngine):
    told: list[str] = []
    async with small_pool.transaction():
        with pytest.raises(ZeroDivisionError):
            async with small_pool.transaction():
                small_pool.after_commit(lambda: told.append("inner"))
                raise ZeroDivisionError
        small_pool.after_commit(lambda: told.append("outer"))
    assert told == ["outer"]
    with pytest.raises(ZeroDivisionError):
        async with small_pool.transaction():
            small_pool.after_commit(lambda: told.append("never"))
            raise ZeroDivisionError
    async with small_pool.transaction() as transaction:
        small_pool.after_commit(lambda: told.append("never"))
        await transaction.rollback()
    assert told == ["outer"]


async def test_callbacks_are_dropped_when_the_commit_fails(small_pool: DatabaseEngine):
    await small_pool.execute(
        "CREATE TABLE part (whole text REFERENCES sessions (id) DEFERRABLE INITIALLY DEFERRED)"
    )
    told: list[str] = []
    with pytest.raises(MissingReference):
        async with small_pool.transaction():
            small_pool.after_commit(lambda: told.append("never"))
            await small_pool.execute("INSERT INTO part VALUES ('missing')")
    assert told == []


async def test_errors_of_callbacks_are_logged_and_do_not_undo_the_commit(
    small_pool: DatabaseEngine, caplog
):
    told: list[str] = []

    def fail() -> None:
        raise ZeroDivisionError

    async with small_pool.transaction():
        await add("kept")
        small_pool.after_commit(fail)
        small_pool.after_commit(lambda: told.append("next"))
    assert await keys() == ["kept"]
    assert told == ["next"]
    assert "the transaction is committed" in caplog.text


async def test_callbacks_run_although_the_caller_is_cancelled_during_the_commit(
    small_pool: DatabaseEngine,
):
    told: list[int] = []
    for number in range(60):

        async def work(number: int = number) -> None:
            async with small_pool.transaction():
                await add(f"{number:02}")
                small_pool.after_commit(lambda: told.append(number))

        task = asyncio.create_task(work())
        await asyncio.sleep(number / 30_000)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [int(key) for key in await keys()] == told


async def test_after_commit_requires_a_transaction(small_pool: DatabaseEngine):
    with pytest.raises(TransactionRequired, match=r"inside `async with DB.transaction\(\):`"):
        small_pool.after_commit(lambda: None)


async def test_a_cancelled_callback_does_not_look_like_a_cancelled_commit(
    small_pool: DatabaseEngine, caplog
):
    told: list[str] = []

    async def give_up() -> None:
        raise asyncio.CancelledError

    async with small_pool.transaction():
        small_pool.after_commit(give_up)
        small_pool.after_commit(lambda: told.append("next"))
    assert told == ["next"]
    assert "the transaction is committed" in caplog.text
