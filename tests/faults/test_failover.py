"""Failover from a primary that is frozen or silent, measured from the promotion."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.database.health import check_database
from learner_app.errors import DatabaseError
from learner_app.settings import Settings
from tests.faults.cluster import Cluster, Replicated
from tests.faults.proxy import TcpProxy

pytestmark = pytest.mark.faults

WRITERS = 8
ACKNOWLEDGED_SECONDS = 2.0
TABLE = "CREATE TABLE notes (id text PRIMARY KEY); ALTER TABLE notes OWNER TO learner"


class Acknowledged:
    """Keys that the writers were told to be committed, with the time."""

    def __init__(self, engine: DatabaseEngine) -> None:
        self.keys: dict[str, float] = {}
        self.is_stopped = False
        self._engine = engine

    async def write(self, number: int) -> None:
        serial = 0
        while not self.is_stopped:
            serial += 1
            key = f"{number}-{serial}"
            try:
                if number % 2:
                    await self._engine.execute("INSERT INTO notes VALUES ($1)", key)
                else:
                    async with self._engine.transaction():
                        await self._engine.execute("INSERT INTO notes VALUES ($1)", key)
            except DatabaseError:
                await asyncio.sleep(0.02)
                continue
            self.keys[key] = time.monotonic()
            await asyncio.sleep(0.01)


@asynccontextmanager
async def writers(*ports: int, attributes: str = "primary") -> AsyncIterator[Acknowledged]:
    hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
    url = f"postgresql://learner@{hosts}/learner_test?target_session_attrs={attributes}"
    engine = DatabaseEngine(url)
    engine.settings = Settings(db_pool_max=5)
    async with engine.running():
        acknowledged = Acknowledged(engine)
        tasks = [asyncio.create_task(acknowledged.write(n)) for n in range(WRITERS)]
        await asyncio.sleep(0.5)
        assert acknowledged.keys
        yield acknowledged
        acknowledged.is_stopped = True
        await asyncio.wait_for(asyncio.gather(*tasks), 15)
        health = await check_database(engine)
        assert (health.status, health.reason) == ("warn", "migrations_pending")


async def take_over(replica: Cluster) -> float:
    """Promote, drop the wait for a standby, and return the time of the promotion."""
    await asyncio.to_thread(replica.promote)
    promoted = time.monotonic()
    replica.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
    replica.execute("SELECT pg_reload_conf()")
    return promoted


def first_after(acknowledged: Acknowledged, moment: float) -> float:
    """Seconds to the first acknowledgement after the moment."""
    return min((at - moment for at in acknowledged.keys.values() if at > moment), default=99.0)


def assert_all_there(replica: Cluster, acknowledged: Acknowledged) -> None:
    rows = set(replica.execute("SELECT id FROM notes").splitlines())
    assert set(acknowledged.keys) - rows == set()


@pytest.mark.parametrize(
    "silence", [0.1, 3.0, *(pytest.param(one, marks=pytest.mark.long) for one in (1.0, 6.0))]
)
@pytest.mark.long
async def test_writes_go_on_after_a_frozen_primary_was_replaced(
    replicated: Replicated, silence: float
) -> None:
    primary, replica = replicated
    primary.execute(TABLE)
    async with writers(primary.port, replica.port) as acknowledged:
        primary.freeze(sessions=True)
        frozen = time.monotonic()
        try:
            await asyncio.sleep(silence)
            promoted = await take_over(replica)
            await asyncio.sleep(3)
        finally:
            primary.thaw()
        took = first_after(acknowledged, promoted)
        print(f"frozen {promoted - frozen:.1f} s, acknowledged {took:.2f} s after promotion")
        assert took < ACKNOWLEDGED_SECONDS
        await asyncio.sleep(1.5)  # the old primary answers again and takes itself for a primary
    assert_all_there(replica, acknowledged)


@pytest.mark.long
async def test_writes_go_on_after_a_black_holed_primary_was_replaced(
    replicated: Replicated,
) -> None:
    primary, replica = replicated
    primary.execute(TABLE)
    with TcpProxy(primary.address) as proxy:
        async with writers(proxy.port, replica.port, attributes="read-write") as acknowledged:
            proxy.black_hole()
            await asyncio.sleep(2)
            promoted = await take_over(replica)
            await asyncio.sleep(3)
            assert first_after(acknowledged, promoted) < ACKNOWLEDGED_SECONDS
    assert_all_there(replica, acknowledged)


@pytest.mark.long
async def test_an_old_primary_that_comes_back_gets_no_write(cluster: Cluster) -> None:
    """With an asynchronous standby it would acknowledge what nobody ever sees again."""
    cluster.execute(TABLE)
    replica = cluster.replica()
    try:
        cluster.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        cluster.execute("SELECT pg_reload_conf()")
        async with writers(cluster.port, replica.port) as acknowledged:
            cluster.freeze(sessions=True)
            try:
                await asyncio.sleep(1)
                promoted = await take_over(replica)
                await asyncio.sleep(2.5)
            finally:
                cluster.thaw()
            await asyncio.sleep(4)
            assert first_after(acknowledged, promoted) < ACKNOWLEDGED_SECONDS
        later = {key for key, at in acknowledged.keys.items() if at > promoted + 2}
        assert later - set(replica.execute("SELECT id FROM notes").splitlines()) == set()
        assert len(later) > WRITERS
    finally:
        replica.remove()
