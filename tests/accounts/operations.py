"""Calls of all public methods of the account repositories, and the secrets they handle."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pydantic import SecretStr

from learner_app.accounts.passwords import Cost, hash_password
from learner_app.accounts.repositories import (
    AccountRepository,
    AuthSessionRepository,
    UserRepository,
    VerificationRepository,
)
from learner_app.accounts.rows import (
    AccountUpdate,
    OpenedSession,
    ProviderUserCreate,
    User,
    UserCreate,
    UserUpdate,
)
from learner_app.accounts.tables import (
    AccountTable,
    AuthSessionTable,
    UserTable,
    VerificationTable,
)
from learner_app.database.engine import DatabaseEngine
from tests.accounts.factories import HOUR

users, accounts = UserRepository(), AccountRepository()
sessions, codes = AuthSessionRepository(), VerificationRepository()
REPOSITORIES = (users, accounts, sessions, codes)

PASSWORD, OTHER = "pass-canary-1", "pass-canary-2"
ACCESS, REFRESH = "access-canary", "refresh-canary"
ADDRESS, CODE_OF = "anna@example.com", "reset-password:anna@example.com"
SECRET_COLUMNS = {
    (table, column._meta.name)
    for table in (UserTable, AccountTable, AuthSessionTable, VerificationTable)
    for column in table._meta.columns
    if column._meta.secret
}
GENERAL = {"get", "find", "get_many", "exists", "list", "count", "page", "stream"}
READERS = {"check_password", "change_password", "sign_in", "tokens"}
"""Operations whose purpose is to read a hash or a token."""


@dataclass
class World:
    """User with an account, a session and a code, and all their secrets."""

    db: DatabaseEngine
    user: User
    opened: OpenedSession
    code: SecretStr
    account_id: Any
    code_id: Any
    secrets: set[str] = field(default_factory=set)

    async def note(self) -> None:
        """Add the stored values of the secret columns and the plain secrets."""
        for table, column in SECRET_COLUMNS:
            sql = f"SELECT {column} FROM {table._meta.tablename} WHERE {column} IS NOT NULL"
            self.secrets |= {row[0] for row in await self.db.fetch(sql)}
        self.secrets |= {self.opened.token.get_secret_value(), self.code.get_secret_value()}
        self.secrets |= {PASSWORD, OTHER, ACCESS, REFRESH}

    def seen_in(self, text: str) -> list[str]:
        """Return the secrets of which the text contains a part."""
        return [one for one in self.secrets if one in text or one[-20:] in text or one[:70] in text]


async def make_world(engine: DatabaseEngine) -> World:
    """Insert a user with an account, a session and a code; return them with their secrets."""
    user = await users.register(UserCreate(email=ADDRESS, password=PASSWORD))
    tokens = AccountUpdate(access_token=ACCESS, refresh_token=REFRESH)
    account, _ = await accounts.link(user.id, "google", "g1", tokens)
    opened = await sessions.open(user.id, HOUR)
    code = await codes.issue(CODE_OF, HOUR)
    (row,) = (await codes.page()).rows
    world = World(engine, user, opened, code, account.id, row.id)
    await world.note()
    # outdated parameters, so that a check stores a new hash
    await engine.execute("UPDATE users SET hashed_password = $1", hash_password(PASSWORD, CHEAP))
    await world.note()
    assert len(world.secrets) == 10
    return world


CHEAP = Cost(7168, 1, 1)


def operations(it: World) -> dict[str, Callable[[], Any]]:
    """Return a call of every public method, with secrets as plain text where possible."""
    user, token, code = it.user, it.opened.token, it.code
    of_all = {
        f"{name}.{general}": call
        for name, repository, key in (
            ("UserRepository", users, user.id),
            ("AccountRepository", accounts, it.account_id),
            ("AuthSessionRepository", sessions, it.opened.session.id),
            ("VerificationRepository", codes, it.code_id),
        )
        for general, call in {
            "get": lambda it=repository, key=key: it.get(key),
            "find": lambda it=repository, key=key: it.find(key),
            "get_many": lambda it=repository, key=key: it.get_many([key]),
            "exists": lambda it=repository, key=key: it.exists(key),
            "list": lambda it=repository: it.list(),
            "count": lambda it=repository: it.count(),
            "page": lambda it=repository: it.page(total="exact"),
            "stream": lambda it=repository: it.stream(),
        }.items()
    }
    new = UserCreate(email="b@example.com", password=OTHER)
    provider = ProviderUserCreate(email="c@example.com")
    tokens = AccountUpdate(access_token=ACCESS, id_token=REFRESH)
    plain = token.get_secret_value()
    return of_all | {
        "UserRepository.find_by_email": lambda: users.find_by_email(ADDRESS),
        "UserRepository.register": lambda: users.register(new),
        "UserRepository.register_with_provider": lambda: users.register_with_provider(
            provider, "google", "g3", tokens
        ),
        "UserRepository.check_password": lambda: users.check_password(ADDRESS, PASSWORD),
        "UserRepository.update": lambda: users.update(user.id, UserUpdate(name="A")),
        "UserRepository.verify_email": lambda: users.verify_email(user.id, ADDRESS),
        "UserRepository.set_admin": lambda: users.set_admin(user.id, True),
        "UserRepository.export": lambda: users.export(user.id),
        "AccountRepository.link": lambda: accounts.link(user.id, "github", "h1", tokens),
        "AccountRepository.find_by_provider": lambda: accounts.find_by_provider("google", "g1"),
        "AccountRepository.list_for_user": lambda: accounts.list_for_user(user.id),
        "AccountRepository.update_tokens": lambda: accounts.update_tokens(it.account_id, tokens),
        "AccountRepository.tokens": lambda: accounts.tokens(it.account_id),
        "AccountRepository.unlink": lambda: accounts.unlink(it.account_id),
        "AuthSessionRepository.open": lambda: sessions.open(user.id, HOUR),
        "AuthSessionRepository.sign_in": lambda: sessions.sign_in(ADDRESS, PASSWORD, HOUR),
        "AuthSessionRepository.resolve": lambda: sessions.resolve(plain),
        "AuthSessionRepository.extend": lambda: sessions.extend(plain, timedelta(days=3)),
        "AuthSessionRepository.list_for_user": lambda: sessions.list_for_user(user.id),
        "AuthSessionRepository.close_device": lambda: sessions.close_device(user.id, user.id),
        "AuthSessionRepository.purge_expired": lambda: sessions.purge_expired(),
        "VerificationRepository.issue": lambda: codes.issue("verify-email:x@example.com", HOUR),
        "UserRepository.reset_password": lambda: users.reset_password(
            ADDRESS, code.get_secret_value(), OTHER
        ),
        "UserRepository.issue_reset": lambda: users.issue_reset(ADDRESS, HOUR),
        "UserRepository.change_password": lambda: users.change_password(
            user.id, PASSWORD, OTHER, keep_token=plain
        ),
        "VerificationRepository.consume": lambda: codes.consume(CODE_OF, code.get_secret_value()),
        "VerificationRepository.invalidate": lambda: codes.invalidate(CODE_OF),
        "VerificationRepository.purge_expired": lambda: codes.purge_expired(),
        "UserRepository.change_email": lambda: users.change_email(user.id, "d@example.com"),
        "UserRepository.set_password": lambda: users.set_password(user.id, OTHER, keep_token=plain),
        "AuthSessionRepository.close": lambda: sessions.close(plain),
        "AuthSessionRepository.close_all": lambda: sessions.close_all(user.id, keep_token=plain),
        "UserRepository.delete": lambda: users.delete(user.id),
    }


async def outcome(call: Callable[[], Any]) -> Any:
    result = call()
    if inspect.isasyncgen(result):
        return [row async for row in result]
    return await result
