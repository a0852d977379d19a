"""Leases: valid inside their block only, and never reused while a statement is running."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from io import BytesIO
from typing import Any

import asyncpg
import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import (
    CommitUnknown,
    Conflict,
    ConnectionLost,
    LeaseEnded,
    StatementRefused,
    StatementTimeout,
    TransactionError,
)
from tests.database.pools import reopen, switch_jit_on
from tests.database.sessions import add, keys

INSERT = "INSERT INTO sessions (id) VALUES ($1)"
KILL = "SELECT pg_terminate_backend($1, 5000)"


async def kill(engine: DatabaseEngine, connection: Any) -> None:
    """Terminate the session of a connection and wait for its end."""
    other = DatabaseEngine(engine.url, needs_pool=False)
    assert await other.perform(
        lambda it: it.fetchval(KILL, connection.get_server_pid()), in_pool=False
    )


@pytest.mark.parametrize(
    "pair",
    [
        ("SELECT pg_sleep(30)", "SELECT 1"),
        ("INSERT INTO sessions (id) SELECT 'x' || pg_sleep(30)", "SELECT 1 / 0"),
    ],
)
@pytest.mark.parametrize("through", ["connection", "perform"])
async def test_calls_after_a_failed_gather_get_an_idle_connection(
    small_pool: DatabaseEngine, pair: tuple[str, str], through: str
):
    async def both(connection: Any) -> None:
        await asyncio.gather(*(connection.fetch(sql) for sql in pair))

    with pytest.raises(StatementRefused):
        if through == "perform":
            await small_pool.perform(both)
        else:
            async with small_pool.connection() as connection:
                await both(connection)
    found = await asyncio.gather(*(small_pool.fetchval(f"SELECT {n}") for n in range(30)))
    assert found == list(range(30))
    assert small_pool.pool is not None
    assert small_pool.pool.size <= 2
    busy = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%'"
        " AND state = 'active' AND pid <> pg_backend_pid() AND datname = current_database()"
    )
    async with asyncio.timeout(1):  # the statement left behind is cancelled
        while await small_pool.fetchval(busy):
            await asyncio.sleep(0.05)
    assert await keys() == []


async def test_a_statement_left_running_is_cancelled_and_its_connection_is_used_again(
    clone: DatabaseEngine,
):
    engine = await reopen(clone, db_pool_max=1)
    pid = await engine.fetchval("SELECT pg_backend_pid()")
    async with engine.connection() as connection:
        left = asyncio.create_task(connection.fetch("SELECT pg_sleep(30)"))
        await asyncio.sleep(0.1)
    with pytest.raises(LeaseEnded):
        await left
    assert await engine.fetchval("SELECT pg_backend_pid()") == pid
    assert engine.pool is not None
    assert engine.pool.orphans == {}


@pytest.mark.parametrize("operation", ["copy", "cursor", "prepared"])
async def test_other_operations_left_running_do_not_reach_the_next_caller(
    small_pool: DatabaseEngine, operation: str
):
    async def endless() -> Any:
        while True:
            yield ("x",)
            await asyncio.sleep(0.01)

    async def run(connection: Any) -> None:
        if operation == "copy":
            await connection.copy_records_to_table("sessions", records=endless(), columns=["id"])
        elif operation == "prepared":
            await (await connection.prepare("SELECT pg_sleep(30)")).fetch()
        else:
            async with connection.transaction():
                await (await connection.cursor("SELECT pg_sleep(30)")).fetch(1)

    for _ in range(3):
        try:
            async with small_pool.connection() as connection:
                task = asyncio.create_task(run(connection))
                await asyncio.sleep(0.1)
        except TransactionError:
            assert operation == "cursor"
        found = await asyncio.gather(*(small_pool.fetchval(f"SELECT {n}") for n in range(10)))
        assert found == list(range(10))
        async with asyncio.timeout(5):
            await asyncio.wait([task])
        assert isinstance(task.exception(), LeaseEnded)
    assert await keys() == []


async def test_a_statement_left_running_in_a_transaction_makes_the_next_one_wait(
    small_pool: DatabaseEngine,
):
    async with small_pool.transaction():
        with pytest.raises(StatementRefused):
            async with small_pool.connection() as connection:
                await asyncio.gather(
                    connection.fetch("SELECT pg_sleep(0.3)"), connection.fetch("SELECT 1")
                )
        await asyncio.gather(add("next"), add("other"))
    assert await keys() == ["next", "other"]


async def kept_connection(connection: Any) -> Callable[[], Awaitable[Any]]:
    return lambda: connection.execute(INSERT, "kept")


async def kept_method(connection: Any) -> Callable[[], Awaitable[Any]]:
    execute = connection.execute
    return lambda: execute("INSERT INTO sessions (id) VALUES ('kept')")


async def kept_coroutine(connection: Any) -> Callable[[], Awaitable[Any]]:
    work = connection.execute(INSERT, "kept")
    return lambda: work


async def kept_executemany(connection: Any) -> Callable[[], Awaitable[Any]]:
    return lambda: connection.executemany(INSERT, [("kept",)])


async def kept_copy(connection: Any) -> Callable[[], Awaitable[Any]]:
    return lambda: connection.copy_records_to_table("sessions", records=[("k",)], columns=["id"])


async def kept_prepared(connection: Any) -> Callable[[], Awaitable[Any]]:
    statement = await connection.prepare(INSERT)
    return lambda: statement.fetch("kept")


async def kept_prepared_many(connection: Any) -> Callable[[], Awaitable[Any]]:
    statement = await connection.prepare(INSERT)
    return lambda: statement.executemany([("kept",)])


async def kept_prepared_method(connection: Any) -> Callable[[], Awaitable[Any]]:
    fetch = (await connection.prepare(INSERT)).fetch
    return lambda: fetch("kept")


async def kept_cursor_factory(connection: Any) -> Callable[[], Awaitable[Any]]:
    factory = connection.cursor("SELECT 1")

    async def declare() -> Any:
        return await factory

    return declare


async def kept_iterator(connection: Any) -> Callable[[], Awaitable[Any]]:
    rows = aiter(connection.cursor("SELECT * FROM generate_series(1, 1000)", prefetch=1))
    if connection.is_in_transaction():
        await anext(rows)
    return lambda: anext(rows)


async def kept_transaction(connection: Any) -> Callable[[], Awaitable[Any]]:
    return connection.transaction().start


async def kept_entered(connection: Any) -> Callable[[], Awaitable[Any]]:
    method = connection.prepare
    return lambda: method("SELECT 1")


KEPT = [
    kept_connection,
    kept_method,
    kept_coroutine,
    kept_executemany,
    kept_copy,
    kept_prepared,
    kept_prepared_many,
    kept_prepared_method,
    kept_cursor_factory,
    kept_iterator,
    kept_transaction,
    kept_entered,
]


@pytest.mark.parametrize("keep", KEPT, ids=lambda keep: keep.__name__)
async def test_objects_of_a_lease_raise_after_the_block_and_write_nothing(
    clone: DatabaseEngine, keep: Callable[[Any], Awaitable[Callable[[], Awaitable[Any]]]]
):
    await reopen(clone, db_pool_max=1)  # the next caller gets the same connection
    async with clone.connection() as connection:
        use = await keep(connection)
    async with clone.transaction():
        await add("other caller")
        with pytest.raises(LeaseEnded):
            await use()
    assert await keys() == ["other caller"]


@pytest.mark.parametrize("keep", KEPT, ids=lambda keep: keep.__name__)
@pytest.mark.parametrize("source", ["connection()", "transaction.connection"])
async def test_objects_of_a_transaction_raise_after_it_and_write_nothing(
    clone: DatabaseEngine,
    source: str,
    keep: Callable[[Any], Awaitable[Callable[[], Awaitable[Any]]]],
):
    await reopen(clone, db_pool_max=1)
    async with clone.transaction() as transaction:
        if source == "connection()":
            async with clone.connection() as connection:
                use = await keep(connection)
        else:
            use = await keep(transaction.connection)
    async with clone.transaction():
        await add("other caller")
        with pytest.raises(LeaseEnded):
            await use()
    assert await keys() == ["other caller"]


async def test_a_cursor_raises_after_its_block_within_the_same_transaction(clone: DatabaseEngine):
    async with clone.transaction():
        async with clone.connection() as connection:
            cursor = await connection.cursor("SELECT * FROM generate_series(1, 10)")
            assert len(await cursor.fetch(3)) == 3
        with pytest.raises(LeaseEnded):
            await cursor.fetch(3)
        await add("still open")
    assert await keys() == ["still open"]


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_the_connection_raises_after_an_early_commit_or_rollback(
    clone: DatabaseEngine, end: str
):
    async with clone.transaction() as transaction, clone.connection() as connection:
        await connection.execute(INSERT, "before")
        await getattr(transaction, end)()
        for kept in (connection, transaction.connection):
            with pytest.raises(LeaseEnded):
                await kept.execute(INSERT, "after")
    assert await keys() == (["before"] if end == "commit" else [])


async def test_the_connection_of_a_nested_block_ends_with_it(clone: DatabaseEngine):
    async with clone.transaction() as outer:
        async with clone.transaction() as nested:
            await nested.connection.execute(INSERT, "nested")
        with pytest.raises(LeaseEnded):
            await nested.connection.execute(INSERT, "late")
        await outer.connection.execute(INSERT, "outer")
    with pytest.raises(LeaseEnded):
        await outer.connection.execute(INSERT, "late")
    with pytest.raises(TransactionError, match="entered"):
        _ = clone.transaction().connection
    assert await keys() == ["nested", "outer"]


async def test_an_ended_lease_cannot_close_the_connection_of_another_caller(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    async with clone.connection() as kept:
        pass
    assert kept.is_closed()
    async with clone.connection() as connection:
        for call in (kept.terminate, kept.get_server_pid, lambda: kept.address):
            with pytest.raises(LeaseEnded):
                call()
        for method in (kept.close, kept.reset):
            with pytest.raises(LeaseEnded):
                await method()
        assert not connection.is_closed()


async def test_listeners_are_removed_with_the_lease(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    heard: list[object] = []

    async def listen(connection: Any) -> None:
        await connection.add_listener("news", lambda *_: heard.append("news"))
        connection.add_log_listener(lambda *_: heard.append("log"))
        connection.add_termination_listener(lambda *_: heard.append("end"))
        connection.add_query_logger(lambda *_: heard.append("query"))

    async def speak() -> None:
        await clone.execute("NOTIFY news")
        await clone.execute("DO $$ BEGIN RAISE NOTICE 'x'; END $$")
        await asyncio.sleep(0.05)

    async with clone.connection() as connection:
        await listen(connection)
    await speak()
    async with clone.transaction():
        async with clone.connection() as connection:
            await listen(connection)
        await speak()
    await speak()
    async with clone.connection() as connection:
        connection.terminate()
    await asyncio.sleep(0.05)
    assert heard == []


async def test_a_listener_gets_the_lease_and_not_the_connection(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    given: list[Any] = []
    async with clone.connection() as connection:
        await connection.add_listener("news", lambda source, *_: given.append(source))
        await connection.execute("NOTIFY news")
        await asyncio.sleep(0.05)
    with pytest.raises(LeaseEnded):
        await given[0].execute(INSERT, "kept")


async def test_a_lease_is_a_connection_of_asyncpg(clone: DatabaseEngine):
    async with clone.connection() as connection:
        assert isinstance(connection, asyncpg.Connection)
        statement = await connection.prepare("SELECT $1::int + 1")
        assert await statement.fetchval(1) == 2
        assert await statement.fetchmany([(1,), (2,)]) == [(2,), (3,)]
        assert (await statement.explain(1))[0]["Plan"]
        async with connection.transaction():
            rows = [row[0] async for row in connection.cursor("SELECT generate_series(1, 70)")]
            cursor = await statement.cursor(4)
            assert await cursor.fetchrow() == (5,)
            assert (await statement.explain(1, analyze=True))[0]["Plan"]
        assert rows == list(range(1, 71))
        assert await connection.fetchmany("SELECT $1::int", [(1,), (2,)]) == [(1,), (2,)]
        assert connection.get_settings().server_encoding == "UTF8"
        with connection.query_logger(lambda _: None):
            await connection.fetch("SELECT 1")


async def test_the_drivers_transaction_in_a_block_is_a_savepoint(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    async with clone.transaction() as transaction:
        async with clone.connection() as connection:
            async with connection.transaction():
                await connection.execute(INSERT, "kept")
            with pytest.raises(ZeroDivisionError):
                async with connection.transaction():
                    await connection.execute(INSERT, "undone")
                    async with connection.transaction():
                        await connection.execute(INSERT, "undone too")
                    raise ZeroDivisionError
        async with transaction.connection.transaction():
            await add("by the engine")
        async with clone.transaction(), transaction.connection.transaction():
            await add("nested")
    assert await keys() == ["by the engine", "kept", "nested"]
    with pytest.raises(ZeroDivisionError):
        async with clone.transaction(), clone.connection() as connection:
            async with connection.transaction():
                await connection.execute(INSERT, "undone by the outer block")
            raise ZeroDivisionError
    assert len(await keys()) == 3
    async with clone.connection() as connection, connection.transaction():
        await connection.execute(INSERT, "outside a block")
    assert "outside a block" in await keys()


@pytest.mark.parametrize(
    "options", [{"isolation": "serializable"}, {"readonly": True}, {"deferrable": True}]
)
async def test_the_drivers_transaction_in_a_block_refuses_options(
    clone: DatabaseEngine, options: dict[str, Any]
):
    async with clone.transaction():
        async with clone.connection() as connection:
            with pytest.raises(TransactionError, match="savepoint"):
                connection.transaction(**options)
        await add("still open")
    async with clone.connection() as connection, connection.transaction(**options):
        await connection.fetch("SELECT 1")
    assert await keys() == ["still open"]


@pytest.mark.parametrize("end", ["commit", "rollback"])
async def test_an_outer_transaction_is_not_ended_inside_a_nested_block(
    clone: DatabaseEngine, end: str
):
    loop = asyncio.get_running_loop()
    async with clone.transaction() as outer:
        await add("outer")
        async with clone.transaction() as middle, clone.transaction():
            for around in (outer, middle):
                started = loop.time()
                with pytest.raises(TransactionError, match="nested block"):
                    await getattr(around, end)()
                with pytest.raises(TransactionError, match="nested block"):
                    await around.rollback_to("anything")
                with pytest.raises(TransactionError, match="nested block"):
                    await asyncio.create_task(getattr(around, end)())
                assert loop.time() - started < 1
            await add("nested")
    assert await keys() == ["nested", "outer"]


async def test_statements_of_the_engine_run_inside_a_lease_of_the_same_task(clone: DatabaseEngine):
    async with asyncio.timeout(5), clone.transaction():
        async with clone.connection() as connection:
            await connection.execute(INSERT, "lease")
            await add("engine")
            async with clone.transaction():
                await add("nested")
            async with clone.connection() as again:
                await again.execute(INSERT, "again")
            await connection.execute(INSERT, "lease 2")
        await asyncio.gather(add("task"), add("task 2"))
    assert await keys() == ["again", "engine", "lease", "lease 2", "nested", "task", "task 2"]


async def test_a_read_on_a_killed_lease_is_not_an_unknown_commit(clone: DatabaseEngine):
    with pytest.raises(ConnectionLost):
        async with clone.connection() as connection:
            await kill(clone, connection)
            await connection.fetch("SELECT 1")
    with pytest.raises(ConnectionLost):  # also when the server had got it
        async with clone.connection() as connection:
            work = asyncio.create_task(connection.fetch("SELECT pg_sleep(30)"))
            await asyncio.sleep(0.1)
            await kill(clone, connection)
            await work


async def test_a_write_that_was_not_sent_is_not_an_unknown_commit(clone: DatabaseEngine):
    for sql in ("INSERT INTO sessions (id) VALUES ('x')", INSERT):
        with pytest.raises(ConnectionLost):
            async with clone.connection() as connection:
                await kill(clone, connection)
                await connection.execute(sql, *(("x",) if "$1" in sql else ()))
    assert await keys() == []


SLOW = "INSERT INTO sessions (id) SELECT 'x' || pg_sleep(30)"


@pytest.mark.parametrize("how", ["execute", "prepared", "copy"])
async def test_a_write_on_a_lease_that_is_killed_while_running_is_unknown(
    clone: DatabaseEngine, how: str
):
    async def write(connection: Any) -> None:
        if how == "prepared":
            await (await connection.prepare(SLOW)).fetch()
        elif how == "copy":
            await connection.copy_from_query(f"{SLOW} RETURNING id", output=BytesIO())
        else:
            await connection.execute(SLOW)

    with pytest.raises(CommitUnknown):
        async with clone.connection() as connection:
            work = asyncio.create_task(write(connection))
            await asyncio.sleep(0.1)
            await kill(clone, connection)
            await work
    with pytest.raises(ConnectionLost):  # nothing of an open transaction is kept
        async with clone.connection() as connection, connection.transaction():
            work = asyncio.create_task(write(connection))
            await asyncio.sleep(0.1)
            await kill(clone, connection)
            await work
    assert await keys() == []


@pytest.mark.parametrize("operation", ["prepared", "copy", "cursor"])
async def test_operations_that_perform_left_running_do_not_reach_the_next_caller(
    small_pool: DatabaseEngine, operation: str
):
    sleep = "SELECT pg_sleep(30)"

    async def start(connection: Any) -> None:
        if operation == "prepared":
            await (await connection.prepare(sleep)).fetch()
        elif operation == "copy":
            await connection.copy_from_query(sleep, output=BytesIO())
        else:
            async with connection.transaction():
                await connection.fetch("SELECT 1")
                await (await connection.cursor(sleep)).fetch(1)

    async def fail() -> None:
        await asyncio.sleep(0.1)
        raise KeyError

    async def both(connection: Any) -> None:
        await asyncio.gather(start(connection), fail())

    with pytest.raises(KeyError):
        await small_pool.perform(both)
    found = await asyncio.gather(*(small_pool.fetchval(f"SELECT {n}") for n in range(30)))
    assert found == list(range(30))


@pytest.mark.parametrize("in_transaction", [False, True])
async def test_objects_of_perform_raise_after_it_and_write_nothing(
    clone: DatabaseEngine, in_transaction: bool
):
    async def keep(connection: Any) -> list[Callable[[], Awaitable[Any]]]:
        statement = await connection.prepare(INSERT)
        return [lambda: connection.execute(INSERT, "kept"), lambda: statement.fetch("kept")]

    async def use() -> None:
        for use in await clone.perform(keep):
            with pytest.raises(LeaseEnded):
                await use()

    if in_transaction:
        async with clone.transaction():
            await use()
    else:
        await use()
    assert await keys() == []


async def test_listeners_of_a_lease_survive_an_inner_lease(clone: DatabaseEngine):
    heard: list[str] = []
    async with clone.transaction(), clone.connection() as outer:
        await outer.add_listener("news", lambda *args: heard.append(args[-1]))
        async with clone.connection() as inner:
            await inner.fetch("SELECT 1")
        await clone.perform(lambda it: it.fetch("SELECT 1"))
        async with clone.connection() as again:
            assert again.get_server_pid() == outer.get_server_pid()
        await outer.execute("SELECT pg_notify('news', 'inside')")
        assert outer._connection._listeners
    async with clone.connection() as connection:
        assert not connection._listeners


@pytest.mark.parametrize("kind", ["enum", "transaction"])
async def test_a_cancelled_type_lookup_leaves_no_transaction(clone: DatabaseEngine, kind: str):
    """Cancel the lookup after different times, to interrupt each of its steps."""
    await switch_jit_on(clone)
    await clone.execute("CREATE TYPE mood AS ENUM ('good', 'bad')")
    cancelled = 0
    async with clone.connection() as connection:
        for number in range(40):
            transaction = connection.transaction() if kind == "transaction" else None
            if transaction:
                await transaction.start()
            try:
                async with asyncio.timeout(number * 0.0001):
                    await connection.fetch("SELECT NULL::mood[], $1::int", number)
            except TimeoutError:
                cancelled += 1
            if transaction:
                await transaction.rollback()
            assert not connection.is_in_transaction()
            await connection.execute(INSERT, f"{number:02}")
            assert await connection.fetchval("SHOW jit") == "on"
            await connection.reload_schema_state()
    assert cancelled > 3
    assert len(await keys()) == 40


async def test_a_write_that_times_out_is_unknown(clone: DatabaseEngine):
    slow = "INSERT INTO sessions (id) SELECT 'x' || pg_sleep(30)"
    with pytest.raises(CommitUnknown):
        async with clone.connection() as connection:
            await connection.execute(slow, timeout=0.2)
    with pytest.raises(StatementTimeout):
        async with clone.connection() as connection:
            await connection.fetch("SELECT pg_sleep(30)", timeout=0.2)
    with pytest.raises(StatementTimeout):
        async with clone.transaction(), clone.connection() as connection:
            await connection.execute(slow, timeout=0.2)
    with pytest.raises(TimeoutError, match="of the block"):
        async with clone.connection() as connection:
            raise TimeoutError("of the block")
    assert await keys() == []


async def test_a_copy_killed_inside_a_transaction_is_not_unknown(clone: DatabaseEngine):
    async def rows(connection: Any) -> AsyncIterator[bytes]:
        yield b"one\n"
        await kill(clone, connection)
        yield b"two\n"

    async def copy(connection: Any) -> None:
        await connection.copy_to_table("sessions", source=rows(connection), columns=["id"])

    with pytest.raises(ConnectionLost):
        async with clone.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            await copy(connection)
    with pytest.raises(CommitUnknown):
        async with clone.connection() as connection:
            await copy(connection)
    assert await keys() == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", [OSError, ValueError])
@pytest.mark.parametrize("block", ["connection", "transaction", "perform"])
async def test_an_error_of_the_source_or_output_of_a_copy_is_raised_unchanged(
    clone: DatabaseEngine, block: str, kind: type[Exception]
):
    async def source() -> AsyncIterator[bytes]:
        yield b"one\n"
        raise kind("of the caller")

    async def output(_data: bytes) -> None:
        raise kind("of the caller")

    async def copy(connection: Any, *, is_source: bool) -> None:
        if is_source:
            await connection.copy_to_table("sessions", source=source(), columns=["id"])
        else:
            await connection.copy_from_query("SELECT 1", output=output)

    for is_source in (True, False):
        with pytest.raises(kind, match="of the caller"):
            if block == "perform":
                await clone.perform(lambda it: copy(it, is_source=is_source))  # noqa: B023
            elif block == "connection":
                async with clone.connection() as connection:
                    await copy(connection, is_source=is_source)
            else:
                async with clone.transaction(), clone.connection() as connection:
                    await copy(connection, is_source=is_source)
    assert await keys() == []


async def test_a_task_that_was_cancelled_before_gets_lease_ended(
    clone: DatabaseEngine,
):
    async def outlive(connection: Any) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(30)  # its cancellation stays in the count of the task
        await connection.fetch("SELECT pg_sleep(30)")

    async with clone.connection() as connection:
        task = asyncio.create_task(outlive(connection))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0.1)
    with pytest.raises(LeaseEnded):
        await task
    assert task.cancelling() == 1


async def duplicate(connection: Any) -> None:
    await connection.execute(INSERT, "twice")
    await connection.execute(INSERT, "twice")


async def test_every_lease_raises_the_error_of_the_package_at_the_end_of_its_block(
    clone: DatabaseEngine,
):
    with pytest.raises(Conflict) as of_connection:
        async with clone.connection() as connection, connection.transaction():
            await duplicate(connection)
    with pytest.raises(Conflict) as of_transaction:
        async with clone.transaction() as transaction:
            await duplicate(transaction.connection)
    with pytest.raises(Conflict) as of_nested:
        async with clone.transaction(), clone.transaction() as transaction:
            await duplicate(transaction.connection)
    for caught in (of_connection, of_transaction, of_nested):
        assert isinstance(caught.value.__cause__, asyncpg.UniqueViolationError)
    assert await keys() == []


async def test_an_error_of_a_nested_lease_leaves_the_outer_transaction_usable(
    clone: DatabaseEngine,
):
    async with clone.transaction():
        await add("outer")
        with pytest.raises(Conflict):
            async with clone.transaction() as transaction:
                await duplicate(transaction.connection)
        await add("later")
    assert await keys() == ["later", "outer"]


async def test_an_error_that_the_lease_did_not_raise_leaves_the_transaction_unchanged(
    clone: DatabaseEngine,
):
    async with clone.transaction() as transaction:
        await transaction.connection.execute(INSERT, "s1")
    for error in (OSError("a file"), TimeoutError(), ValueError()):
        with pytest.raises(type(error)) as caught:
            async with clone.transaction() as transaction:
                await transaction.connection.execute(INSERT, "s2")
                raise error
        assert caught.value is error


async def test_a_unit_is_retried_after_an_error_of_the_transactions_lease(clone: DatabaseEngine):
    attempts = 0

    async def unit() -> None:
        nonlocal attempts
        attempts += 1
        transaction = clone.enclosing_transaction()
        assert transaction is not None
        if attempts == 1:
            await kill(clone, transaction.connection)
        await transaction.connection.execute(INSERT, "retried")

    await clone.run_transaction(unit)
    assert attempts == 2
    assert await keys() == ["retried"]


async def test_a_time_limit_of_the_caller_is_reported_as_such(clone: DatabaseEngine):
    with pytest.raises(StatementTimeout, match="the caller's own time limit"):
        async with clone.connection() as connection:
            await connection.fetch("SELECT pg_sleep(5)", timeout=0.05)
    with pytest.raises(StatementTimeout, match="the caller's own time limit"):
        async with clone.transaction() as transaction:
            await transaction.connection.fetch("SELECT pg_sleep(5)", timeout=0.05)
    with pytest.raises(StatementTimeout, match="the caller's own time limit"):
        async with clone.transaction(), clone.connection() as connection:
            cursor = await connection.cursor("SELECT pg_sleep(5) FROM generate_series(1, 2)")
            await cursor.fetch(2, timeout=0.05)
    assert await clone.fetchval("SELECT 1") == 1
