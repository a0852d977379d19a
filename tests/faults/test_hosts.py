"""Several hosts: silent ones, standbys, failovers; and commits that nobody confirmed."""

import asyncio
import logging
import time

import pytest

from learner_app.database.connector import Connector
from learner_app.database.dsn import parse_url
from learner_app.database.engine import DatabaseEngine
from learner_app.database.health import check_database
from learner_app.errors import (
    CommitUnknown,
    DatabaseError,
    DatabaseReadOnly,
    DatabaseUnavailable,
    LearnerError,
)
from learner_app.settings import Settings
from tests.faults.cluster import Cluster, Replicated
from tests.faults.proxy import TcpProxy
from tests.ports import free_port

pytestmark = pytest.mark.faults


def url_of(*ports: int, attributes: str = "any") -> str:
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    return f"postgresql://learner@{hosts}/learner_test?target_session_attrs={attributes}"


def engine_of(*ports: int, attributes: str = "any", **settings: object) -> DatabaseEngine:
    engine = DatabaseEngine(url_of(*ports, attributes=attributes))
    engine.settings = Settings(**settings)
    return engine


def notes(cluster: Cluster) -> None:
    cluster.execute("CREATE TABLE notes (id int PRIMARY KEY)")
    cluster.execute("ALTER TABLE notes OWNER TO learner")


async def test_a_silent_first_host_costs_a_quarter_of_a_second(cluster: Cluster, proxy: TcpProxy):
    proxy.black_hole()
    url = url_of(proxy.port, cluster.port)
    connector = Connector(parse_url("url", url), Settings())
    took = []
    for _ in range(3):
        started = time.monotonic()
        connection = await connector.connect_for_pool()
        took.append(time.monotonic() - started)
        assert await connection.fetchval("SELECT inet_server_port()") == cluster.port
        await connection.close()
    assert 0.2 <= took[0] < 0.8, "the second one is tried a quarter of a second later"
    assert max(took[1:]) < 0.2, "and the second time it comes last"


async def test_health_is_in_time_with_a_silent_first_host(cluster: Cluster, proxy: TcpProxy):
    proxy.black_hole()
    engine = engine_of(proxy.port, cluster.port)
    started = time.monotonic()
    health = await check_database(engine)
    assert time.monotonic() - started < 1
    assert (health.database, health.reason) == ("up", "migrations_pending")


@pytest.mark.parametrize(
    "attributes", ["primary", "read-write", "standby", "prefer-standby", "any"]
)
@pytest.mark.variants
async def test_the_right_one_is_found(replicated: Replicated, attributes: str):
    ports = (replicated.replica.port, replicated.primary.port)
    async with engine_of(free_port(), *ports, attributes=attributes).running() as engine:
        found = await engine.fetchval("SELECT pg_is_in_recovery()")
    assert found == (attributes in ("standby", "prefer-standby", "any"))


async def test_no_host_that_fits_is_read_only(replicated: Replicated):
    engine = engine_of(replicated.replica.port, attributes="primary")
    health = await check_database(engine)
    assert (health.status, health.reason, health.database) == ("unavailable", "read_only", "up")
    async with engine.running():
        with pytest.raises(DatabaseReadOnly, match="no host is primary"):
            await engine.fetch("SELECT 1")
    health = await check_database(engine_of(replicated.replica.port))
    assert health.reason == "read_only"


async def test_several_hosts_that_are_away_are_one_line(caplog):
    one, two = free_port(), free_port()
    engine = engine_of(one, two)
    async with engine.running():
        with pytest.raises(DatabaseUnavailable) as caught:
            await engine.fetch("SELECT 1")
    assert f":{one}," in str(caught.value)
    assert f":{two}/" in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_the_pool_leaves_a_demoted_server(replicated: Replicated):
    """Demoted without a restart, so that all connections go on living and reading."""
    primary, replica = replicated
    notes(primary)
    ports = (primary.port, replica.port)
    async with engine_of(*ports, attributes="read-write", db_pool_max=5).running() as engine:
        held = [await engine.connections.acquire() for _ in range(5)]
        for connection in held:
            await engine.connections.release(connection)
        primary.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        primary.execute("SELECT pg_reload_conf()")
        replica.promote()
        replica.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        replica.execute("SELECT pg_reload_conf()")

        async def write() -> None:
            await engine.execute("INSERT INTO notes VALUES (1)")

        await engine.run_transaction(write)
        found = await asyncio.gather(*(engine.fetchval("SELECT inet_server_port()") for _ in ports))
        assert set(found) == {replica.port}
    assert replica.execute("SELECT count(*) FROM notes").strip() == "1"


async def test_a_failover_is_survived(replicated: Replicated):
    primary, replica = replicated
    notes(primary)
    ports = (primary.port, replica.port)
    async with engine_of(*ports, attributes="primary").running() as engine:
        await engine.execute("INSERT INTO notes VALUES (1)")
        await asyncio.to_thread(primary.kill)
        await asyncio.to_thread(replica.promote)
        replica.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        replica.execute("SELECT pg_reload_conf()")
        ended = time.monotonic()
        while not await works(engine):
            assert time.monotonic() - ended < 3
        assert time.monotonic() - ended < 1
        assert await engine.fetchval("SELECT count(*) FROM notes WHERE id = 1") == 1


async def works(engine: DatabaseEngine) -> bool:
    try:
        await engine.execute("INSERT INTO notes VALUES (2) ON CONFLICT DO NOTHING", idempotent=True)
    except DatabaseError:
        return False
    return True


async def test_a_commit_that_the_standby_did_not_confirm_is_unknown(replicated: Replicated):
    """The server answers COMMIT then, with a warning: a failover would lose the row."""
    primary, replica = replicated
    notes(primary)
    replica.stop()
    async with engine_of(primary.port).running() as engine:

        async def in_transaction() -> None:
            async with engine.transaction():
                await engine.execute("INSERT INTO notes VALUES (1)")

        for work in (in_transaction(), engine.execute("INSERT INTO notes VALUES (2)")):
            task = asyncio.create_task(work)
            while not await asyncio.to_thread(cancel_waiting_commits, primary):
                await asyncio.sleep(0.05)
            with pytest.raises(CommitUnknown, match="standby"):
                await task
        assert await engine.fetchval("SELECT count(*) FROM notes") == 2


def cancel_waiting_commits(primary: Cluster) -> bool:
    found = primary.execute(
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    )
    return "t" in found


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_lost_commit_is_unknown_and_can_be_found_out(
    cluster: Cluster, proxy: TcpProxy, moment: str
):
    notes(cluster)
    async with engine_of(proxy.port).running() as engine:
        getattr(proxy, f"cut_{moment}_commit")()
        with pytest.raises(CommitUnknown) as caught:
            async with engine.transaction(track_commit=True):
                await engine.execute("INSERT INTO notes VALUES (1)")
        assert not caught.value.retry
        assert caught.value.transaction_id is not None
        committed = await engine.was_committed(caught.value.transaction_id)
        assert committed is (moment == "after")
        assert cluster.execute("SELECT count(*) FROM notes").strip() == str(int(committed))

        getattr(proxy, f"cut_{moment}_commit")()
        with pytest.raises(CommitUnknown) as caught:
            async with engine.transaction():
                await engine.execute("INSERT INTO notes VALUES (2)")
        assert caught.value.transaction_id is None


@pytest.mark.parametrize("track_commit", [True, False])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.variants
async def test_a_unit_is_repeated_after_a_lost_commit_only_when_it_was_not_done(
    cluster: Cluster, proxy: TcpProxy, moment: str, track_commit: bool
):
    notes(cluster)
    runs = 0
    async with engine_of(proxy.port).running() as engine:

        async def unit() -> int:
            nonlocal runs
            runs += 1
            await engine.execute("INSERT INTO notes SELECT coalesce(max(id), 0) + 1 FROM notes")
            return runs

        getattr(proxy, f"cut_{moment}_commit")()
        if track_commit:
            assert await engine.run_transaction(unit, track_commit=True) == runs
            assert runs == (2 if moment == "before" else 1)
            assert cluster.execute("SELECT count(*) FROM notes").strip() == "1"
        else:
            with pytest.raises(CommitUnknown):
                await engine.run_transaction(unit)
            assert runs == 1


async def test_a_lost_commit_that_only_read_is_no_question(cluster: Cluster, proxy: TcpProxy):
    async with engine_of(proxy.port).running() as engine:
        proxy.cut_before_commit()
        with pytest.raises(DatabaseUnavailable):
            async with engine.transaction(read_only=True):
                await engine.fetch("SELECT 1")


async def test_it_starts_without_the_database_and_finds_it(cluster: Cluster, caplog):
    cluster.stop()
    engine = engine_of(cluster.port)
    with caplog.at_level(logging.INFO):
        async with engine.running():
            assert "starting without the database" in caplog.text
            with pytest.raises(DatabaseUnavailable):
                await engine.fetch("SELECT 1")
            await asyncio.to_thread(cluster.start)
            started = time.monotonic()
            assert await engine.fetchval("SELECT 1") == 1
            assert time.monotonic() - started < 1
    attempts = [record.getMessage() for record in caplog.records if "(attempt" in record.msg]
    assert all(f"learner@127.0.0.1:{cluster.port}/learner_test" in line for line in attempts)
    assert "attempt 1, next in" in attempts[0]
    assert "connected (attempt" in attempts[-1]


async def test_a_request_does_not_wait_for_a_server_that_is_away():
    async with engine_of(free_port()).running() as engine:
        started = time.monotonic()
        found = await asyncio.gather(
            *(engine.fetch("SELECT 1") for _ in range(30)), return_exceptions=True
        )
        assert time.monotonic() - started < 1.5
    assert all(isinstance(error, LearnerError) and error.retry for error in found)


async def test_a_request_does_not_wait_for_a_server_that_is_silent(
    cluster: Cluster, proxy: TcpProxy
):
    proxy.black_hole()
    async with engine_of(proxy.port).running() as engine:
        started = time.monotonic()
        found = await asyncio.gather(
            *(engine.fetch("SELECT 1") for _ in range(30)), return_exceptions=True
        )
        assert time.monotonic() - started < 1.5
        assert {type(error) for error in found} == {DatabaseUnavailable}
        proxy.heal()
        started = time.monotonic()
        assert await engine.fetchval("SELECT 1") == 1
        assert time.monotonic() - started < 1
