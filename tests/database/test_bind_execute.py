"""Prepared statements on asyncpg's protocol: time limit, cancellation, changed tables, errors."""

import asyncio
import time
from typing import Any

import asyncpg
import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import (
    CommitUnknown,
    InvalidValue,
    SchemaChanged,
    StatementTimeout,
    TransactionError,
)
from tests.database.pools import reopen
from tests.database.sessions import keys

SLEEP = "SELECT pg_sleep($1)"
COMMAND_SECONDS = 0.6


@pytest.fixture
async def hasty(clone: DatabaseEngine) -> DatabaseEngine:
    """Engine with a short DB_COMMAND_TIMEOUT, and one connection."""
    return await reopen(
        clone, db_command_timeout=COMMAND_SECONDS, db_statement_timeout=0.5, db_pool_max=1
    )


async def test_a_prepared_statement_needs_neither_the_driver_nor_a_timer(
    clone: DatabaseEngine, monkeypatch
):
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at
    await reopen(clone, db_pool_max=1)
    assert await clone.fetchval("SELECT $1::int", 1) == 1  # prepares it

    def noted(when: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *args, **kwargs)

    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(loop, "call_at", noted)
    monkeypatch.setattr(asyncpg.Connection, "_execute", refuse)
    results = [await clone.fetchval("SELECT $1::int", number) for number in range(50)]
    results += await asyncio.gather(
        *(clone.fetchval("SELECT $1::int", number) for number in range(50))
    )
    assert results == [*range(50), *range(50)]
    assert len(timers) < 10  # the watchdog's, and one for all waits


async def test_a_prepared_statement_is_cancelled_after_the_command_timeout(hasty: DatabaseEngine):
    loop = asyncio.get_running_loop()
    with pytest.raises(StatementTimeout, match="within DB_COMMAND_TIMEOUT"):
        async with hasty.transaction():
            await hasty.execute("SET LOCAL statement_timeout = 0")
            await hasty.fetchval(SLEEP, 0)  # prepares it
            started = loop.time()
            try:
                await hasty.fetchval(SLEEP, 30)
            finally:
                seconds = loop.time() - started
    assert COMMAND_SECONDS <= seconds < COMMAND_SECONDS + 0.4
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_the_server_cancels_a_statement_beyond_the_command_timeout(hasty: DatabaseEngine):
    async with hasty.connection() as connection:
        await connection.execute("SET statement_timeout = 0")
        await connection.fetchval(SLEEP, 0)
        with pytest.raises(TimeoutError):
            await connection.fetchval(SLEEP, 30)
        assert await connection.fetchval("SELECT 1") == 1  # waits for the end of the cancellation


async def test_each_statement_has_its_own_time_limit(clone: DatabaseEngine):
    await reopen(clone, db_command_timeout=COMMAND_SECONDS, db_statement_timeout=0.5)
    loop = asyncio.get_running_loop()

    async def sleep(delay: float) -> float:
        started = loop.time()
        try:
            async with clone.transaction():
                await clone.execute("SET LOCAL statement_timeout = 0")
                await clone.fetchval(SLEEP, 0)
                await asyncio.sleep(delay)
                started = loop.time()
                await clone.fetchval(SLEEP, 30)
        except StatementTimeout:
            pass
        return loop.time() - started

    found = await asyncio.gather(*(sleep(delay) for delay in (0, 0.2, 0.4, 0.9)))
    assert all(COMMAND_SECONDS <= seconds < COMMAND_SECONDS + 0.4 for seconds in found), found


async def test_a_write_beyond_the_command_timeout_has_an_unknown_outcome(hasty: DatabaseEngine):
    sql = "INSERT INTO sessions (id) SELECT $1 FROM pg_sleep($2)"

    async def write(connection: Any) -> None:
        await connection.execute("SELECT set_config('statement_timeout', '0', false)")
        await connection.execute(sql, "s1", 0.0)
        await connection.execute(sql, "s2", 30.0)

    with pytest.raises(CommitUnknown):
        await hasty.perform(write, sql)
    assert await keys() == ["s1"]


@pytest.mark.parametrize("first", ["timer", "caller"])
async def test_a_caller_that_is_cancelled_as_well_is_not_continued(
    hasty: DatabaseEngine, first: str
):
    """The cancellation by the caller prevails over the one by the time limit."""

    async def sleep() -> None:
        async with hasty.transaction():
            await hasty.execute("SET LOCAL statement_timeout = 0")
            await hasty.fetchval(SLEEP, 0)
            await hasty.fetchval(SLEEP, 30)

    task = asyncio.create_task(sleep())
    await asyncio.sleep(0.2)
    assert hasty.pool is not None
    (connection,) = hasty.pool.in_use
    cancellations = [connection.operations.cancel_limited, task.cancel]  # the first: by the timer
    for cancel in cancellations if first == "timer" else reversed(cancellations):
        cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await hasty.fetchval("SELECT 1") == 1


async def test_an_answer_that_arrived_in_a_blocked_event_loop_counts(hasty: DatabaseEngine):
    pid = await hasty.fetchval("SELECT pg_backend_pid()")
    statement = asyncio.create_task(hasty.fetchval("SELECT pg_backend_pid()"))
    await asyncio.sleep(0)  # it is sent
    time.sleep(COMMAND_SECONDS + 0.3)  # noqa: ASYNC251  # blocks the event loop
    assert await statement == pid
    assert await hasty.fetchval("SELECT pg_backend_pid()") == pid


async def test_a_cancelled_statement_does_not_disturb_the_next_one(hasty: DatabaseEngine):
    await hasty.fetchval(SLEEP, 0)
    for _ in range(5):
        task = asyncio.create_task(hasty.fetchval(SLEEP, 30))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await hasty.fetchval("SELECT 7") == 7


async def test_a_connection_in_use_refuses_a_second_statement(clone: DatabaseEngine):
    async with clone.connection() as connection:
        await connection.fetchval(SLEEP, 0)
        for query in (SLEEP, "SELECT pg_sleep($1), 'not prepared yet'"):
            running = asyncio.create_task(connection.fetchval(SLEEP, 0.3))
            await asyncio.sleep(0.05)
            with pytest.raises(asyncpg.InterfaceError, match="in progress"):
                await connection.fetchval(query, 0)
            await running


async def test_a_statement_whose_preparation_is_running_is_not_overtaken(clone: DatabaseEngine):
    async with clone.connection() as connection:
        await connection.fetchval("SELECT 1")
        preparing = asyncio.create_task(connection.fetchval("SELECT 'not prepared yet'"))
        outcomes = set()
        while not preparing.done():
            await asyncio.sleep(0)
            if not preparing.done():
                with pytest.raises(asyncpg.InterfaceError, match="in progress"):
                    await connection.fetchval("SELECT 1")
                outcomes.add("refused")
        assert await preparing == "not prepared yet"
        assert outcomes == {"refused"}


async def test_a_changed_table_is_noticed(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    await clone.execute("CREATE TABLE changed (a int)")
    await clone.execute("INSERT INTO changed VALUES ($1)", 1)
    assert [tuple(row) for row in await clone.fetch("SELECT * FROM changed")] == [(1,)]
    await clone.execute("ALTER TABLE changed ADD b int")
    assert [tuple(row) for row in await clone.fetch("SELECT * FROM changed")] == [(1, None)]
    await clone.execute("ALTER TABLE changed ADD c int")
    with pytest.raises(SchemaChanged):
        async with clone.transaction():
            await clone.fetch("SELECT * FROM changed")
    assert [tuple(row) for row in await clone.fetch("SELECT * FROM changed")] == [(1, None, None)]


async def test_command_tags_and_missing_rows(clone: DatabaseEngine):
    for number in range(3):  # prepared the first time, executed directly after that
        sql = "INSERT INTO sessions (id) VALUES ($1)"
        assert await clone.execute(sql, f"s{number}") == "INSERT 0 1"
        assert await clone.fetchrow("SELECT id FROM sessions WHERE id = $1", "none") is None
        assert await clone.fetchval("SELECT id FROM sessions WHERE id = $1", "none") is None
        assert await clone.fetch("SELECT id FROM sessions WHERE id = $1", "none") == []
    assert await keys() == ["s0", "s1", "s2"]


async def test_an_argument_of_a_wrong_type_is_rejected_before_it_is_sent(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    for _ in range(3):
        assert await clone.fetchval("SELECT $1::int", 1) == 1
        with pytest.raises(InvalidValue):
            await clone.fetchval("SELECT $1::int", "one")


async def test_transaction_control_is_refused_although_it_is_prepared(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    async with clone.connection() as connection:
        await connection.fetch("BEGIN")
        await connection.fetch("COMMIT")
    async with clone.transaction():
        with pytest.raises(TransactionError):
            await clone.fetch("COMMIT")


async def test_a_query_logger_and_codecs_of_a_lease_apply_to_prepared_statements(
    clone: DatabaseEngine,
):
    sql = "SELECT $1::text"
    async with clone.transaction() as transaction:
        connection = transaction.connection
        await clone.fetchval(sql, "a")
        logged: list[str] = []
        with connection.query_logger(lambda record: logged.append(record.query)):
            await clone.fetchval(sql, "b")
            await asyncio.sleep(0)
        assert logged == [sql]
        await connection.set_type_codec(
            "text", schema="pg_catalog", encoder=str, decoder=str.upper, format="text"
        )
        assert await clone.fetchval(sql, "c") == "C"
    assert await clone.fetchval(sql, "d") == "d"


async def test_a_closed_connection_is_replaced(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    assert clone.pool is not None
    await clone.fetchval("SELECT 1")
    for connection in clone.pool.open_connections():
        connection.terminate()
    assert await clone.fetchval("SELECT 1") == 1
