"""Scopes: settings of transactions and single statements, which never reach anybody else."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.database.scope import Scope
from learner_app.errors import (
    CommitUnknown,
    Conflict,
    ConnectionLost,
    InvalidValue,
    ScopeError,
    StatementRefused,
    TransactionAborted,
)
from learner_app.listening.tables import ListeningSessionTable
from learner_app.schema.session_settings import ACTOR_SETTING, REQUEST_ID_SETTING, TENANT_SETTING
from tests.database.pools import reopen
from tests.database.sessions import add, keys

TENANT = "018f0000-0000-7000-8000-000000000001"
OTHER = "018f0000-0000-7000-8000-000000000002"

READ = "SELECT " + ", ".join(
    f"NULLIF(current_setting('{name}', true), '')"
    for name in (TENANT_SETTING, ACTOR_SETTING, REQUEST_ID_SETTING)
)
NOTHING = (None, None, None)


async def seen(engine: DatabaseEngine) -> tuple[str | None, ...]:
    return tuple(await engine.fetchrow(READ))


@pytest.fixture
async def one(clone: DatabaseEngine) -> DatabaseEngine:
    """The engine with a single connection, so that anything left in its session is seen."""
    return await reopen(clone, db_pool_min=1, db_pool_max=1)


async def test_single_statements_carry_the_scope_and_leave_nothing(one: DatabaseEngine):
    assert await seen(one) == NOTHING
    with one.scope(tenant=TENANT, actor="ann", request_id="r-1") as scope:
        assert scope == one.current_scope == Scope(TENANT, "ann", "r-1")
        assert await seen(one) == (TENANT, "ann", "r-1")
        assert await one.fetchval(READ) == TENANT
        assert (await one.fetch(READ))[0][1] == "ann"
        assert await one.perform(lambda it: it.fetchval(READ), READ) == TENANT
        raw = ListeningSessionTable.raw(f"SELECT current_setting('{TENANT_SETTING}') AS tenant")
        assert await raw == [{"tenant": TENANT}], "also queries of Piccolo"
        assert one.enclosing_transaction() is None
    assert one.current_scope == Scope()
    assert await seen(one) == NOTHING


async def test_writes_of_single_statements_are_committed(one: DatabaseEngine):
    with one.scope(actor="ann"):
        await add("a")
        assert await one.execute("DELETE FROM sessions WHERE id = 'x'") == "DELETE 0"
        with pytest.raises(Conflict):
            await add("a")
        await add("b")
    assert await keys() == ["a", "b"]


async def test_without_a_scope_single_statements_send_no_begin(
    one: DatabaseEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(one, "log_queries", True)
    await one.fetchval("SELECT 1")
    with one.scope():
        await one.fetchval("SELECT 2")
    assert "BEGIN" not in capsys.readouterr().out
    with one.scope(actor="canary"):
        await one.fetchval("SELECT 3")
    printed = capsys.readouterr().out
    assert "BEGIN; SET LOCAL (scope)" in printed
    assert "canary" not in printed, "values are not logged"


async def test_a_transaction_carries_the_scope_of_its_begin(one: DatabaseEngine):
    with one.scope(tenant=TENANT):
        async with one.transaction(isolation="serializable", read_only=True):
            assert await seen(one) == (TENANT, None, None)
            assert await one.fetchval("SHOW transaction_isolation") == "serializable"
    assert await seen(one) == NOTHING


async def test_a_nested_scope_inherits_and_is_undone_on_leaving(one: DatabaseEngine):
    with one.scope(tenant=TENANT, actor="ann"):
        async with one.transaction():
            with one.scope(actor="bob", request_id="r-2"):
                assert await seen(one) == (TENANT, "bob", "r-2")
                with one.scope(tenant=TENANT):
                    assert await seen(one) == (TENANT, "bob", "r-2")
            assert await seen(one) == (TENANT, "ann", None)
        with one.scope(request_id="r-3"):
            assert await seen(one) == (TENANT, "ann", "r-3")
        assert await seen(one) == (TENANT, "ann", None)


async def test_a_scope_inside_an_open_transaction_covers_its_statements_only(one: DatabaseEngine):
    async with one.transaction() as transaction:
        assert await seen(one) == NOTHING
        with one.scope(tenant=TENANT):
            assert await seen(one) == (TENANT, None, None)
            assert await transaction.connection.fetchval(READ) == TENANT
        assert await seen(one) == NOTHING
        assert await transaction.connection.fetchval(READ) is None
    assert await seen(one) == NOTHING


async def test_another_tenant_cannot_be_nested(one: DatabaseEngine):
    with one.scope(tenant=TENANT):
        with pytest.raises(ScopeError, match="another tenant"), one.scope(tenant=OTHER):
            pytest.fail("entered")
        with one.scope(tenant=UUID(TENANT)):
            assert await seen(one) == (TENANT, None, None)
        assert await seen(one) == (TENANT, None, None)
    with one.scope(tenant=OTHER):
        assert await seen(one) == (OTHER, None, None)


async def test_an_error_in_the_block_restores_the_outer_scope(one: DatabaseEngine):
    with suppress(ZeroDivisionError), one.scope(actor="ann"):
        async with one.transaction():
            with one.scope(actor="bob"):
                raise ZeroDivisionError
    assert one.current_scope == Scope()
    assert await seen(one) == NOTHING


async def test_rollbacks_to_savepoints_do_not_change_the_scope(one: DatabaseEngine):
    with one.scope(actor="ann"):
        async with one.transaction() as transaction:
            with suppress(Conflict):
                async with one.transaction():
                    with one.scope(actor="bob"):
                        await add("a")
                        await add("a")
            assert await seen(one) == (None, "ann", None)
            with one.scope(actor="carl"):
                savepoint = await transaction.savepoint()
                assert await seen(one) == (None, "carl", None)
            assert await seen(one) == (None, "ann", None)
            await savepoint.rollback_to()
            assert await seen(one) == (None, "ann", None), "not carl, whose settings are back"
            await one.execute("SAVEPOINT by_hand")
            with one.scope(actor="dora"):
                assert await seen(one) == (None, "dora", None)
                await one.execute("ROLLBACK TO SAVEPOINT by_hand")
                assert await seen(one) == (None, "dora", None)
            async with one.connection() as connection:
                with suppress(ZeroDivisionError):
                    async with connection.transaction():
                        with one.scope(actor="eve"):
                            assert tuple(await connection.fetchrow(READ))[1] == "eve"
                        raise ZeroDivisionError
                assert tuple(await connection.fetchrow(READ))[1] == "ann"


async def test_an_aborted_transaction_can_be_rolled_back_to_a_savepoint_in_another_scope(
    one: DatabaseEngine,
):
    async with one.transaction():
        with one.scope(actor="ann"):
            await one.execute("SAVEPOINT before")
            with pytest.raises(StatementRefused):
                await one.fetch("SELECT nonsense")
        with pytest.raises(TransactionAborted):
            await seen(one)
        await one.execute("ROLLBACK TO SAVEPOINT before")
        assert await seen(one) == NOTHING
        with one.scope(actor="bob"):
            assert await seen(one) == (None, "bob", None)


async def test_tasks_started_inside_keep_their_own_scopes(clone: DatabaseEngine):
    async def work(name: str) -> None:
        with clone.scope(actor=name):
            for _ in range(5):
                assert await seen(clone) == (TENANT, name, None)
                await asyncio.sleep(0)

    outliving = []
    with clone.scope(tenant=TENANT):
        await asyncio.gather(*(work(f"actor-{number}") for number in range(20)))
        async with clone.transaction():  # all of them on one connection
            await asyncio.gather(*(work(f"actor-{number}") for number in range(20)))
            assert await seen(clone) == (TENANT, None, None)
        outliving.append(asyncio.create_task(_after(0.05, clone)))
    assert await seen(clone) == NOTHING
    assert await outliving[0] == (TENANT, None, None), "a task keeps the scope it was started in"


async def _after(seconds: float, engine: DatabaseEngine) -> tuple[str | None, ...]:
    await asyncio.sleep(seconds)
    return await seen(engine)


async def test_an_abandoned_generator_leaves_no_scope_behind(clone: DatabaseEngine):
    async def numbers() -> AsyncIterator[int]:
        with clone.scope(tenant=TENANT):
            yield 1
            yield 2

    async for _ in numbers():
        break
    gc.collect()
    await asyncio.sleep(0.05)  # the event loop closes it in a task of its own
    assert clone.current_scope == Scope()
    assert await seen(clone) == NOTHING
    assert await asyncio.create_task(seen(clone)) == NOTHING


async def test_cancelled_statements_leave_no_scope_behind(one: DatabaseEngine):
    async def slow() -> None:
        with one.scope(tenant=TENANT, actor="ann"):
            await one.execute("SELECT pg_sleep(30)")

    for seconds in (0, 0.001, 0.003, 0.05):
        task = asyncio.create_task(slow())
        await asyncio.sleep(seconds)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await seen(one) == NOTHING
    assert one.pool is not None
    assert not one.pool.in_use


async def test_a_leased_connection_carries_the_scope(one: DatabaseEngine):
    with one.scope(tenant=TENANT):
        async with one.connection() as connection:
            assert await connection.fetchval(READ) == TENANT
            await connection.copy_records_to_table("sessions", records=[("c",)], columns=["id"])
            with one.scope(actor="ann"):
                assert tuple(await connection.fetchrow(READ)) == (TENANT, "ann", None)
            statement = await connection.prepare(READ)
            assert await statement.fetchval() == TENANT
    assert await seen(one) == NOTHING
    assert await keys() == ["c"], "the block was committed"


async def test_a_scope_does_not_apply_to_a_connection_leased_before_it(one: DatabaseEngine):
    async with one.connection() as connection:
        with one.scope(tenant=TENANT), pytest.raises(ScopeError, match="leased before"):
            await connection.fetchval(READ)
        assert await connection.fetchval(READ) is None

    async def work(connection: object) -> None:
        with one.scope(tenant=TENANT):
            await connection.fetchval(READ)  # type: ignore[attr-defined]

    with pytest.raises(ScopeError):
        await one.perform(work)


@pytest.mark.parametrize("in_transaction", [True, False])
async def test_a_stream_keeps_the_scope_it_was_created_in(
    one: DatabaseEngine, in_transaction: bool
):
    await one.execute("INSERT INTO sessions (id) SELECT n::text FROM generate_series(1, 9) AS n")
    await one.execute("ALTER TABLE sessions ENABLE ROW LEVEL SECURITY")
    await one.execute("ALTER TABLE sessions FORCE ROW LEVEL SECURITY")
    await one.execute(
        "CREATE POLICY own ON sessions"
        f" USING (current_setting('{TENANT_SETTING}', true) = '{TENANT}')"
    )

    async def read() -> None:
        with one.scope(tenant=TENANT):
            stream = one.stream(ListeningSessionTable.select(), batch=2)
        assert len([row async for row in stream]) == 9
        with one.scope(tenant=OTHER):
            assert [row async for row in one.stream(ListeningSessionTable.select())] == []
        assert await keys() == [], "no rows without a scope"

    if in_transaction:
        async with one.transaction():
            await read()
    else:
        await read()


async def test_replicas_share_the_scope(clone: DatabaseEngine):
    from pydantic import SecretStr

    await reopen(clone, db_replicas=SecretStr(f"reports={clone.url}"))
    with clone.scope(tenant=TENANT):
        assert await seen(clone.replicas["reports"]) == (TENANT, None, None)
    assert await seen(clone.replicas["reports"]) == NOTHING


async def test_engines_have_scopes_of_their_own(clone: DatabaseEngine):
    async with DatabaseEngine(clone.url).running() as other:
        with clone.scope(tenant=TENANT):
            assert await seen(other) == NOTHING


async def test_values_are_literals_whatever_they_contain(one: DatabaseEngine):
    harm = "a'; DROP TABLE sessions; -- \\' \\\\ \" $1 %s \n é 漢 😀"
    for conforming in ("on", "off"):
        async with one.transaction():
            await one.execute(f"SET LOCAL standard_conforming_strings = {conforming}")
            with one.scope(actor=harm):
                assert await one.fetchval(f"SELECT current_setting('{ACTOR_SETTING}')") == harm
    with one.scope(actor=harm):
        assert await one.fetchval(f"SELECT current_setting('{ACTOR_SETTING}')") == harm
    assert await keys() == []


@pytest.mark.parametrize("value", ["", "a\0b", "x" * 201, "\ud800", 7, b"x", True])
def test_invalid_values_are_refused(value: object):
    engine = DatabaseEngine("postgresql://u@h/d")
    for name in ("tenant", "actor", "request_id"):
        with pytest.raises(InvalidValue, match=name) as caught, engine.scope(**{name: value}):  # type: ignore[arg-type]
            pytest.fail("entered")
        assert caught.value.fields == (name,)
        assert "x" * 201 not in str(caught.value)
    assert engine.current_scope == Scope()


async def test_reads_in_a_scope_survive_a_broken_connection(clone: DatabaseEngine):
    await reopen(clone, db_pool_min=3, db_pool_max=3)
    other = DatabaseEngine(clone.url, needs_pool=False)
    with clone.scope(tenant=TENANT):
        for _ in range(5):
            assert clone.pool is not None
            pids = [one.get_server_pid() for one in clone.pool.open_connections()]
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", pids
            )
            assert await seen(clone) == (TENANT, None, None)


async def test_a_write_in_a_scope_that_breaks_before_commit_is_undone(clone: DatabaseEngine):
    with clone.scope(tenant=TENANT), pytest.raises(ConnectionLost):
        await clone.execute(
            "INSERT INTO sessions (id) SELECT 'x' FROM pg_terminate_backend(pg_backend_pid())"
        )
    assert await keys() == []


KILL_AT_COMMIT = """
    CREATE SEQUENCE kills;
    CREATE FUNCTION kill_once() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('kills') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER kill_once AFTER INSERT ON sessions
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION kill_once();
"""


@pytest.mark.parametrize("idempotent", [True, False])
async def test_a_lost_commit_in_a_scope_is_unknown_unless_the_write_is_idempotent(
    clone: DatabaseEngine, idempotent: bool
):
    async with clone.connection() as connection:
        await connection.execute(KILL_AT_COMMIT)
    insert = "INSERT INTO sessions (id) VALUES ($1) ON CONFLICT DO NOTHING"
    with clone.scope(actor="ann"):
        if idempotent:
            assert await clone.execute(insert, "a", idempotent=True) == "INSERT 0 1"
        else:
            with pytest.raises(CommitUnknown):
                await clone.execute(insert, "a")
    assert await keys() == ["a"] * idempotent
