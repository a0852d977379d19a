"""Slow networks and frozen processes: no evidence of a loss, and what is lost ends all the same."""

import asyncio
import time

import pytest

from learner_app.conf import DB
from learner_app.database.engine import DatabaseEngine
from learner_app.database.health import check_database
from learner_app.errors import CommitUnknown, DatabaseError
from learner_app.operations.migrate import apply_migrations
from learner_app.settings import Settings
from tests.faults.cluster import Cluster
from tests.faults.proxy import TcpProxy

pytestmark = pytest.mark.faults

LONG = [pytest.param(seconds, marks=pytest.mark.long) for seconds in (0.2, 0.5)]
LONG_STATEMENT = "SELECT pg_backend_pid() FROM pg_sleep(9)"


def engine_at(port: int, **settings: object) -> DatabaseEngine:
    engine = DatabaseEngine(f"postgresql://learner@127.0.0.1:{port}/learner_test")
    engine.settings = Settings(**settings)
    return engine


@pytest.mark.parametrize("round_trip", [0.3, *LONG])
@pytest.mark.long
async def test_a_long_statement_survives_a_slow_network(
    cluster: Cluster, proxy: TcpProxy, round_trip: float
) -> None:
    async with engine_at(proxy.port).running() as engine:
        proxy.delay(round_trip / 2)
        assert await engine.fetchval(LONG_STATEMENT) is not None


@pytest.mark.long
@pytest.mark.parametrize("round_trip", [0.3, 0.5])
async def test_a_long_statement_survives_a_network_that_was_always_slow(
    cluster: Cluster, proxy: TcpProxy, round_trip: float
) -> None:
    proxy.delay(round_trip / 2)
    async with engine_at(proxy.port).running() as engine:
        assert await engine.fetchval(LONG_STATEMENT) is not None
        async with engine.transaction():
            assert await engine.fetchval(LONG_STATEMENT) is not None


@pytest.mark.long
async def test_a_long_statement_survives_a_frozen_postmaster(
    cluster: Cluster, proxy: TcpProxy
) -> None:
    async with engine_at(proxy.port).running() as engine:
        cluster.freeze(sessions=False)
        try:
            await engine.fetchval(LONG_STATEMENT)
            assert (await check_database(engine)).database == "up"
        finally:
            cluster.thaw()


async def test_a_lost_flow_is_cut_while_the_server_is_well(
    cluster: Cluster, proxy: TcpProxy
) -> None:
    """The connections of before the hole never move again, the monitoring one included."""
    async with engine_at(proxy.port).running() as engine:
        task = asyncio.create_task(engine.execute("SELECT pg_sleep(0.2), pg_notify('news', '')"))
        await asyncio.sleep(0.1)
        proxy.black_hole()
        await asyncio.sleep(0.2)
        proxy.heal()
        started = time.monotonic()
        with pytest.raises(CommitUnknown):
            await task
        assert time.monotonic() - started < 3


@pytest.mark.parametrize("round_trip", [0.0, 0.3])
@pytest.mark.long
async def test_statements_end_when_everything_is_silent(
    cluster: Cluster, proxy: TcpProxy, round_trip: float
) -> None:
    async with engine_at(proxy.port).running() as engine:
        proxy.delay(round_trip / 2)
        await engine.fetchval("SELECT 1")
        task = asyncio.create_task(engine.execute("SELECT pg_sleep(30)"))
        await asyncio.sleep(round_trip + 0.1)
        proxy.black_hole()
        started = time.monotonic()
        with pytest.raises(DatabaseError):
            await task
        assert time.monotonic() - started < 9


@pytest.mark.long
async def test_a_large_statement_may_take_long_to_send(cluster: Cluster) -> None:
    """The server shows the session as idle until it has received all of a message."""

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source, sink = await asyncio.open_connection(*cluster.address)

        async def upload() -> None:
            while data := await reader.read(50_000):
                sink.write(data)
                if len(data) > 10_000:
                    await asyncio.sleep(0.02)

        uploading = asyncio.create_task(upload())
        while data := await source.read(10_000):
            writer.write(data)
        uploading.cancel()
        writer.close()

    server = await asyncio.start_server(slowly, "127.0.0.1", 0, limit=50_000)
    async with engine_at(server.sockets[0].getsockname()[1]).running() as engine:
        started = time.monotonic()
        text = "x" * 20_000_000
        assert await engine.fetchval("SELECT octet_length($1::text)", text) == len(text)
        assert time.monotonic() - started > 3
    server.close()


async def migrated(cluster: Cluster) -> None:
    url, DB.url = DB.url, cluster.url()
    try:
        async with DB.running():
            await apply_migrations(DB)
    finally:
        DB.url = url


@pytest.mark.parametrize("round_trip", [0.1, 0.3, pytest.param(0.2, marks=pytest.mark.long)])
@pytest.mark.variants
async def test_health_is_ok_in_a_slow_network(
    cluster: Cluster, proxy: TcpProxy, round_trip: float
) -> None:
    """From the first probe on, and while a long statement is watched."""
    await migrated(cluster)
    proxy.delay(round_trip / 2)
    async with engine_at(proxy.port).running() as engine:
        await asyncio.sleep(round_trip * 4)  # a server listens later than its start-up ends
        busy = asyncio.create_task(engine.fetch("SELECT pg_sleep(4)"))
        for _ in range(6):
            started = time.monotonic()
            health = await check_database(engine)
            assert time.monotonic() - started < 1
            assert (health.status, health.pending_migrations) == ("ok", 0)
            await asyncio.sleep(0.3)
        await busy


async def test_health_notices_a_server_that_became_read_only(cluster: Cluster) -> None:
    await migrated(cluster)
    async with engine_at(cluster.port).running() as engine:
        assert (await check_database(engine)).status == "ok"
        cluster.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        cluster.execute("SELECT pg_reload_conf()")
        await asyncio.sleep(0.3)
        assert (await check_database(engine)).reason == "read_only"
        cluster.execute("ALTER SYSTEM RESET default_transaction_read_only")
        cluster.execute("SELECT pg_reload_conf()")
        await asyncio.sleep(0.3)
        assert (await check_database(engine)).status == "ok"


async def test_health_survives_the_end_of_its_connection(cluster: Cluster) -> None:
    await migrated(cluster)
    async with engine_at(cluster.port).running() as engine:
        for _ in range(5):
            assert cluster.terminate_backends()
            assert (await check_database(engine)).status == "ok"
            await asyncio.sleep(0.2)


@pytest.mark.long
async def test_health_waits_for_no_lock_on_the_journal(cluster: Cluster) -> None:
    """A locked journal answers with an error in time, and cuts no healthy statement."""
    await migrated(cluster)
    async with engine_at(cluster.port).running() as engine:
        async with engine.transaction():
            await engine.execute("LOCK TABLE migration")
            busy = asyncio.create_task(engine_at_work(cluster))
            for _ in range(12):
                started = time.monotonic()
                assert (await check_database(engine)).status == "unavailable"
                assert time.monotonic() - started < 1
            await engine.execute("SELECT 1")
        await busy
        assert (await check_database(engine)).status == "ok"


async def engine_at_work(cluster: Cluster) -> None:
    async with engine_at(cluster.port).running() as engine:
        await engine.fetchval("SELECT pg_sleep(7)")


async def test_health_writes_nothing_without_the_privilege_to_create(cluster: Cluster) -> None:
    cluster.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC, learner")
    cluster.execute("ALTER DATABASE learner_test OWNER TO postgres")
    async with engine_at(cluster.port).running() as engine:
        health = await check_database(engine)
        assert (health.status, health.reason) == ("warn", "migrations_pending")
        assert not await engine.fetchval(
            "SELECT count(*) FROM pg_class WHERE relname = 'migration'"
        )
        cluster.execute("CREATE TABLE migration (app_name text, name text, ran_on timestamp)")
        assert (await check_database(engine)).database == "up"


@pytest.mark.long
async def test_health_serves_hundreds_of_probes_a_second(cluster: Cluster) -> None:
    await migrated(cluster)
    async with engine_at(cluster.port).running() as engine:
        started, answers = time.monotonic(), 0

        async def probe() -> None:
            nonlocal answers
            while time.monotonic() - started < 2:
                assert (await check_database(engine)).status == "ok"
                answers += 1

        await asyncio.gather(*(probe() for _ in range(20)))
        assert answers > 2 * 600
