"""The users of the seed. Their passwords are documented and good for development only."""

from typing import NamedTuple
from uuid import UUID, uuid5

from learner_app.accounts.passwords import hash_password
from learner_app.accounts.tables import AccountTable, KnowledgeLevel, UserTable

NAMESPACE = UUID("7b0c52b4-52f6-4f0e-9f0a-3b9d3c1f6c11")


class SeedUser(NamedTuple):
    email: str
    name: str
    password: str
    email_verified: bool = True
    is_admin: bool = False

    @property
    def id(self) -> UUID:
        return uuid5(NAMESPACE, self.email)


SEED_USERS = (
    SeedUser("test@example.com", "Tina Test", "TestPassword123!"),
    SeedUser("admin@example.com", "Ada Admin", "AdminPassword123!", is_admin=True),
    SeedUser("demo@example.com", "Dario Demo", "DemoPassword123!"),
    SeedUser("unverified@example.com", "Ugo Nuovo", "UnverifiedPassword123!", email_verified=False),
)


def user_rows() -> list[UserTable]:
    """The users; hashing takes a moment each."""
    return [
        UserTable(
            id=user.id,
            email=user.email,
            hashed_password=hash_password(user.password),
            name=user.name,
            email_verified=user.email_verified,
            is_admin=user.is_admin,
            knowledge_level=KnowledgeLevel.intermediate,
        )
        for user in SEED_USERS
    ]


def account_rows(user_ids: list[UUID]) -> list[AccountTable]:
    """A credential account for each of the users, with a fixed id."""
    return [
        AccountTable(
            id=uuid5(NAMESPACE, f"credential:{user_id}"),
            user_id=user_id,
            provider_id="credential",
            account_id=str(user_id),
        )
        for user_id in user_ids
    ]
