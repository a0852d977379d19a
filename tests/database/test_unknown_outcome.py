"""Writes whose answer is lost in the network while the server executes them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from learner_app.database.dsn import parse_url
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import CommitUnknown, Conflict, ConnectionLost, DatabaseError
from learner_app.listening.repositories import BehavioralEventRepository
from tests.content.factories import add_contents
from tests.database.pools import reopen
from tests.database.sessions import add
from tests.faults.proxy import TcpProxy
from tests.listening.factories import new_event

events = BehavioralEventRepository()

WAITS_FOR_LOCK = """
    SELECT count(*) FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


@pytest.fixture
async def direct(clone: DatabaseEngine) -> AsyncIterator[Any]:
    """Yield a connection that bypasses the proxy."""
    connection = await asyncpg.connect(clone.url)
    yield connection
    await connection.close()


@pytest.fixture
async def proxy(clone: DatabaseEngine, direct: Any) -> AsyncIterator[TcpProxy]:
    """Yield a proxy between the engine and its server."""
    target = parse_url("url", str(clone.url))
    host, port = target.hosts[0], target.ports[0]
    server = Path(host) / f".s.PGSQL.{port}" if host.startswith("/") else (host, port)
    with TcpProxy(server) as proxy:
        before = clone.url
        clone.url = f"postgresql://{target.user}@127.0.0.1:{proxy.port}/{target.database}"
        await reopen(clone)
        yield proxy
        await clone.close_connection_pool()
        clone.url = before
        await clone.start_connection_pool()


@asynccontextmanager
async def answer_lost(
    proxy: TcpProxy, direct: Any, lock: str = "LOCK TABLE sessions"
) -> AsyncIterator[None]:
    """Cut the network while the statement of the block waits for a lock."""

    async def cut() -> None:
        while not await direct.fetchval(WAITS_FOR_LOCK):
            await asyncio.sleep(0.02)
        await asyncio.to_thread(proxy.refuse)

    async with direct.transaction():
        await direct.execute(lock)
        cutting = asyncio.create_task(cut())
        yield
        await cutting


async def settled(direct: Any) -> None:
    """Wait until the server has executed the statements of the lost connections."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> $1"
    async with asyncio.timeout(10):
        while await direct.fetchval(others, direct.get_server_pid()):
            await asyncio.sleep(0.02)


COUNT = "SELECT count(*) FROM behavioral_events WHERE id = 'e1'"


async def record_batch() -> object:
    return await events.record_batch([new_event("e1")])


async def record_ensuring_sessions() -> object:
    return await events.record_batch([new_event("e1")], ensure_sessions=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "stored"),
    [
        (lambda: events.record(new_event("e1")), 1),
        (record_batch, 1),
        (record_ensuring_sessions, 0),  # the server undoes an open transaction
    ],
    ids=["record", "record_batch", "ensure_sessions"],
)
async def test_events_that_may_be_stored_are_never_reported_as_not_stored(
    clone: DatabaseEngine,
    proxy: TcpProxy,
    direct: Any,
    call: Callable[[], Awaitable[object]],
    stored: int,
):
    await add_contents("c1")
    await add("s1")
    await events.record(new_event("e0"))  # prepares the statements
    await events.record_batch([new_event("e0")], ensure_sessions=True)
    with pytest.raises(DatabaseError) as caught:
        async with answer_lost(proxy, direct, "SELECT FROM content FOR UPDATE"):
            await call()
    await settled(direct)
    assert await direct.fetchval(COUNT) == stored
    assert isinstance(caught.value, CommitUnknown) == bool(stored)
    await asyncio.to_thread(proxy.heal)
    await call()
    assert await direct.fetchval(COUNT) == 1


@pytest.mark.parametrize("cut", ["cut_before_commit", "cut_after_commit"])
async def test_a_batch_whose_commit_has_no_answer_reports_its_exact_result(
    clone: DatabaseEngine, proxy: TcpProxy, cut: str
):
    """The server is asked whether the transaction of a large batch was committed."""
    await add_contents("c1")
    await add("s1")
    batch = [new_event(f"e{number}") for number in range(150)]
    getattr(proxy, cut)()
    result = await events.record_batch([*batch, batch[0]])
    assert (result.recorded, result.duplicates, result.failed) == (150, 1, [])
    assert await events.count() == 150


INSERT = "INSERT INTO sessions (id) VALUES ('x') ON CONFLICT DO NOTHING"


async def test_an_idempotent_write_is_unknown_if_its_repetition_reaches_no_server(
    clone: DatabaseEngine, proxy: TcpProxy, direct: Any
):
    with pytest.raises(CommitUnknown) as caught:
        async with answer_lost(proxy, direct):
            await clone.execute(INSERT, idempotent=True)
    assert not caught.value.retry
    await settled(direct)
    assert await direct.fetchval("SELECT count(*) FROM sessions") == 1


async def test_an_idempotent_write_whose_repetition_is_rejected_reports_the_rejection(
    clone: DatabaseEngine, proxy: TcpProxy, direct: Any
):
    async def lose_one_answer() -> None:
        while not await direct.fetchval(WAITS_FOR_LOCK):
            await asyncio.sleep(0.02)
        await asyncio.to_thread(proxy.reset)
        await asyncio.sleep(0.1)
        await other.commit()

    await add("x")
    other = direct.transaction()
    await other.start()
    await direct.execute("LOCK TABLE sessions")
    losing = asyncio.create_task(lose_one_answer())
    with pytest.raises(Conflict):
        await clone.execute("INSERT INTO sessions (id) VALUES ('x')", idempotent=True)
    await losing


async def test_a_read_whose_repetition_reaches_no_server_is_not_unknown(
    clone: DatabaseEngine, proxy: TcpProxy, direct: Any
):
    with pytest.raises(DatabaseError) as caught:
        async with answer_lost(proxy, direct):
            await clone.fetch("SELECT id FROM sessions")
    assert not isinstance(caught.value, CommitUnknown)
    assert caught.value.retry


async def test_a_tracked_unit_that_was_not_committed_is_not_unknown_at_its_deadline(
    clone: DatabaseEngine, proxy: TcpProxy, direct: Any
):
    proxy.cut_before_commit()
    with pytest.raises(ConnectionLost) as caught:
        await clone.run_transaction(lambda: add("x"), track_commit=True, deadline=0.0)
    assert isinstance(caught.value.__cause__, CommitUnknown)
    assert await direct.fetchval("SELECT count(*) FROM sessions") == 0
