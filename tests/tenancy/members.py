"""Tenants with members, for tests."""

from uuid import UUID, uuid4

from learner_app.database.engine import DatabaseEngine
from learner_app.tenancy.repositories import TenantRepository, TenantWithOwner
from learner_app.tenancy.rows import TenantCreate

INSERT_USER = "INSERT INTO users (id, email, hashed_password) VALUES ($1, $2, 'x')"


async def add_user(engine: DatabaseEngine) -> UUID:
    user_id = uuid4()
    await engine.execute(INSERT_USER, user_id, f"{user_id}@example.com")
    return user_id


async def add_tenant(engine: DatabaseEngine, slug: str) -> TenantWithOwner:
    """Insert a tenant with a new user as its owner."""
    owner_id = await add_user(engine)
    new = TenantCreate(name=slug.title(), slug=slug)
    return await TenantRepository(engine).create_with_owner(new, owner_id=owner_id)
