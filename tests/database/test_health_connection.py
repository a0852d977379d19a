"""Connection of the health check, which stays open between probes, under faults."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from learner_app.database import health as module
from learner_app.database.engine import DatabaseEngine
from learner_app.database.health import DatabaseHealth, check_database
from learner_app.settings import Settings
from learner_app.testing.servers import TestServer, run_in_thread
from tests.database.tcp_server import start_tcp_server
from tests.faults.proxy import TcpProxy

NAME = "health_probe"
LIMIT_SECONDS = 1.0
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name = $1 ORDER BY pid"
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"


async def checked(engine: DatabaseEngine) -> DatabaseHealth:
    """Return the health after asserting that the check kept its limit."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    health = await check_database(engine)
    assert loop.time() - started < LIMIT_SECONDS
    return health


async def sessions(admin: DatabaseEngine) -> list[int]:
    return [row["pid"] for row in await admin.fetch(SESSIONS, NAME)]


def engine_of(url: str, **settings: object) -> DatabaseEngine:
    engine = DatabaseEngine(url)
    engine.settings = Settings(db_application_name=NAME, **settings)
    return engine


@pytest.fixture
async def engine(clone: DatabaseEngine) -> AsyncIterator[DatabaseEngine]:
    """An engine without a pool."""
    engine = engine_of(clone.url)
    yield engine
    module._probes.pop(engine, None)
    await clone.fetch(TERMINATE, NAME)


async def test_checks_without_a_pool_share_one_session(clone, engine: DatabaseEngine):
    assert (await checked(engine)).status == "ok"
    first = await sessions(clone)
    found = await asyncio.gather(*(checked(engine) for _ in range(20)))
    assert {health.status for health in found} == {"ok"}
    assert (await checked(engine)).status == "ok"
    assert await sessions(clone) == first
    assert len(first) == 1


async def test_concurrent_checks_are_one_and_later_ones_are_another(engine: DatabaseEngine):
    one, other = await asyncio.gather(check_database(engine), check_database(engine))
    assert one is other
    assert await check_database(engine) is not one


async def test_terminated_session_is_replaced_within_the_same_check(clone, engine):
    await checked(engine)
    for _ in range(3):
        before = await sessions(clone)
        assert await clone.fetch(TERMINATE, NAME)
        assert (await checked(engine)).status == "ok"
        assert await sessions(clone) != before


async def test_another_target_is_used_by_the_next_check(clone, engine: DatabaseEngine):
    assert (await checked(engine)).status == "ok"
    url = engine.url
    engine.url = f"{url}_missing"
    assert (await checked(engine)).reason == "unreachable"
    engine.url = url
    assert (await checked(engine)).status == "ok"
    assert len(await sessions(clone)) == 1


async def test_session_follows_changed_settings(clone, engine: DatabaseEngine):
    await checked(engine)
    before = await sessions(clone)
    engine.settings = Settings(db_application_name=NAME)
    assert (await checked(engine)).status == "ok"
    after = await sessions(clone)
    assert len(after) == 1
    assert after != before


async def test_session_of_full_age_is_replaced(clone: DatabaseEngine):
    engine = engine_of(clone.url, db_pool_age=0.1)
    await checked(engine)
    before = await sessions(clone)
    await asyncio.sleep(0.2)
    assert (await checked(engine)).status == "ok"
    assert await sessions(clone) != before
    await clone.fetch(TERMINATE, NAME)


async def test_unused_session_is_closed(clone, engine: DatabaseEngine, monkeypatch):
    monkeypatch.setattr(module, "KEEP_SECONDS", 0.2)
    await checked(engine)
    assert await sessions(clone)
    await asyncio.sleep(0.1)
    await checked(engine)
    await asyncio.sleep(0.15)
    assert await sessions(clone), "the second check has used it"
    async with asyncio.timeout(5):
        while await sessions(clone):
            await asyncio.sleep(0.02)


def test_event_loop_that_ends_closes_the_connection(main_server: TestServer, recwarn):
    engine = engine_of(main_server.url("postgres"))
    for _ in range(2):  # each in an event loop of its own
        assert run_in_thread(check_database(engine)).database == "up"
        assert module._probes[engine]._kept._connection.is_closed()
    module._probes.pop(engine)
    gc.collect()
    assert [str(one.message) for one in recwarn if one.category is ResourceWarning] == []


@pytest.fixture(params=["with a pool", "without a pool"])
async def proxied(
    request: pytest.FixtureRequest, clone: DatabaseEngine
) -> AsyncIterator[tuple[TcpProxy, DatabaseEngine]]:
    """A proxy in front of the server, and an engine that connects to it."""
    target = clone.target
    host, port = target.hosts[0], target.ports[0]
    address = Path(host, f".s.PGSQL.{port}") if host.startswith("/") else (host, port)
    with TcpProxy(address) as proxy:
        engine = engine_of(f"postgresql://{target.user}@127.0.0.1:{proxy.port}/{target.database}")
        async with AsyncExitStack() as stack:
            if request.param == "with a pool":
                await stack.enter_async_context(engine.running())
            assert (await checked(engine)).status == "ok"
            yield proxy, engine
        module._probes.pop(engine, None)
    await clone.fetch(TERMINATE, NAME)


async def until_ok(engine: DatabaseEngine, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while (await checked(engine)).status != "ok":
            await asyncio.sleep(0.05)


async def test_server_that_is_down_between_probes(proxied):
    proxy, engine = proxied
    proxy.refuse()
    assert (await checked(engine)).reason == "unreachable"
    assert (await checked(engine)).database == "down"
    proxy.heal()
    assert (await checked(engine)).status == "ok"


async def test_reset_connections_are_replaced_within_the_same_check(proxied):
    proxy, engine = proxied
    proxy.reset()
    assert (await checked(engine)).status == "ok"


@pytest.mark.slow
async def test_network_that_drops_packets(proxied):
    proxy, engine = proxied
    proxy.black_hole()
    found = [await checked(engine) for _ in range(3)]
    assert {health.reason for health in found} == {"timeout"}
    assert {health.database for health in found} == {"down"}
    proxy.heal()
    await until_ok(engine, seconds=2)


async def test_connection_that_the_network_forgot_between_probes(proxied):
    """The server is reachable, but packets of the connections of before are lost."""
    proxy, engine = proxied
    proxy.black_hole()
    proxy.heal()
    await until_ok(engine, seconds=2)


@pytest.mark.slow
@pytest.mark.parametrize("has_pool", [True, False])
async def test_changed_password(has_pool: bool):
    """Open sessions stay usable; new ones are refused until the settings have the password."""
    server, tcp = await asyncio.to_thread(start_tcp_server, "localhost", encrypted=False)
    engine = tcp.engine(db_application_name=NAME)
    try:
        async with AsyncExitStack() as stack:
            if has_pool:
                await stack.enter_async_context(engine.running())
            assert (await checked(engine)).database == "up"
            run_in_thread(server._execute("ALTER ROLE keeper PASSWORD 'other'"))
            assert (await checked(engine)).database == "up"
            run_in_thread(server._execute(TERMINATE.replace("$1", f"'{NAME}'")))
            assert (await checked(engine)).reason == "unreachable"
            engine.url = engine.url.replace("hunter2canary", "other")
            assert (await checked(engine)).database == "up"
    finally:
        await asyncio.to_thread(server.stop)


async def test_exhausted_pool_is_reported_on_the_open_connection(clone: DatabaseEngine):
    engine = engine_of(clone.url, db_pool_max=1)
    async with engine.running():
        before = await sessions(clone)
        async with engine.transaction():
            await engine.fetch("SELECT 1")
            health = await checked(engine)
            assert (health.database, health.reason) == ("up", "pool_exhausted")
        assert (await checked(engine)).status == "ok"
        assert await sessions(clone) == before
