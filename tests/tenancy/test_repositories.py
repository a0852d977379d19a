"""Repositories of tenants and members under row-level security."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import UUID, uuid4

import pytest

from learner_app.conf import DB
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import (
    AccessDenied,
    Conflict,
    InvalidValue,
    MissingReference,
    NotFound,
    ScopeError,
)
from learner_app.tenancy.context import tenant_context
from learner_app.tenancy.repositories import (
    TenantMemberRepository,
    TenantRepository,
    TenantWithOwner,
)
from learner_app.tenancy.rows import (
    TenantCreate,
    TenantFilters,
    TenantMemberCreate,
    TenantMemberKey,
    TenantMemberUpdate,
    TenantUpdate,
)
from tests.database.pools import reopen
from tests.operations.two_roles import TwoRoles
from tests.tenancy.members import add_tenant, add_user

tenants = TenantRepository()
members = TenantMemberRepository()


@pytest.fixture
async def two(db: DatabaseEngine) -> tuple[TenantWithOwner, TenantWithOwner]:
    return await add_tenant(db, "one"), await add_tenant(db, "two")


async def test_without_a_context_nothing_is_visible(two: tuple[TenantWithOwner, TenantWithOwner]):
    one, _ = two
    key = TenantMemberKey(one.tenant.id, one.owner.user_id)
    assert await tenants.list() == await members.list() == []
    assert await tenants.count() == await members.count() == 0
    assert not await tenants.exists(one.tenant.id)
    assert not await members.exists(role="owner")
    assert await tenants.find(one.tenant.id) is None
    assert await members.get_many([key]) == []
    assert (await members.page(total="exact")).total == 0
    assert [row async for row in members.stream()] == []
    with pytest.raises(NotFound):
        await tenants.get(one.tenant.id)


async def test_without_a_context_nothing_is_written(
    db: DatabaseEngine, two: tuple[TenantWithOwner, TenantWithOwner]
):
    one, _ = two
    user = await add_user(db)
    new_member = TenantMemberCreate(tenant_id=one.tenant.id, user_id=user)
    for refused in (
        lambda: tenants.add(TenantCreate(name="Three", slug="three")),
        lambda: members.add(new_member),
        lambda: members.add_many([new_member]),
        lambda: members.upsert(new_member),
    ):
        with pytest.raises(AccessDenied):
            async with db.transaction():
                await refused()
    with pytest.raises(NotFound):
        await tenants.update(one.tenant.id, TenantUpdate(name="Other"))
    assert await tenants.update_where(TenantUpdate(name="Other"), all_rows=True) == 0
    assert await members.delete_where(all_rows=True) == 0
    assert not await tenants.delete(one.tenant.id)
    with tenant_context(one.tenant.id):
        assert await tenants.get(one.tenant.id) == one.tenant
        assert await members.list() == [one.owner]


async def test_a_context_shows_one_tenant(two: tuple[TenantWithOwner, TenantWithOwner]):
    for own, other in (two, two[::-1]):
        with tenant_context(str(own.tenant.id)) as tenant_id:
            assert tenant_id == own.tenant.id
            assert await tenants.list() == [own.tenant]
            assert await members.list() == [own.owner]
            assert await tenants.find(other.tenant.id) is None
            assert await members.count(tenant_id=other.tenant.id) == 0
            assert not await tenants.delete(other.tenant.id)
            assert await members.delete_where(tenant_id=other.tenant.id) == 0


async def test_a_context_rejects_rows_of_another_tenant(
    db: DatabaseEngine, two: tuple[TenantWithOwner, TenantWithOwner]
):
    one, other = two
    user = await add_user(db)
    with tenant_context(one.tenant.id):
        with pytest.raises(AccessDenied):
            async with db.transaction():
                await members.add(TenantMemberCreate(tenant_id=other.tenant.id, user_id=user))
        with pytest.raises(AccessDenied):
            async with db.transaction():
                await tenants.add(TenantCreate(name="Three", slug="three"))
        own = TenantMemberCreate(tenant_id=one.tenant.id, user_id=user)
        foreign = TenantMemberCreate(tenant_id=other.tenant.id, user_id=user)
        with pytest.raises(AccessDenied):
            async with db.transaction():
                await members.add_many([own, foreign])
        assert await members.count() == 1, "neither of both"


async def test_operations_of_members(
    db: DatabaseEngine, two: tuple[TenantWithOwner, TenantWithOwner]
):
    one, _ = two
    first, second = await add_user(db), await add_user(db)
    with tenant_context(one.tenant.id):
        added = await members.add(TenantMemberCreate(tenant_id=one.tenant.id, user_id=first))
        assert added.role == "member"
        with pytest.raises(Conflict):
            async with db.transaction():
                await members.add(TenantMemberCreate(tenant_id=one.tenant.id, user_id=first))
        with pytest.raises(MissingReference):
            async with db.transaction():
                await members.add(TenantMemberCreate(tenant_id=one.tenant.id, user_id=uuid4()))
        key = TenantMemberKey(one.tenant.id, first)
        assert (await members.update(key, TenantMemberUpdate(role="admin"))).role == "admin"
        new = TenantMemberCreate(tenant_id=one.tenant.id, user_id=second, role="admin")
        row, created = await members.upsert(new)
        assert (row.user_id, created) == (second, True)
        assert not (await members.upsert(new)).created
        assert {row.user_id for row in await members.list(role="admin")} == {first, second}
        changed = await members.update_where(TenantMemberUpdate(role="member"), role="admin")
        assert changed == 2
        rows = await members.list(order="oldest")
        assert [row.created_at for row in rows] == sorted(row.created_at for row in rows)
        assert len(rows) == 3
        assert await members.delete(key)
        assert await members.delete_where(role="member") == 1
        assert await members.list() == [one.owner]


async def test_operations_of_tenants(
    db: DatabaseEngine, two: tuple[TenantWithOwner, TenantWithOwner]
):
    one, other = two
    with tenant_context(one.tenant.id):
        changes = TenantUpdate(name="Uno", status="suspended", settings={"theme": "dark"})
        changed = await tenants.update(one.tenant.id, changes)
        assert (changed.name, changed.settings) == ("Uno", {"theme": "dark"})
        with pytest.raises(Conflict):
            async with db.transaction():
                await tenants.update(one.tenant.id, TenantUpdate(slug=other.tenant.slug))
        filters: TenantFilters = {"slug": "one", "status": "suspended"}
        assert await tenants.list(**filters) == [changed]
        assert await tenants.delete(one.tenant.id)
        assert await members.count() == 0, "its members are deleted with it"
    with tenant_context(other.tenant.id):
        assert await members.list() == [other.owner]


@pytest.mark.parametrize("slug", ["", "Upper", "-a", "a-", "a_b", "a" * 64, "é", "a\n", 1])
def test_invalid_slugs_are_rejected(slug: object):
    with pytest.raises(InvalidValue) as caught:
        TenantCreate(name="Name", slug=slug)
    assert caught.value.fields == ("slug",)


@pytest.mark.parametrize("tenant_id", ["", "x", "' OR true --", 1, None])
def test_a_context_needs_a_uuid(tenant_id: object):
    with (
        pytest.raises(InvalidValue, match="tenant_id") as caught,
        tenant_context(tenant_id),
    ):
        pass
    assert "OR true" not in str(caught.value)


async def test_nesting_another_tenant_is_an_error(two: tuple[TenantWithOwner, TenantWithOwner]):
    one, other = two
    with tenant_context(one.tenant.id):
        with pytest.raises(ScopeError), tenant_context(other.tenant.id):
            pass
        with pytest.raises(ScopeError):
            new = TenantCreate(name="Three", slug="three")
            await tenants.create_with_owner(new, owner_id=one.owner.user_id)
        with tenant_context(one.tenant.id):
            assert await tenants.count() == 1
        assert await tenants.count() == 1, "the outer context continues"


async def test_a_tenant_without_its_owner_is_not_created(db: DatabaseEngine):
    new = TenantCreate(name="Three", slug="three")
    with pytest.raises(MissingReference):
        await tenants.create_with_owner(new, owner_id=uuid4())
    with tenant_context(new.id):
        assert await tenants.list() == []


async def count_foreign_rows(engine: DatabaseEngine, tenant_id: UUID) -> int:
    """Count rows of other tenants, by single statements, transactions and cancelled statements."""
    own_members = TenantMemberRepository(engine)
    foreign = 0
    with tenant_context(tenant_id, engine=engine):
        for _ in range(15):
            sleep = asyncio.create_task(engine.fetch("SELECT pg_sleep(0.05)"))
            await asyncio.sleep(random.uniform(0, 0.02))
            sleep.cancel()
            with suppress(asyncio.CancelledError):
                await sleep
            rows = await own_members.list()
            async with engine.transaction():
                rows += await own_members.list()
                rows += await own_members.list()
            foreign += sum(row.tenant_id != tenant_id for row in rows)
            assert len(rows) == 3
    return foreign


async def test_concurrent_tenants_share_connections_without_seeing_each_other(
    clone: DatabaseEngine,
):
    engine = await reopen(clone, db_pool_max=3)
    ids = [(await add_tenant(engine, f"tenant-{n}")).tenant.id for n in range(8)]
    tasks = [count_foreign_rows(engine, tenant_id) for tenant_id in ids]
    assert sum(await asyncio.gather(*tasks)) == 0
    counts = await asyncio.gather(*(members.count() for _ in range(6)))
    assert counts == [0] * 6, "nothing of a context stays on a connection"


async def test_the_engine_that_is_passed_has_the_context(clone: DatabaseEngine):
    other = DatabaseEngine(clone.url)
    async with other.running():
        one = await add_tenant(other, "one")
        with tenant_context(one.tenant.id, engine=other):
            assert await TenantRepository(other).count() == 1
            assert await TenantRepository(clone).count() == 0
        with tenant_context(one.tenant.id):
            assert await TenantRepository(other).count() == 0
            assert await tenants.count() == 1


@pytest.fixture
async def as_application(separated: TwoRoles) -> AsyncIterator[DatabaseEngine]:
    """The engine as the application role, which owns nothing."""
    DB.url, DB.owner_url = separated.app_url, separated.owner_url
    async with DB.running():
        yield DB
    DB.url = DB.owner_url = None


async def test_the_application_role_is_bound_and_the_owner_role_is_not(
    as_application: DatabaseEngine,
):
    one = await add_tenant(as_application, "one")
    other = await add_tenant(as_application, "two")
    assert await tenants.list() == []
    with tenant_context(one.tenant.id):
        assert await tenants.list() == [one.tenant]
        assert await members.list() == [one.owner]
    with as_application.as_owner():
        assert await tenants.list(slug="two") == [other.tenant]
