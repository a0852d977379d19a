"""Contexts of tenants through PgBouncer and on Citus."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import AccessDenied, ConnectionLost, DatabaseError, ScopeError
from learner_app.operations.migrate import apply_migrations
from learner_app.settings import Settings
from learner_app.tenancy.context import tenant_context
from learner_app.tenancy.repositories import (
    TenantMemberRepository,
    TenantRepository,
    TenantWithOwner,
)
from learner_app.tenancy.rows import TenantMemberCreate, TenantMemberKey, TenantMemberUpdate
from tests.environment import skip_outside_ci
from tests.faults.citus import ARCHIVE, LIBRARY, CitusCluster
from tests.faults.cluster import Cluster
from tests.faults.pgbouncer import LIMITS, PgBouncer
from tests.tenancy.members import add_tenant, add_user

pytestmark = pytest.mark.faults

TENANTS = 8
SESSIONS = 3
ROUNDS = 15


@pytest.fixture
async def bounced(
    cluster: Cluster, pgbouncer_program: Path
) -> AsyncIterator[tuple[DatabaseEngine, PgBouncer]]:
    """An engine whose 12 connections share three server sessions."""
    async with DatabaseEngine(cluster.url()).running() as direct:
        await apply_migrations(direct)
    for name, value in LIMITS.items():
        cluster.execute(f"ALTER ROLE learner SET {name} = '{value}'")
    with PgBouncer(cluster, pool_size=SESSIONS) as bouncer:
        engine = DatabaseEngine(bouncer.url)
        engine.settings = Settings(db_pgbouncer=True, db_pool_max=12)
        async with engine.running():
            yield engine, bouncer


@pytest.fixture
def citus(debian_15: Path) -> Iterator[CitusCluster]:
    if not LIBRARY.exists():
        if not ARCHIVE.exists():
            pytest.skip("Citus is not installed, and its archive is not beside the checkout")
        skip_outside_ci("Citus is not installed: unpack its archive and run install.sh")
    with CitusCluster(debian_15) as citus:
        yield citus


@pytest.fixture
async def on_citus(citus: CitusCluster) -> AsyncIterator[DatabaseEngine]:
    """An engine on the coordinator, the members being distributed by tenant."""
    async with DatabaseEngine(citus.url()).running() as engine:
        await apply_migrations(engine)
    citus.distribute()
    async with DatabaseEngine(citus.url()).running() as engine:
        yield engine


async def work_as(engine: DatabaseEngine, own: TenantWithOwner) -> None:
    """Read and write as one tenant, and fail on the first row of another one."""
    members = TenantMemberRepository(engine)
    user = await add_user(engine)
    new = TenantMemberCreate(tenant_id=own.tenant.id, user_id=user)
    key = TenantMemberKey(own.tenant.id, user)
    with tenant_context(own.tenant.id, engine=engine):
        for _ in range(ROUNDS):
            await cancel_soon(engine.fetch("SELECT pg_sleep(0.05)"))
            with suppress(DatabaseError):
                async with engine.transaction():
                    assert await members.list() == [own.owner]
                    await members.add(new)
                    await members.update(key, TenantMemberUpdate(role="admin"))
                    assert {row.user_id for row in await members.list()} == {
                        own.owner.user_id,
                        user,
                    }
                    raise ConnectionLost("roll back")
            assert await members.list() == [own.owner]
            assert await TenantRepository(engine).list() == [own.tenant]


async def cancel_soon(work: Awaitable[object]) -> None:
    task = asyncio.ensure_future(work)
    await asyncio.sleep(random.uniform(0, 0.03))
    task.cancel()
    with suppress(asyncio.CancelledError, DatabaseError):
        await task


async def require_isolation(engine: DatabaseEngine) -> None:
    """Check all rules of a context on an engine with migrated tables."""
    tenants = [await add_tenant(engine, f"tenant-{n}") for n in range(TENANTS)]
    await asyncio.gather(*(work_as(engine, one) for one in tenants))
    members = TenantMemberRepository(engine)
    outside = await asyncio.gather(*(members.list() for _ in range(4 * SESSIONS)))
    assert not any(outside), "nothing of a context stays in a server session"
    own, other = tenants[:2]
    foreign = TenantMemberCreate(tenant_id=other.tenant.id, user_id=own.owner.user_id)
    with pytest.raises(AccessDenied):
        await members.add(foreign)
    with tenant_context(own.tenant.id, engine=engine):
        with pytest.raises(AccessDenied):
            await members.add(foreign)
        with pytest.raises(ScopeError), tenant_context(other.tenant.id, engine=engine):
            pass
        assert not await members.delete(TenantMemberKey(other.tenant.id, other.owner.user_id))
        assert await members.delete(TenantMemberKey(own.tenant.id, own.owner.user_id))
    with tenant_context(other.tenant.id, engine=engine):
        assert await members.list() == [other.owner]


async def test_tenants_share_server_sessions_without_seeing_each_other(
    bounced: tuple[DatabaseEngine, PgBouncer],
):
    engine, bouncer = bounced
    await require_isolation(engine)
    servers = bouncer.execute_admin("SHOW SERVERS").splitlines()
    assert 0 < len(servers) <= SESSIONS, "the sessions were shared"


async def test_tenants_are_isolated_on_the_workers_of_citus(
    on_citus: DatabaseEngine, citus: CitusCluster
):
    shards = "SELECT count(DISTINCT nodeport) FROM citus_shards WHERE table_name = '{}'::regclass"
    assert citus.coordinator.execute(shards.format("tenant_members")) == "2"
    await require_isolation(on_citus)


@pytest.mark.long
async def test_a_setting_that_citus_does_not_propagate_shows_no_rows(
    on_citus: DatabaseEngine, citus: CitusCluster
):
    citus.coordinator.execute("ALTER ROLE learner RESET citus.propagate_set_commands")
    own = await add_tenant(on_citus, "one")
    await on_citus.close_connection_pool()
    await on_citus.start_connection_pool()
    with tenant_context(own.tenant.id, engine=on_citus):
        assert await TenantMemberRepository(on_citus).list() == []
