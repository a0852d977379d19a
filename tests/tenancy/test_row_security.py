"""Row level security binds the role that the application uses."""

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import AccessDenied
from learner_app.tenancy.tables import TenantTable

ONE = "00000000-0000-4000-8000-000000000001"
TWO = "00000000-0000-4000-8000-000000000002"


async def enter(engine: DatabaseEngine, tenant: str) -> None:
    await engine.run_ddl(f"SET LOCAL app.current_tenant_id = '{tenant}'")


async def insert(engine: DatabaseEngine, tenant: str) -> None:
    await engine.run_ddl(
        f"INSERT INTO tenants (id, name, slug) VALUES ('{tenant}', 'T', 's-{tenant}')"
    )


async def test_the_role_is_ordinary_and_owns_its_tables(db: DatabaseEngine):
    row = (
        await TenantTable.raw(
            "SELECT rolsuper, rolbypassrls, pg_get_userbyid(relowner) = current_user AS owns"
            " FROM pg_roles, pg_class WHERE rolname = current_user AND relname = 'tenants'"
        )
    )[0]
    assert row == {"rolsuper": False, "rolbypassrls": False, "owns": True}


async def test_a_tenant_sees_its_own_row_only(db: DatabaseEngine):
    for tenant in (ONE, TWO):
        await enter(db, tenant)
        await insert(db, tenant)
    assert [str(row["id"]) for row in await TenantTable.select()] == [TWO]
    await enter(db, ONE)
    assert [str(row["id"]) for row in await TenantTable.select()] == [ONE]
    await enter(db, "")
    assert await TenantTable.select() == []


async def test_nothing_is_written_for_another_tenant(db: DatabaseEngine):
    with pytest.raises(AccessDenied):
        async with db.transaction():
            await insert(db, ONE)
    await enter(db, ONE)
    with pytest.raises(AccessDenied):
        async with db.transaction():
            await insert(db, TWO)


async def test_members_cannot_be_placed_elsewhere(db: DatabaseEngine):
    await enter(db, ONE)
    await insert(db, ONE)
    user = (
        await TenantTable.raw(
            "INSERT INTO users (email, hashed_password) VALUES ('a@example.com', 'x') RETURNING id"
        )
    )[0]["id"]
    member = "INSERT INTO tenant_members (tenant_id, user_id, role) VALUES ('{}', '{}', 'owner')"
    await db.run_ddl(member.format(ONE, user))
    with pytest.raises(AccessDenied):
        async with db.transaction():
            await db.run_ddl(member.format(TWO, user))
    with pytest.raises(AccessDenied):
        async with db.transaction():
            await db.run_ddl(
                f"INSERT INTO tenant_members (user_id, role) VALUES ('{user}', 'owner')"
            )
