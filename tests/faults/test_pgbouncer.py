"""PgBouncer in transaction mode: nothing of ours needs a session of its own."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.database.health import check_database
from learner_app.errors import Conflict, DatabaseRefused, SessionStateRefused, SettingsError
from learner_app.settings import Settings
from tests.faults.cluster import Cluster
from tests.faults.pgbouncer import LIMITS, PgBouncer

pytestmark = pytest.mark.faults


def through(url: str, **settings: object) -> DatabaseEngine:
    engine = DatabaseEngine(url)
    engine.settings = Settings(db_pgbouncer=True, **settings)
    return engine


@pytest.fixture
def limited(cluster: Cluster) -> Cluster:
    for name, value in LIMITS.items():
        cluster.execute(f"ALTER ROLE learner SET {name} = '{value}'")
    cluster.execute("CREATE TABLE notes (id int PRIMARY KEY, text text)")
    cluster.execute("ALTER TABLE notes OWNER TO learner")
    return cluster


@pytest.fixture
async def engine(limited: Cluster, pgbouncer_program: object) -> AsyncIterator[DatabaseEngine]:
    with PgBouncer(limited, pool_size=3) as bouncer:
        async with through(bouncer.url).running() as engine:
            yield engine


async def test_many_clients_on_few_sessions(engine: DatabaseEngine):
    """Statements, transactions and errors of 20 tasks over 20 connections and 3 sessions."""

    async def work(number: int) -> None:
        for step in range(10):
            key = number * 100 + step
            async with engine.transaction():
                await engine.execute("INSERT INTO notes VALUES ($1, $2)", key, f"text {key}")
                async with engine.transaction():
                    await engine.execute("UPDATE notes SET text = $2 WHERE id = $1", key, "new")
            with pytest.raises(Conflict):
                await engine.execute("INSERT INTO notes (id) VALUES ($1)", key)
            assert await engine.fetchval("SELECT text FROM notes WHERE id = $1", key) == "new"
            assert await engine.fetch("SELECT $1::jsonb, $2::text[]", "{}", ["a"])

    await asyncio.gather(*(work(number) for number in range(20)))
    assert await engine.fetchval("SELECT count(*) FROM notes WHERE text = 'new'") == 200
    assert await engine.fetchval("SELECT count(*) FROM pg_prepared_statements") == 0


async def test_scopes_do_not_reach_other_clients_of_a_server_connection(engine: DatabaseEngine):
    """30 tasks with and without a scope over 3 sessions."""
    read = "SELECT NULLIF(current_setting('app.current_tenant_id', true), '')"

    async def work(number: int) -> None:
        tenant = f"tenant-{number}" if number % 3 else None
        with engine.scope(tenant=tenant):
            for step in range(10):
                assert await engine.fetchval(read) == tenant
                async with engine.transaction():
                    assert await engine.fetchval(read) == tenant
                    await engine.execute("INSERT INTO notes VALUES ($1)", number * 100 + step)

    await asyncio.gather(*(work(number) for number in range(30)))
    assert await engine.fetchval("SELECT count(*) FROM notes") == 300


@pytest.mark.parametrize(
    "statement",
    [
        "SET statement_timeout = 1",
        "LISTEN news",
        "SELECT pg_advisory_lock(1)",
        "CREATE TEMP TABLE t()",
    ],
)
@pytest.mark.variants
async def test_session_state_is_refused(engine: DatabaseEngine, statement: str):
    with pytest.raises(SessionStateRefused, match="SET LOCAL"):
        await engine.execute(statement)
    async with engine.transaction():
        await engine.execute("SET LOCAL statement_timeout = '1s'")
        await engine.fetch("SELECT pg_advisory_xact_lock(1)")


async def test_a_role_without_time_outs_is_refused(cluster: Cluster, pgbouncer_program: object):
    with PgBouncer(cluster) as bouncer:
        engine = through(bouncer.url)
        async with engine.running():
            with pytest.raises(DatabaseRefused) as caught:
                await engine.fetch("SELECT 1")
        advice = re.findall(r'(ALTER ROLE "learner" SET \w+ = \'\w+\')', str(caught.value))
        assert len(advice) == 3
        assert "\n" not in str(caught.value)
        for statement in advice:
            cluster.execute(statement)
        bouncer.execute_admin("RECONNECT")
        async with through(bouncer.url).running() as engine:
            assert await engine.fetchval("SHOW statement_timeout") == "54s"
        async with through(bouncer.url, db_command_timeout=5).running() as engine:
            with pytest.raises(DatabaseRefused, match="statement_timeout = '4500ms'"):
                await engine.fetch("SELECT 1")


async def test_health_goes_through_it(engine: DatabaseEngine):
    health = await check_database(engine)
    assert health.database == "up"
    assert health.reason == "migrations_pending"


def test_settings_in_the_url_are_refused():
    engine = through("postgresql://u@h/d?search_path=x")
    with pytest.raises(SettingsError, match="search_path"):
        _ = engine.connections.connector


async def test_a_restarted_bouncer_is_met_again(limited: Cluster, pgbouncer_program: object):
    with PgBouncer(limited, pool_size=3) as bouncer:
        async with through(bouncer.url).running() as engine:
            await engine.execute("INSERT INTO notes VALUES (1)")
            await asyncio.to_thread(bouncer.restart)
            await engine.execute("INSERT INTO notes VALUES (2)")
            await asyncio.to_thread(limited.restart)
            async with asyncio.timeout(10):
                while await outcome(engine) != "done":
                    await asyncio.sleep(0.05)
            assert await engine.fetchval("SELECT count(*) FROM notes WHERE id < 3") == 2


async def outcome(engine: DatabaseEngine) -> str:
    from learner_app.errors import DatabaseError

    try:
        await engine.execute("INSERT INTO notes VALUES (3)")
    except Conflict:
        return "done"
    except DatabaseError as error:
        return str(error)
    return "done"


async def test_a_wrong_password_is_final(pgbouncer_program: object, debian_15: object):
    with Cluster(password="right") as cluster, PgBouncer(cluster) as bouncer:
        engine = through(bouncer.url.replace("right", "wrong"))
        async with engine.running():
            with pytest.raises(DatabaseRefused, match="user and password"):
                await engine.fetch("SELECT 1")
