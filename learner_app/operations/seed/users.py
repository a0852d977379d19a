"""Example users with documented passwords, for development only."""

from typing import NamedTuple
from uuid import UUID

from pydantic import SecretStr

from learner_app.accounts.repositories import UserRepository
from learner_app.accounts.rows import User, UserCreate, UserUpdate
from learner_app.database.engine import DatabaseEngine


class SeedCounts(NamedTuple):
    """Numbers of example rows in one table."""

    created: int
    found: int


class SeedUser(NamedTuple):
    """User who can sign in after ``learner seed``."""

    email: str
    name: str
    password: str
    email_verified: bool = True
    is_admin: bool = False


SEED_USERS = (
    SeedUser("test@example.com", "Tina Test", "TestPassword123!"),
    SeedUser("admin@example.com", "Ada Admin", "AdminPassword123!", is_admin=True),
    SeedUser("demo@example.com", "Dario Demo", "DemoPassword123!"),
    SeedUser("unverified@example.com", "Ugo Nuovo", "UnverifiedPassword123!", email_verified=False),
)

# No repository method does this: setting a password would create the account too, but would
# overwrite a password that the user has changed.
RESTORE_ACCOUNTS = """
INSERT INTO accounts (id, user_id, provider_id, account_id)
SELECT gen_random_uuid(), users.id, 'credential', users.id::text FROM users
WHERE users.id = ANY($1::uuid[]) ON CONFLICT DO NOTHING RETURNING id
"""


async def add_missing_users(
    engine: DatabaseEngine,
) -> tuple[list[UUID], dict[str, SeedCounts]]:
    """Register the missing example users, and restore missing credential accounts.

    Returns:
        The keys of the verified example users, and the numbers of rows by table.
    """
    repository = UserRepository(engine)
    found = [await repository.find_by_email(user.email) for user in SEED_USERS]
    users = [
        existing or await _register(repository, user)
        for existing, user in zip(found, SEED_USERS, strict=True)
    ]
    created = found.count(None)
    accounts = created + len(await engine.fetch(RESTORE_ACCOUNTS, [user.id for user in users]))
    counts = {
        "users": SeedCounts(created, len(users) - created),
        "accounts": SeedCounts(accounts, len(users) - accounts),
    }
    verified = [user for user, seed in zip(users, SEED_USERS, strict=True) if seed.email_verified]
    return [user.id for user in verified], counts


async def _register(repository: UserRepository, user: SeedUser) -> User:
    new = UserCreate(email=user.email, password=SecretStr(user.password), name=user.name)
    row = await repository.register(new)
    if user.email_verified:
        await repository.verify_email(row.id, row.email)
    if user.is_admin:
        await repository.set_admin(row.id, True)
    return await repository.update(row.id, UserUpdate(knowledge_level="Intermediate"))
