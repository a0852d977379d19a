"""A network that loses everything: whatever was under way ends soon, on the server as well."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import DatabaseError
from tests.faults.bench import open_bench
from tests.faults.cluster import Cluster
from tests.faults.load import INSERT_A
from tests.faults.processes import wait_until
from tests.faults.proxy import TcpProxy

pytestmark = pytest.mark.faults

END_SECONDS = 3.0
SESSIONS = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE usename = 'learner' AND state LIKE 'idle in transaction%'"
)
Silence = Callable[[], Awaitable[object]]


async def _statement(engine: DatabaseEngine, silence: Silence) -> None:
    async with engine.transaction():
        await engine.execute(INSERT_A, "lost", "")
        await silence()
        await engine.execute(INSERT_A, "lost", "")


async def _savepoint(engine: DatabaseEngine, silence: Silence) -> None:
    async with engine.transaction():
        await engine.execute(INSERT_A, "lost", "")
        await silence()
        async with engine.transaction():
            pass


async def _release(engine: DatabaseEngine, silence: Silence) -> None:
    async with engine.transaction():
        await engine.execute(INSERT_A, "lost", "")
        async with engine.transaction():
            await silence()


async def _commit(engine: DatabaseEngine, silence: Silence) -> None:
    async with engine.transaction():
        await engine.execute(INSERT_A, "lost", "")
        await silence()


async def _traced_commit(engine: DatabaseEngine, silence: Silence) -> None:
    async with engine.transaction(track_commit=True):
        await engine.execute(INSERT_A, "lost", "")
        await silence()


async def _rollback(engine: DatabaseEngine, silence: Silence) -> None:
    async with engine.transaction() as transaction:
        await engine.execute(INSERT_A, "lost", "")
        await silence()
        await transaction.rollback()


@pytest.mark.parametrize(
    "work",
    [_statement, _commit, _rollback]
    + [
        pytest.param(work, marks=pytest.mark.long)
        for work in (_savepoint, _release, _traced_commit)
    ],
)
@pytest.mark.variants
async def test_ends_here_and_there(
    cluster: Cluster, proxy: TcpProxy, work: Callable[[DatabaseEngine, Silence], Awaitable[None]]
) -> None:
    loop = asyncio.get_running_loop()
    async with open_bench(cluster, proxy) as bench:

        async def silence() -> None:
            await asyncio.to_thread(proxy.black_hole)
            loop.call_later(1.5, lambda: loop.run_in_executor(None, proxy.heal))

        started = loop.time()
        async with asyncio.timeout(20):
            try:
                await work(bench.engine, silence)
            except DatabaseError:
                pass
            else:
                assert work is _rollback
        assert loop.time() - started < 1.5 + END_SECONDS
        await asyncio.to_thread(
            wait_until, lambda: cluster.execute(SESSIONS) == "0", "no session is left", END_SECONDS
        )
        assert cluster.execute("SELECT count(*) FROM acked_a") == "0"
