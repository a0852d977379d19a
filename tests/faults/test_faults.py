"""Twenty writers and a health probe, while everything that can go wrong does."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from learner_app.conf import DB
from learner_app.operations.migrate import apply_migrations
from learner_app.testing.servers import ROLE
from tests.faults import harm
from tests.faults.bench import Fault, open_bench, run_round
from tests.faults.cluster import Cluster
from tests.faults.load import TABLES
from tests.faults.pgbouncer import PgBouncer
from tests.faults.proxy import TcpProxy
from tests.faults.verdict import PASSWORD_CANARY

pytestmark = pytest.mark.faults

SHORT_SOAK_SECONDS = 20
OTHERS_SHARE = 0.3
"""How often a long soak puts a failover or PgBouncer between."""


SHORT_FORM = (harm.KILLED, harm.LOST_HOLE, harm.CUT_AFTER, harm.BOUNCER_KILLED)


def form(faults: list[Fault]) -> list[Any]:
    """Return the faults as parameters, those outside of the short form marked ``long``."""
    return [
        fault if fault in SHORT_FORM else pytest.param(fault, marks=pytest.mark.long)
        for fault in faults
    ]


async def migrate(cluster: Cluster) -> None:
    DB.url = cluster.url()
    async with DB.running():
        await apply_migrations(DB)


@pytest.fixture(scope="module")
async def server(debian_15: object) -> AsyncIterator[Cluster]:
    """One server for all that it survives."""
    # below the lock time-out of the variant with short ones, which would hide the deadlocks
    options = {"deadlock_timeout": "200ms"}
    with Cluster(password=PASSWORD_CANARY, options=options) as cluster:
        await migrate(cluster)
        yield cluster


@pytest.fixture
async def pair(debian_15: object) -> AsyncIterator[tuple[Cluster, Cluster]]:
    async with new_pair() as pair:
        yield pair


@asynccontextmanager
async def new_pair() -> AsyncIterator[tuple[Cluster, Cluster]]:
    with Cluster(password=PASSWORD_CANARY) as cluster:
        await migrate(cluster)
        replica = await asyncio.to_thread(cluster.replica)
        try:
            yield cluster, replica
        finally:
            replica.remove()


@pytest.mark.parametrize("fault", form(harm.ONE_SERVER), ids=lambda fault: fault.name)
async def test_one_server(server: Cluster, fault: Fault) -> None:
    with TcpProxy(server.address) as proxy:
        async with open_bench(server, proxy) as bench:
            await run_round(bench, fault)


@pytest.mark.long
@pytest.mark.parametrize("fault", [harm.LOST_HOLE, harm.KILLED], ids=lambda fault: fault.name)
async def test_short_command_timeout(server: Cluster, fault: Fault) -> None:
    with TcpProxy(server.address) as proxy:
        async with open_bench(server, proxy, db_command_timeout=2) as bench:
            await run_round(bench, fault)


async def test_failover_to_another_host(pair: tuple[Cluster, Cluster]) -> None:
    primary, replica = pair
    with TcpProxy(primary.address) as proxy:
        hosts = f"127.0.0.1:{proxy.port},127.0.0.1:{replica.port}"
        url = primary.url().replace(f"127.0.0.1:{primary.port}", hosts)
        async with open_bench(primary, proxy, f"{url}?target_session_attrs=read-write") as bench:
            bench.replica = replica
            await run_round(bench, harm.PROMOTED)


@pytest.mark.long
async def test_failover_behind_one_address(pair: tuple[Cluster, Cluster]) -> None:
    primary, replica = pair
    with TcpProxy(primary.address) as proxy:
        async with open_bench(primary, proxy) as bench:
            bench.replica = replica
            await run_round(bench, harm.DEMOTED)


@pytest.mark.parametrize("fault", form(harm.WITH_BOUNCER), ids=lambda fault: fault.name)
async def test_through_pgbouncer(server: Cluster, pgbouncer_program: object, fault: Fault) -> None:
    limits = {
        "statement_timeout": 54,
        "lock_timeout": 10,
        "idle_in_transaction_session_timeout": 60,
    }
    for name, seconds in limits.items():
        server.execute(f"ALTER ROLE {ROLE} SET {name} = '{seconds}s'")
    with (
        TcpProxy(server.address) as proxy,
        PgBouncer(server, pool_size=10, server_port=proxy.port) as bouncer,
    ):
        async with open_bench(server, proxy, bouncer.url, db_pgbouncer=True) as bench:
            bench.bouncer = bouncer
            await run_round(bench, fault)


@pytest.mark.long
async def test_soak(server: Cluster, pgbouncer_program: object, soak_seconds: float | None) -> None:
    """Faults at random, one engine through all of one server's; failovers and PgBouncer between."""
    ends = time.monotonic() + (soak_seconds or SHORT_SOAK_SECONDS)
    with TcpProxy(server.address) as proxy:
        async with open_bench(server, proxy) as bench:
            while time.monotonic() < ends:
                await run_round(bench, random.choice(harm.ONE_SERVER))
                await asyncio.to_thread(server.execute, TABLES)
                if soak_seconds and random.random() < OTHERS_SHARE:
                    await _round_of_others(server, pgbouncer_program)
                    await asyncio.to_thread(server.execute, TABLES)


async def _round_of_others(server: Cluster, pgbouncer_program: object) -> None:
    if random.random() < 0.5:
        await test_through_pgbouncer(server, pgbouncer_program, random.choice(harm.WITH_BOUNCER))
        return
    test = random.choice([test_failover_to_another_host, test_failover_behind_one_address])
    async with new_pair() as pair:
        await test(pair)
