"""Retried transactions and writes, and commits with an unknown outcome, which are not retried."""

import asyncio
from contextvars import Context

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import (
    CommitUnknown,
    Conflict,
    DeadlockDetected,
    InvalidValue,
    SerializationFailure,
    TransactionError,
    TransactionRolledBack,
)
from tests.database.pools import reopen
from tests.database.sessions import add, keys


@pytest.fixture
async def counter(clone: DatabaseEngine) -> DatabaseEngine:
    await clone.execute("CREATE TABLE counter (id int PRIMARY KEY, n int NOT NULL)")
    await clone.execute("INSERT INTO counter SELECT i, 0 FROM generate_series(1, 2) AS i")
    return clone


async def increase(engine: DatabaseEngine, number: int = 1) -> None:
    found = await engine.fetchval("SELECT n FROM counter WHERE id = $1", number)
    await engine.execute("UPDATE counter SET n = $2 WHERE id = $1", number, found + 1)


async def test_serialization_failures_are_retried(counter: DatabaseEngine):
    runs = 0

    async def unit() -> int:
        nonlocal runs
        runs += 1
        await increase(counter)
        return runs

    tasks = (counter.run_transaction(unit, isolation="serializable") for _ in range(20))
    await asyncio.gather(*tasks)
    assert await counter.fetchval("SELECT n FROM counter WHERE id = 1") == 20
    assert runs > 20, "without a conflict this shows nothing"


async def test_failures_at_commit_are_retried(counter: DatabaseEngine):
    """Write skew: a transaction fails at its COMMIT, or at a read before it."""
    await counter.execute("CREATE TABLE on_call (name text PRIMARY KEY, is_on bool)")
    await counter.execute("INSERT INTO on_call VALUES ('a', true), ('b', true)")
    met, runs = asyncio.Barrier(2), 0

    async def leave(name: str) -> bool:
        nonlocal runs
        runs += 1
        others = await counter.fetchval("SELECT count(*) FROM on_call WHERE is_on")
        if runs <= 2:
            await met.wait()
        if others < 2:
            return False
        await counter.execute("UPDATE on_call SET is_on = false WHERE name = $1", name)
        if runs <= 2:
            await met.wait()
        return True

    left = await asyncio.gather(
        *(
            counter.run_transaction(lambda name=name: leave(name), isolation="serializable")
            for name in "ab"
        )
    )
    assert sorted(left) == [False, True]
    assert runs == 3
    assert await counter.fetchval("SELECT count(*) FROM on_call WHERE is_on") == 1


async def test_deadlocks_are_retried(counter: DatabaseEngine):
    met, runs = asyncio.Barrier(2), 0

    async def unit(first: int, second: int) -> None:
        nonlocal runs
        runs += 1
        for number in (first, second):
            await counter.execute("UPDATE counter SET n = n + 1 WHERE id = $1", number)
            if runs <= 2 and number == first:
                await met.wait()

    await asyncio.gather(
        counter.run_transaction(lambda: unit(1, 2)), counter.run_transaction(lambda: unit(2, 1))
    )
    assert [row["n"] for row in await counter.fetch("SELECT n FROM counter")] == [2, 2]
    assert runs == 3


async def test_a_unit_that_caught_its_serialization_failure_is_retried(counter: DatabaseEngine):
    runs = 0

    async def unit() -> None:
        nonlocal runs
        runs += 1
        await counter.fetch("SELECT n FROM counter")
        if runs == 1:
            await asyncio.create_task(
                outside(counter, "UPDATE counter SET n = n + 1"), context=Context()
            )
        try:
            await counter.execute("UPDATE counter SET n = n + 1 WHERE id = 1")
        except SerializationFailure:
            return

    await counter.run_transaction(unit, isolation="repeatable read")
    assert runs == 2
    assert await counter.fetchval("SELECT n FROM counter WHERE id = 1") == 2


async def outside(engine: DatabaseEngine, sql: str) -> None:
    await engine.execute(sql)


async def test_no_attempt_begins_after_the_deadline(counter: DatabaseEngine):
    loop, runs = asyncio.get_running_loop(), 0

    async def unit() -> None:
        nonlocal runs
        runs += 1
        raise DeadlockDetected("made up")

    started = loop.time()
    with pytest.raises(DeadlockDetected):
        await counter.run_transaction(unit, deadline=0.5)
    assert loop.time() - started < 2
    assert runs > 2


async def test_other_errors_are_not_retried(clone: DatabaseEngine):
    runs = 0

    async def unit() -> None:
        nonlocal runs
        runs += 1
        await add("same")
        await add("same")

    with pytest.raises(Conflict):
        await clone.run_transaction(unit)
    assert runs == 1


async def test_inside_a_transaction_a_unit_runs_once(counter: DatabaseEngine):
    runs = 0

    async def unit() -> None:
        nonlocal runs
        runs += 1
        raise SerializationFailure("made up")

    with pytest.raises(SerializationFailure):
        async with counter.transaction():
            await counter.run_transaction(unit)
    assert runs == 1


async def test_a_connection_lost_before_commit_is_retried(clone: DatabaseEngine):
    runs = 0

    async def unit() -> None:
        nonlocal runs
        runs += 1
        await add(f"run {runs}")
        if runs == 1:
            await clone.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    await clone.run_transaction(unit)
    assert await keys() == ["run 2"]


async def test_options_reach_the_server(clone: DatabaseEngine):
    async with clone.transaction(isolation="serializable", read_only=True, deferrable=True):
        found = [
            await clone.fetchval(f"SHOW transaction_{name}")
            for name in ("isolation", "read_only", "deferrable")
        ]
    assert found == ["serializable", "on", "on"]
    with pytest.raises(TransactionError, match="isolation must be one of"):
        clone.transaction(isolation="chaos; DROP TABLE users")
    with pytest.raises(TransactionError, match="outermost"):
        async with clone.transaction(), clone.transaction(read_only=True):
            pass


async def test_commit_status_of_tracked_transactions(clone: DatabaseEngine):
    async with clone.transaction(track_commit=True) as kept:
        await add("kept")
    with pytest.raises(ZeroDivisionError):
        async with clone.transaction(track_commit=True) as lost:
            await add("lost")
            lost.transaction_id = await read_id(clone)
            raise ZeroDivisionError
    async with clone.transaction(track_commit=True, read_only=True) as nothing:
        await keys()
    assert kept.transaction_id is not None
    assert await clone.was_committed(kept.transaction_id) is True
    assert await clone.was_committed(lost.transaction_id) is False
    assert nothing.transaction_id is None
    server, timeline, number = kept.transaction_id.split("-")
    other = f"{server}-{int(timeline) + 1:08}-{number}"
    assert await clone.was_committed(other) is None, "of the time before a failover"
    assert await clone.was_committed(f"{server}-{timeline}-{int(number) + 10**9}") is None


async def read_id(engine: DatabaseEngine):
    from learner_app.database.transaction_id import read_transaction_id

    async with engine.connection() as connection:
        return await read_transaction_id(connection)


async def test_commit_status_waits_for_a_transaction_in_progress(clone: DatabaseEngine):
    async with clone.transaction() as transaction:
        await add("slow")
        name = await read_id(clone)
        context = Context()
        task = asyncio.create_task(ask(clone, name), context=context)
        await asyncio.sleep(0.3)
        assert not task.done()
        assert transaction.is_open
    assert await task is True


async def ask(engine: DatabaseEngine, name: str) -> bool | None:
    return await engine.was_committed(name)


async def test_a_write_whose_answer_is_lost_is_unknown(clone: DatabaseEngine):
    with pytest.raises(CommitUnknown):
        await clone.execute(
            "INSERT INTO sessions (id) SELECT pg_terminate_backend(pg_backend_pid())::text"
        )
    with pytest.raises(CommitUnknown):
        await clone.execute(
            "INSERT INTO sessions (id) SELECT pg_terminate_backend(pg_backend_pid())::text",
            idempotent=True,
        )
    assert await keys() == []


@pytest.mark.slow
async def test_a_dead_connection_is_detected_before_a_statement_is_sent(clone: DatabaseEngine):
    """A write that is not idempotent succeeds. Repeated 20 times, since the timing varies."""
    await reopen(clone, db_pool_max=2)
    other = DatabaseEngine(clone.url, needs_pool=False)
    for number in range(20):
        await add(f"{number:02}")
        await other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"  # and waits for its end
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await add(f"{number:02} again")
    assert len(await keys()) == 40


async def test_failures_in_a_task_group_are_retried(counter: DatabaseEngine):
    runs = 0

    async def unit() -> None:
        nonlocal runs
        runs += 1
        await counter.fetch("SELECT n FROM counter")
        if runs == 1:
            await asyncio.create_task(
                outside(counter, "UPDATE counter SET n = n + 1"), context=Context()
            )
        async with asyncio.TaskGroup() as group:
            for number in (1, 2):
                group.create_task(increase(counter, number))

    await counter.run_transaction(unit, isolation="repeatable read")
    assert runs == 2
    with pytest.raises(ExceptionGroup):
        await counter.run_transaction(lambda: failing_group(counter))


async def failing_group(engine: DatabaseEngine) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(engine.execute("SELECT 1 / 0"))


async def test_a_caught_error_in_a_tracked_transaction_is_a_rollback(clone: DatabaseEngine):
    with pytest.raises(TransactionRolledBack) as caught:
        async with clone.transaction(track_commit=True):
            with pytest.raises(InvalidValue):
                await clone.execute("SELECT 1 / 0")
    assert isinstance(caught.value.__cause__, InvalidValue)
