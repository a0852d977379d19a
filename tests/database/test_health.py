"""Health check of working, silent, unreachable and busy databases."""

import asyncio

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.database.health import check_database
from learner_app.schema.pending import declared_migrations
from tests.database.pools import reopen

CANARY = "canary-hunter2"


async def test_a_working_database_is_ok(clone: DatabaseEngine):
    assert (await check_database()).pool == (await check_database(clone)).pool
    health = await check_database(clone)
    assert (health.status, health.database, health.pending_migrations) == ("ok", "up", 0)
    assert health.pool is not None
    assert health.pool.max == clone.settings.db_pool_max
    assert health.pool.in_use == 0
    assert health.time.tzinfo is not None


async def test_answers_while_the_pool_is_exhausted(clone: DatabaseEngine):
    await clone.close_connection_pool()
    clone.settings.db_pool_max = 1
    await clone.start_connection_pool()
    async with clone.transaction():
        health = await check_database(clone)
    assert (health.database, health.status) == ("up", "unavailable")
    assert health.reason == "pool_exhausted"
    assert health.pool is not None
    assert health.pool.in_use == 1


async def test_counts_pending_migrations(empty_database: DatabaseEngine):
    health = await check_database(empty_database)
    assert (health.status, health.reason) == ("warn", "migrations_pending")
    assert health.database == "up"
    assert health.pending_migrations == len(declared_migrations())


@pytest.mark.parametrize("silent", [True, False])
async def test_fault_is_reported_within_a_second(silent: bool):
    """A server that accepts connections without answering, and a port that refuses them."""
    hold = asyncio.Event()

    async def say_nothing(_reader: object, writer: asyncio.StreamWriter) -> None:
        await hold.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if not silent:
        server.close()
        await server.wait_closed()
    engine = DatabaseEngine(f"postgresql://someone:{CANARY}@127.0.0.1:{port}/nothing")
    loop = asyncio.get_running_loop()
    started = loop.time()
    health = await check_database(engine)
    assert loop.time() - started < 1
    assert (health.status, health.reason) == (
        "unavailable",
        "timeout" if silent else "unreachable",
    )
    assert (health.database, health.pending_migrations) == ("down", None)
    assert CANARY not in repr(health)
    hold.set()
    server.close()


@pytest.mark.slow
async def test_concurrent_probes_open_no_connection(clone: DatabaseEngine):
    sessions = "SELECT sum(sessions) FROM pg_stat_database WHERE datname = current_database()"
    before = await settled(clone, sessions)
    for _ in range(20):
        found = await asyncio.gather(*(check_database(clone) for _ in range(50)))
        assert {health.status for health in found} == {"ok"}
    assert await settled(clone, sessions) == before


async def settled(engine: DatabaseEngine, query: str) -> object:
    """Query statistics after the delay with which the server publishes them."""
    await engine.execute("SELECT pg_stat_force_next_flush()")
    await asyncio.sleep(1.5)
    return await engine.fetchval(query)


async def test_a_busy_pool_is_not_reported_as_exhausted(clone: DatabaseEngine):
    """All connections are always in use, but they are released again and again."""
    await reopen(clone, db_pool_max=2)
    stop = asyncio.Event()

    async def work() -> None:
        while not stop.is_set():
            await clone.execute("SELECT pg_sleep(0.05)")

    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(work())
        await asyncio.sleep(0.2)
        found = [await check_database(clone) for _ in range(5)]
        stop.set()
    assert {health.status for health in found} == {"ok"}
    assert max(health.pool.waiting for health in found) > 0


async def test_a_refused_login_is_unreachable(clone: DatabaseEngine):
    engine = DatabaseEngine(f"{clone.url}_missing")
    assert (await check_database(engine)).reason == "unreachable"
