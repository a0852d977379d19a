"""Connection pool: limits, order of waiters, reset between checkouts, validation, closing."""

import asyncio
import contextvars
import logging
import statistics
from collections import Counter
from contextvars import Context
from io import BytesIO
from typing import Any

import anyio
import pytest

from learner_app.database import pool as connection_pool
from learner_app.database.connection import Connection
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import (
    CommitUnknown,
    ConnectionLost,
    InvalidValue,
    PoolExhausted,
    PoolNotStarted,
    SchemaChanged,
    SettingsError,
    StatementRefused,
    StatementTimeout,
    TransactionError,
)
from tests.database.pools import reopen, switch_jit_on
from tests.database.sessions import keys

SETTING = "SELECT current_setting('statement_timeout')"


async def test_all_waiters_get_pool_exhausted_after_the_acquire_timeout(small_pool: DatabaseEngine):
    loop = asyncio.get_running_loop()
    async with small_pool.connection(), small_pool.connection():
        started = loop.time()
        waiters = [asyncio.create_task(small_pool.fetch("SELECT 1")) for _ in range(30)]
        found = await asyncio.gather(*waiters, return_exceptions=True)
        assert 0.25 < loop.time() - started < 1
    assert {type(error) for error in found} == {PoolExhausted}
    assert all(error.retry for error in found)
    assert len({id(error) for error in found}) == 30
    assert await small_pool.fetchval("SELECT 1") == 1


async def test_waiters_are_served_in_order_without_delay(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    loop, order, delays = asyncio.get_running_loop(), [], []
    released = 0.0

    async def wait(number: int) -> None:
        nonlocal released
        async with clone.connection():
            delays.append(loop.time() - released)
            order.append(number)
            await asyncio.sleep(0.001)
            released = loop.time()

    async with clone.connection():
        tasks = []
        for number in range(20):
            tasks.append(asyncio.create_task(wait(number)))
            await asyncio.sleep(0)
        released = loop.time()
    await asyncio.gather(*tasks)
    assert order == list(range(20))
    assert max(delays) < 0.15
    assert statistics.median(delays) < 0.05


async def test_a_cancelled_waiter_returns_its_connection(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    for _ in range(20):
        connection = await clone.connections.acquire()
        waiter = asyncio.create_task(clone.fetch("SELECT 1"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await clone.connections.release(connection)  # it is handed over
        waiter.cancel()  # before the waiter wakes up
        await asyncio.gather(waiter, return_exceptions=True)
    assert await asyncio.wait_for(clone.fetchval("SELECT 1"), 1) == 1


async def test_the_last_released_connection_is_lent_first(clone: DatabaseEngine):
    async with clone.connection() as one, clone.connection() as two:
        pid = one.get_server_pid()
        assert two.get_server_pid() != pid
        assert clone.pool is not None
        assert clone.pool.size == 2
    for _ in range(5):
        async with clone.connection() as connection:
            assert connection.get_server_pid() == pid  # the last that came back
    assert clone.pool.idle == 2


@pytest.mark.parametrize(
    ("leave", "look", "clean"),
    [
        ("SET statement_timeout = '7s'", SETTING, None),
        ("SELECT set_config('statement_timeout', '7s', false)", SETTING, None),
        ("/* so */ SET SESSION statement_timeout = '7s'", SETTING, None),
        ("BEGIN; SET statement_timeout = '7s'; COMMIT", SETTING, None),
        ("DO $$ BEGIN PERFORM set_config('statement_timeout', '7s', false); END $$", SETTING, None),
        (
            "SELECT pg_advisory_lock(7)",
            "SELECT count(*) FROM pg_locks WHERE locktype='advisory'",
            0,
        ),
        ("LISTEN news", "SELECT count(*) FROM pg_listening_channels()", 0),
        ("CREATE TEMP TABLE left_over (a int)", "SELECT to_regclass('left_over')::text", None),
        ("PREPARE left_over AS SELECT 1", "SELECT count(*) FROM pg_prepared_statements", None),
        ("SET ROLE NONE", "SELECT current_user::text", None),
    ],
)
async def test_session_state_is_reset_before_the_next_checkout(
    clone: DatabaseEngine, leave: str, look: str, clean: object
):
    await reopen(clone, db_pool_max=1)
    before = await clone.fetchval(look) if clean is None else clean
    for _ in range(2):  # the second time the statement is known already
        async with clone.connection() as connection:
            pid = connection.get_server_pid()
            await connection.execute(leave)
        if "pg_prepared" not in look:
            assert await clone.fetchval(look) == before
        async with clone.connection() as connection:
            assert connection.get_server_pid() == pid, "reset, not replaced"
            assert not connection.has_session_state


async def test_a_session_lock_of_a_copied_query_is_released(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    async with clone.connection() as connection:
        await connection.copy_from_query("SELECT pg_advisory_lock(1)", output=BytesIO())
        assert connection.has_session_state
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    assert await clone.fetchval(locks) == 0


async def test_a_type_codec_does_not_apply_after_the_block(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    async with clone.connection() as connection:
        await connection.set_type_codec("json", schema="pg_catalog", encoder=str, decoder=len)
        assert await connection.fetchval("SELECT '{}'::json") == 2
    assert await clone.fetchval("SELECT '{}'::json") == "{}"


async def test_a_clean_connection_is_not_reset(clone: DatabaseEngine):
    async with clone.transaction():
        await clone.execute("SET LOCAL statement_timeout = '7s'")
        await clone.execute("SELECT set_config('app.x', $1, true)", "y")
    await clone.fetch("SELECT 1")
    async with clone.connection() as connection:
        last = "SELECT query FROM pg_stat_activity WHERE pid = $1"
        other = DatabaseEngine(clone.url, needs_pool=False)
        assert await other.fetchval(last, connection.get_server_pid()) == "SELECT 1"


async def test_timeouts_and_application_name_come_from_the_settings(clone: DatabaseEngine):
    await reopen(clone, db_command_timeout=10, db_application_name="desk 7")
    names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
    found = [await clone.fetchval(f"SHOW {name}") for name in (*names, "application_name")]
    assert found == ["9s", "4500ms", "1min", "desk 7"]


async def test_statements_are_not_compiled_unless_the_url_asks_for_it(clone: DatabaseEngine):
    assert await clone.fetchval("SHOW jit") == "off"
    await switch_jit_on(clone)
    assert await clone.fetchval("SHOW jit") == "on"


async def test_a_connection_idle_for_long_is_pinged_before_it_is_lent(
    clone: DatabaseEngine, monkeypatch
):
    monkeypatch.setattr(connection_pool, "PING_AFTER_SECONDS", 0.05)
    await reopen(clone, db_pool_max=3)
    async with clone.connection(), clone.connection():
        pass
    seen = []
    fetchval = Connection.fetchval

    async def noted(self: Connection, query: str, *args: object) -> object:
        seen.append(query)
        return await fetchval(self, query, *args)

    monkeypatch.setattr(Connection, "fetchval", noted)
    await clone.fetch("SELECT 2")
    assert seen == []
    await asyncio.sleep(0.1)
    await clone.fetch("SELECT 2")
    assert seen == ["SELECT 1"]


async def test_connections_are_replaced_after_their_maximum_age(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1, db_pool_age=0.3)
    pid = await clone.fetchval("SELECT pg_backend_pid()")
    assert await clone.fetchval("SELECT pg_backend_pid()") == pid
    await asyncio.sleep(0.35)
    assert await clone.fetchval("SELECT pg_backend_pid()") != pid


async def test_idle_connections_are_closed_down_to_the_minimum(clone: DatabaseEngine):
    await reopen(clone, db_pool_min=2, db_pool_max=6, db_pool_idle=0.1)
    pool = clone.pool
    assert pool is not None
    held = [await clone.connections.acquire() for _ in range(6)]
    for connection in held:
        await clone.connections.release(connection)
    assert pool.size == 6
    await settles(lambda: pool.size == 2)
    async with clone.connection() as connection:
        connection.terminate()
    await settles(lambda: pool.size == 2)


async def settles(condition: object) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.05)


async def test_a_long_checkout_is_logged_with_the_calling_code(clone: DatabaseEngine, caplog):
    await reopen(clone, db_checkout_warning=0.2)
    async with asyncio.timeout(10), clone.transaction():
        while "has been checked out" not in caplog.text:
            await asyncio.sleep(0.05)
    (record,) = [record for record in caplog.records if "has been checked out" in record.message]
    assert record.levelno == logging.WARNING
    assert "test_pool.py:" in record.message
    assert "test_a_long_checkout_is_logged_with_the_calling_code" in record.message


async def test_a_long_checkout_by_a_repository_is_logged_with_its_caller(
    clone: DatabaseEngine, caplog
):
    from learner_app.listening.repositories import ListeningSessionRepository

    async def service() -> None:
        await ListeningSessionRepository(clone).find("s1")

    await reopen(clone, db_checkout_warning=0.2)
    async with asyncio.timeout(10), clone.transaction():
        await clone.execute("LOCK TABLE sessions")
        outside = contextvars.Context()  # the task does not take part in the transaction
        waiting = asyncio.create_task(service(), context=outside)
        while "service" not in caplog.text:
            await asyncio.sleep(0.05)
    await waiting
    (record,) = [record for record in caplog.records if "service" in record.message]
    assert "test_pool.py:" in record.message


async def test_a_long_statement_is_logged_with_the_line_that_waits_for_it(
    clone: DatabaseEngine, caplog
):
    async def report(engine: DatabaseEngine) -> None:
        await engine.fetchval("SELECT 1")  # a statement that is prepared takes another path
        await engine.fetchval("SELECT pg_sleep(0)")
        await engine.fetchval("SELECT pg_sleep(30)")

    await reopen(clone, db_checkout_warning=0.2, db_pool_max=1)
    waiting = asyncio.create_task(report(clone))
    async with asyncio.timeout(10):
        while "checked out for" not in caplog.text:
            await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    (record,) = [record for record in caplog.records if "checked out for" in record.message]
    code = report.__code__
    assert f"test_pool.py:{code.co_firstlineno + 3} in " in record.message
    assert code.co_qualname in record.message


async def test_a_statement_is_cancelled_at_its_timeout(clone: DatabaseEngine):
    from learner_app.errors import LockTimeout, StatementTimeout

    await reopen(clone, db_statement_timeout=0.3, db_lock_timeout=0.2)
    with pytest.raises(StatementTimeout):
        await clone.fetch("SELECT pg_sleep(20)")
    async with clone.transaction():
        await clone.execute("LOCK TABLE sessions")
        with pytest.raises(LockTimeout):
            await asyncio.create_task(insert(clone), context=Context())
    assert await keys() == []


async def insert(engine: DatabaseEngine) -> None:
    await engine.execute("INSERT INTO sessions (id) VALUES ('late')")


async def test_a_statement_without_a_pool_is_refused(clone: DatabaseEngine):
    engine = DatabaseEngine(clone.url)
    with pytest.raises(PoolNotStarted, match="running"):
        await engine.fetch("SELECT 1")
    with pytest.raises(PoolNotStarted):
        async with engine.transaction():
            pass
    async with engine.running():
        assert await engine.fetchval("SELECT 1") == 1
    with pytest.raises(PoolNotStarted):
        await engine.fetch("SELECT 1")


async def test_closing_terminates_connections_that_are_not_released(
    clone: DatabaseEngine, monkeypatch
):
    monkeypatch.setattr("learner_app.database.connections.CLOSE_SECONDS", 0.2)
    connection = await clone.connections.acquire()
    await clone.close_connection_pool()
    assert connection.is_closed()
    await clone.connections.release(connection)


async def test_a_cancelled_close_still_closes_all_connections(clone: DatabaseEngine):
    await clone.close_connection_pool()
    replicas = _secret(f"one={clone.url} two={clone.url}")
    clone.settings = clone.settings.model_copy(update={"db_replicas": replicas})
    await clone.start_connection_pool()
    engines = [clone, *clone.replicas.values()]
    held = [await engine.connections.acquire() for engine in engines]
    loop = asyncio.get_running_loop()
    started = loop.time()
    closing = asyncio.create_task(clone.close_connection_pool())
    await asyncio.sleep(0.1)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert loop.time() - started < 2
    assert all(connection.is_closed() for connection in held)
    assert [engine.pool for engine in engines] == [None] * 3
    clone.settings = clone.settings.model_copy(update={"db_replicas": None})
    await clone.start_connection_pool()
    assert await clone.fetchval("SELECT 1") == 1


async def test_a_close_in_a_cancelled_scope_still_closes_all_connections(clone: DatabaseEngine):
    connection = await clone.connections.acquire()
    with anyio.move_on_after(0.1):
        await clone.close_connection_pool()
    assert connection.is_closed()
    assert clone.pool is None


async def test_a_query_runs_on_the_named_replica(clone: DatabaseEngine):
    await clone.close_connection_pool()
    replicas = _secret(f"reports={clone.url} spare={clone.url}")
    clone.settings = clone.settings.model_copy(update={"db_replicas": replicas})
    await clone.start_connection_pool()
    reports = clone.replicas["reports"]
    assert reports.pool is not None
    from learner_app.listening.tables import ListeningSessionTable

    assert await ListeningSessionTable.count().run(node="reports") == 0
    assert await reports.fetchval("SELECT 1") == 1
    with pytest.raises(StatementRefused, match="read-only"):
        async with reports.transaction(read_only=True):
            await reports.execute("DELETE FROM sessions")
    with pytest.raises(SettingsError, match="it has: reports, spare"):
        await ListeningSessionTable.count().run(node="elsewhere")


def _secret(text: str) -> object:
    from pydantic import SecretStr

    return SecretStr(text)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:hunter2@h/d",
        "Big Name=postgresql://h/d",
        "a=x",
        "a=postgresql://h/d a=postgresql://h/d",
    ],
)
async def test_an_invalid_replica_is_a_settings_error_without_secrets(text: str):
    from learner_app.settings import Settings

    engine = DatabaseEngine("postgresql://u@h/d")
    engine.settings = Settings(db_replicas=text)
    with pytest.raises(SettingsError, match="DB_REPLICAS") as caught:
        _ = [node.target for node in engine.replicas.values()]
    assert "hunter2" not in str(caught.value)


async def test_an_open_transaction_on_release_is_an_error_and_rolled_back(clone: DatabaseEngine):
    with pytest.raises(TransactionError, match="left open"):
        await clone.execute("BEGIN; INSERT INTO sessions (id) VALUES ('lost')")
    with pytest.raises(TransactionError, match="left open"):
        async with clone.connection() as connection:
            await connection.execute("BEGIN")
            await connection.execute("INSERT INTO sessions (id) VALUES ('lost')")
    assert await keys() == []
    async with clone.connection() as connection, connection.transaction():
        await connection.execute("INSERT INTO sessions (id) VALUES ('kept')")
    assert await keys() == ["kept"]


async def test_a_write_lost_on_a_leased_connection_is_commit_unknown(clone: DatabaseEngine):
    with pytest.raises(CommitUnknown):
        async with clone.connection() as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_work_of_several_statements_is_not_repeated(clone: DatabaseEngine):
    async def work(connection: Any) -> None:
        await connection.execute("INSERT INTO sessions (id) VALUES (gen_random_uuid()::text)")
        connection.terminate()
        await connection.execute("SELECT 1")

    with pytest.raises(ConnectionLost):
        await clone.perform(work)
    assert len(await keys()) == 1


async def test_closing_waits_only_for_running_statements(clone: DatabaseEngine):
    task = asyncio.create_task(clone.execute("SELECT pg_sleep(0.3)"))
    await asyncio.sleep(0.1)
    started = asyncio.get_running_loop().time()
    await clone.close_connection_pool()
    assert asyncio.get_running_loop().time() - started < 2
    assert await task == "SELECT 1"


async def test_an_abandoned_transaction_of_asyncpg_is_rolled_back(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    with pytest.raises(TransactionError):
        async with clone.connection() as connection:
            await connection.transaction().start()
    async with clone.connection() as connection, connection.transaction():
        await connection.execute("INSERT INTO sessions (id) VALUES ('kept')")
    assert await keys() == ["kept"]


async def test_a_query_logger_is_removed_after_the_block(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    heard: list[object] = []
    async with clone.connection() as connection:
        connection.add_query_logger(heard.append)
        await connection.fetch("SELECT 1")
        await asyncio.sleep(0)
    assert len(heard) == 1
    await clone.fetch("SELECT 2")
    await asyncio.sleep(0)
    assert len(heard) == 1


async def test_altered_tables_cause_at_most_one_error(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=3)
    other = DatabaseEngine(clone.url, needs_pool=False)
    await clone.execute("CREATE TABLE thing (a int, b text)")
    held = [await clone.connections.acquire() for _ in range(3)]
    for connection in held:  # all three know the statement
        await connection.fetch("SELECT * FROM thing")
        await connection.execute("INSERT INTO thing (b) VALUES ($1)", "1")
        await clone.connections.release(connection)
    await other.execute("ALTER TABLE thing ADD COLUMN c int")
    with pytest.raises(SchemaChanged):
        async with clone.transaction():
            await clone.fetch("SELECT * FROM thing")
    found = []
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(read_things(clone, found))
    assert len(found) == 9
    await other.execute("ALTER TABLE thing ALTER b TYPE int USING b::int")
    await clone.run_transaction(lambda: read_things(clone, found))
    failures = 0
    for _ in range(10):
        try:
            await clone.execute("INSERT INTO thing (b) VALUES ($1)", 7)
        except InvalidValue:
            failures += 1
    assert failures <= 1


async def test_a_changed_column_type_causes_one_error(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    await clone.execute("CREATE TABLE thing (b text)")
    await clone.execute("INSERT INTO thing (b) VALUES ($1)", "1")
    other = DatabaseEngine(clone.url, needs_pool=False)
    await other.execute("ALTER TABLE thing ALTER b TYPE int USING b::int")
    with pytest.raises(InvalidValue):
        await clone.execute("INSERT INTO thing (b) VALUES ($1)", 7)
    for _ in range(3):
        await clone.execute("INSERT INTO thing (b) VALUES ($1)", 7)


async def read_things(engine: DatabaseEngine, found: list[object]) -> None:
    async with engine.transaction():
        found += await engine.fetch("SELECT * FROM thing")


async def test_an_empty_statement_and_an_empty_batch_are_refused(clone: DatabaseEngine):
    from learner_app.listening.tables import ListeningSessionTable

    with pytest.raises(StatementRefused):
        await clone.execute(" ")
    with pytest.raises(StatementRefused, match="at least 1"):
        async for _ in clone.stream(ListeningSessionTable.select(), batch=0):
            pass


async def test_a_type_lookup_leaves_no_session_state(clone: DatabaseEngine):
    """Session state would cause a reset, after which every statement is prepared anew."""
    await switch_jit_on(clone)
    await clone.execute("CREATE TYPE colour AS ENUM ('red', 'blue')")
    async with clone.connection() as connection:
        assert await connection.fetchval("SELECT $1::colour[]", ["red"]) == ["red"]
        assert await connection.fetchval("SELECT $1::int[]", [1]) == [1]
        assert not connection.has_session_state
        assert await connection.fetchval("SHOW jit") == "on"
        assert not connection.is_in_transaction()


async def test_a_cancelled_close_fails_running_reads_with_connection_lost(clone: DatabaseEngine):
    reading = asyncio.create_task(clone.execute("SELECT pg_sleep(30)"))
    await asyncio.sleep(0.1)
    closing = asyncio.create_task(clone.close_connection_pool())
    await asyncio.sleep(0.1)
    closing.cancel()
    with pytest.raises(ConnectionLost):
        await reading


async def test_a_read_is_repeated_when_its_connection_is_terminated_at_any_step(
    clone: DatabaseEngine,
):
    """The pool terminates the connection as after a failover."""
    await reopen(clone, db_pool_max=1)
    counted: Counter[str] = Counter()
    for number in range(100):
        new = f"SELECT {number}, $1::int"  # is prepared, then executed
        reading = asyncio.create_task(clone.fetchval(new, number))
        for _ in range(number % 10):
            await asyncio.sleep(0)
        await asyncio.sleep(0.0001 * (number % 9))
        assert clone.pool is not None
        for connection in list(clone.pool.in_use):
            clone.pool.terminate(connection)
            counted["terminated"] += 1
        assert await reading == number
    assert counted["terminated"] > 5


async def test_a_connection_that_does_not_answer_the_ping_is_replaced(
    clone: DatabaseEngine, monkeypatch
):
    await reopen(clone, db_pool_max=1)
    pid = await clone.fetchval("SELECT pg_backend_pid()")
    monkeypatch.setattr(connection_pool, "PING_AFTER_SECONDS", 0)
    assert await clone.fetchval("SELECT pg_backend_pid()") == pid
    monkeypatch.setattr("learner_app.database.connection.PING_SECONDS", 0)
    assert await clone.fetchval("SELECT pg_backend_pid()") != pid


async def test_reset_rolls_back_and_discards_session_state(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    async with clone.connection() as connection:
        before = await connection.fetchval(SETTING)
        await connection.transaction().start()
        await connection.execute("INSERT INTO sessions (id) VALUES ('lost')")
        await connection.execute("SET statement_timeout = '7s'")
        await connection.reset()
        assert not connection.is_in_transaction()
        assert await connection.fetchval(SETTING) == before
    assert await keys() == []


async def test_reset_is_refused_inside_a_transaction_block(clone: DatabaseEngine):
    async with clone.transaction():
        await clone.execute("INSERT INTO sessions (id) VALUES ('kept')")
        async with clone.connection() as connection:
            with pytest.raises(TransactionError, match="not allowed inside a transaction block"):
                await connection.reset()
    assert await keys() == ["kept"]


async def test_a_ping_without_an_answer_is_not_an_unknown_commit(
    clone: DatabaseEngine, monkeypatch
):
    monkeypatch.setattr("learner_app.database.connection.PING_SECONDS", 0)
    with pytest.raises(StatementTimeout):
        async with clone.connection() as connection:
            await connection.ping()
