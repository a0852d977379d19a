"""The pool: bounded, quick to hand over, clean between holders, suspicious of dead connections."""

import asyncio
import logging
import statistics
from collections import Counter
from contextvars import Context
from typing import Any

import anyio
import pytest

from learner_app.database import pool as pool_module
from learner_app.database.connection import Connection
from learner_app.database.engine import DatabaseEngine
from learner_app.database.sql_inspection import controls_transaction, is_read, leaves_session_state
from learner_app.errors import (
    CommitUnknown,
    ConnectionLost,
    InvalidValue,
    PoolExhausted,
    PoolNotStarted,
    SchemaChanged,
    SettingsError,
    StatementRefused,
    TransactionError,
)
from tests.database.pools import reopen
from tests.database.sessions import keys

SETTING = "SELECT current_setting('statement_timeout')"


async def test_all_waiters_get_the_same_error_in_time(small_pool: DatabaseEngine):
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


async def test_waiters_are_served_in_order_and_at_once(clone: DatabaseEngine):
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


async def test_a_cancelled_waiter_takes_nothing_along(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    for _ in range(20):
        connection = await clone.take_connection()
        waiter = asyncio.create_task(clone.fetch("SELECT 1"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await clone.give_back(connection)  # it is handed over
        waiter.cancel()  # before the waiter wakes up
        await asyncio.gather(waiter, return_exceptions=True)
    assert await asyncio.wait_for(clone.fetchval("SELECT 1"), 1) == 1


async def test_the_newest_connection_is_lent_first(clone: DatabaseEngine):
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
async def test_nothing_is_left_for_the_next_holder(
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


async def test_a_codec_is_not_left_for_the_next_holder(clone: DatabaseEngine):
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


async def test_time_outs_and_name_are_those_of_the_settings(clone: DatabaseEngine):
    await reopen(clone, db_command_timeout=10, db_application_name="desk 7")
    names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
    found = [await clone.fetchval(f"SHOW {name}") for name in (*names, "application_name")]
    assert found == ["9s", "4500ms", "1min", "desk 7"]


async def test_one_unused_for_long_is_tried_first(clone: DatabaseEngine, monkeypatch):
    monkeypatch.setattr(pool_module, "CHECK_AFTER_SECONDS", 0.05)
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


async def test_old_connections_are_replaced(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1, db_pool_age=0.3)
    pid = await clone.fetchval("SELECT pg_backend_pid()")
    assert await clone.fetchval("SELECT pg_backend_pid()") == pid
    await asyncio.sleep(0.35)
    assert await clone.fetchval("SELECT pg_backend_pid()") != pid


async def test_unused_ones_are_closed_down_to_the_minimum(clone: DatabaseEngine):
    await reopen(clone, db_pool_min=2, db_pool_max=6, db_pool_idle=0.1)
    pool = clone.pool
    assert pool is not None
    held = [await clone.take_connection() for _ in range(6)]
    for connection in held:
        await clone.give_back(connection)
    assert pool.size == 6
    await settles(lambda: pool.size == 2)
    async with clone.connection() as connection:
        connection.terminate()
    await settles(lambda: pool.size == 2)


async def settles(condition: object) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.05)


async def test_who_holds_on_for_long_is_named(clone: DatabaseEngine, caplog):
    await reopen(clone, db_hold_warning=0.2)
    async with asyncio.timeout(10), clone.transaction():
        while "has been held" not in caplog.text:
            await asyncio.sleep(0.05)
    (record,) = [record for record in caplog.records if "has been held" in record.message]
    assert record.levelno == logging.WARNING
    assert "test_pool.py:" in record.message
    assert "test_who_holds_on_for_long_is_named" in record.message


async def test_a_statement_ends_at_its_time_out(clone: DatabaseEngine):
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


async def test_without_a_pool_it_is_refused(clone: DatabaseEngine):
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


async def test_closing_cuts_who_does_not_let_go(clone: DatabaseEngine, monkeypatch):
    monkeypatch.setattr("learner_app.database.connections.CLOSE_SECONDS", 0.2)
    connection = await clone.take_connection()
    await clone.close_connection_pool()
    assert connection.is_closed()
    await clone.give_back(connection)


async def test_a_cancelled_close_still_closes_all_connections(clone: DatabaseEngine):
    await clone.close_connection_pool()
    clone.settings.db_replicas = _secret(f"one={clone.url} two={clone.url}")
    clone._nodes = None
    await clone.start_connection_pool()
    engines = [clone, *clone.extra_nodes.values()]
    held = [await engine.take_connection() for engine in engines]
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
    clone.settings.db_replicas = clone._nodes = None
    await clone.start_connection_pool()
    assert await clone.fetchval("SELECT 1") == 1


async def test_a_close_in_a_cancelled_scope_still_closes_all_connections(clone: DatabaseEngine):
    connection = await clone.take_connection()
    with anyio.move_on_after(0.1):
        await clone.close_connection_pool()
    assert connection.is_closed()
    assert clone.pool is None


async def test_replicas_are_asked_by_name(clone: DatabaseEngine):
    await clone.close_connection_pool()
    clone.settings.db_replicas = _secret(f"reports={clone.url} spare={clone.url}")
    clone._nodes = None
    await clone.start_connection_pool()
    reports = clone.extra_nodes["reports"]
    assert reports.pool is not None
    from learner_app.listening.tables import ListeningSessionTable

    assert await ListeningSessionTable.count().run(node="reports") == 0
    assert await reports.fetchval("SELECT 1") == 1
    with pytest.raises(StatementRefused, match="only reads"):
        async with reports.transaction(read_only=True):
            await reports.execute("DELETE FROM sessions")
    with pytest.raises(SettingsError, match="the replicas are: reports, spare"):
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
async def test_wrong_replicas_are_one_line(text: str):
    from learner_app.settings import Settings

    engine = DatabaseEngine("postgresql://u@h/d")
    engine._settings = Settings(db_replicas=text)
    with pytest.raises(SettingsError, match="DB_REPLICAS") as caught:
        _ = [node.target for node in engine.extra_nodes.values()]
    assert "hunter2" not in str(caught.value)


async def test_a_transaction_left_open_is_an_error_and_undone(clone: DatabaseEngine):
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


async def test_a_write_lost_on_a_bare_connection_is_unknown(clone: DatabaseEngine):
    with pytest.raises(CommitUnknown):
        async with clone.connection() as connection:
            await connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")


async def test_work_of_several_statements_is_not_done_twice(clone: DatabaseEngine):
    async def work(connection: Any) -> None:
        await connection.execute("INSERT INTO sessions (id) VALUES (gen_random_uuid()::text)")
        connection.terminate()
        await connection.execute("SELECT 1")

    with pytest.raises(ConnectionLost):
        await clone.perform(work)
    assert len(await keys()) == 1


async def test_closing_waits_no_longer_than_for_the_last_one(clone: DatabaseEngine):
    task = asyncio.create_task(clone.execute("SELECT pg_sleep(0.3)"))
    await asyncio.sleep(0.1)
    started = asyncio.get_running_loop().time()
    await clone.close_connection_pool()
    assert asyncio.get_running_loop().time() - started < 2
    assert await task == "SELECT 1"


@pytest.mark.parametrize(
    ("sql", "reads", "leaves", "controls"),
    [
        ("SELECT 1", True, False, False),
        ('SELECT "a"."b" FROM "a" WHERE "a"."b" IN ($1, $2)', True, False, False),
        ("WITH x AS (SELECT 1) SELECT count(*) FROM x", True, False, False),
        ("WITH x AS (DELETE FROM a RETURNING *) SELECT * FROM x", False, False, False),
        ("SELECT 1; DELETE FROM a", False, False, False),
        ("SELECT * INTO b FROM a", False, False, False),
        ("SELECT * FROM a FOR UPDATE", False, False, False),
        ("SELECT pg_sleep(1), version(), random()", True, False, False),
        ("SELECT * FROM generate_series(1, 3)", True, False, False),
        ("SELECT pg_notify('a', 'b')", False, False, False),
        ("SELECT pg_terminate_backend(1)", False, False, False),
        ("SELECT pg_advisory_xact_lock(1)", False, False, False),
        ("SELECT setval('a', 1)", False, False, False),
        ("SELECT lo_create(0)", False, False, False),
        ("SELECT nextval('a')", False, False, False),
        ("SELECT app.count(1)", False, False, False),
        ("SELECT app . count(1)", False, False, False),
        ("SELECT E'\\'' || evil('x')", False, False, False),
        ("SELECT E'\\'', set_config('a', 'b', false)", False, True, False),
        ("SELECT 'it''s', 'set_config('", True, False, False),
        ("EXPLAIN ANALYZE DELETE FROM a", False, False, False),
        ("UPDATE a SET b = 1", False, False, False),
        ("UPDATE pg_settings SET setting = '1'", False, True, False),
        ("CREATE TABLE pg_temp.a (b int)", False, True, False),
        ("CREATE TEMP TABLE a(); CREATE TEMP TABLE b() ON COMMIT DROP", False, True, False),
        ("EXPLAIN ANALYZE CREATE TEMP TABLE a AS SELECT 1", False, True, False),
        ('SELECT "set_config"($1, $2, false)', False, True, False),
        ("/* /* */ ' */ SET a = b; SELECT '", False, True, False),
        ("SELECT a$x$, touch() AS b$x$ FROM c", False, False, False),
        ("SELECT 1 --x\r, touch()", False, False, False),
        ("SELECT touch$min(1)", False, False, False),
        ("-- so\nSET a = b", False, True, False),
        ("/* so */ SET LOCAL a = b", False, False, False),
        ("CREATE OR REPLACE TEMP VIEW a AS SELECT 1", False, True, False),
        ("CREATE TEMP TABLE a (b int) ON COMMIT DROP", False, False, False),
        ("SELECT * INTO TEMP a FROM b", False, True, False),
        ("COMMIT", False, False, True),
        ("/* so */ rollback", False, False, True),
        ("ROLLBACK TO SAVEPOINT a", False, False, False),
        ("ROLLBACK WORK TO a", False, False, False),
        ("INSERT INTO a VALUES (1); COMMIT", False, False, True),
        ("SELECT 'commit'", True, False, False),
        ("END", False, False, True),
        ("PREPARE TRANSACTION 'a'", False, False, True),
    ],
)
def test_what_a_statement_tells(sql: str, reads: bool, leaves: bool, controls: bool):
    found = (is_read(sql), leaves_session_state(sql), controls_transaction(sql))
    assert found == (reads, leaves, controls)


async def test_an_abandoned_block_of_the_driver_is_forgotten(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    with pytest.raises(TransactionError):
        async with clone.connection() as connection:
            await connection.transaction().start()
    async with clone.connection() as connection, connection.transaction():
        await connection.execute("INSERT INTO sessions (id) VALUES ('kept')")
    assert await keys() == ["kept"]


async def test_loggers_hear_of_their_own_holder_only(clone: DatabaseEngine):
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


async def test_altered_tables_cost_one_error_at_most(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=3)
    other = DatabaseEngine(clone.url, needs_pool=False)
    await clone.execute("CREATE TABLE thing (a int, b text)")
    held = [await clone.take_connection() for _ in range(3)]
    for connection in held:  # all three know the statement
        await connection.fetch("SELECT * FROM thing")
        await connection.execute("INSERT INTO thing (b) VALUES ($1)", "1")
        await clone.give_back(connection)
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


async def test_a_changed_type_of_an_argument_costs_one_error(clone: DatabaseEngine):
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


async def test_no_statement_and_no_batch(clone: DatabaseEngine):
    from learner_app.listening.tables import ListeningSessionTable

    with pytest.raises(StatementRefused):
        await clone.execute(" ")
    with pytest.raises(StatementRefused, match="at least one"):
        async for _ in clone.stream(ListeningSessionTable.select(), batch=0):
            pass


async def test_looking_up_a_type_leaves_nothing_in_the_session(clone: DatabaseEngine):
    """Else the connection would be reset, and every statement prepared anew."""
    await clone.execute("CREATE TYPE colour AS ENUM ('red', 'blue')")
    async with clone.connection() as connection:
        assert await connection.fetchval("SELECT $1::colour[]", ["red"]) == ["red"]
        assert await connection.fetchval("SELECT $1::int[]", [1]) == [1]
        assert not connection.has_session_state
        assert await connection.fetchval("SHOW jit") == "on"
        assert not connection.is_in_transaction()


async def test_a_read_cut_by_a_cancelled_close_lost_its_connection(clone: DatabaseEngine):
    reading = asyncio.create_task(clone.execute("SELECT pg_sleep(30)"))
    await asyncio.sleep(0.1)
    closing = asyncio.create_task(clone.close_connection_pool())
    await asyncio.sleep(0.1)
    closing.cancel()
    with pytest.raises(ConnectionLost):
        await reading


async def test_work_of_several_steps_survives_a_cut_at_any_step(clone: DatabaseEngine):
    """The pool is told to cut the connection, as after a failover."""
    await reopen(clone, db_pool_max=1)
    counted: Counter[str] = Counter()
    for number in range(100):
        new = f"SELECT {number}, $1::int"  # is prepared, then executed
        reading = asyncio.create_task(clone.fetchval(new, number))
        for _ in range(number % 10):
            await asyncio.sleep(0)
        await asyncio.sleep(0.0001 * (number % 9))
        assert clone.pool is not None
        for connection in list(clone.pool.held):
            clone.pool.cut(connection)
            counted["cut"] += 1
        assert await reading == number
    assert counted["cut"] > 5
