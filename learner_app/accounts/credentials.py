"""Whose password it is: what the operations that sign in are made of."""

from typing import NamedTuple
from uuid import UUID

from pydantic import SecretStr

from learner_app.accounts import user_sql
from learner_app.accounts.emails import lookup_form
from learner_app.accounts.passwords import Cost, apart, check_hash, hash_password, policy_violation
from learner_app.accounts.redacted import RedactedStr
from learner_app.accounts.rows import User
from learner_app.accounts.tables import UserTable
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import Conflict
from learner_app.repository.inputs import invalid_field
from learner_app.repository.locks import require_read_committed
from learner_app.repository.rows import RowMapper
from learner_app.repository.values import new_uuid

USER = RowMapper(UserTable, User)
WIDTH = len(User.__struct_fields__)


class Credentials(NamedTuple):
    """A user, and the hash of the password as it is stored."""

    user: User
    stored: RedactedStr


async def check_credentials(
    engine: DatabaseEngine, email: str, password: SecretStr
) -> Credentials | None:
    """The user of that address, if it is the password; no connection is held while it works.

    An outdated hash is replaced, unless another one was stored meanwhile, which is then checked.
    """
    cost = Cost.of(engine.settings)
    while True:  # again only when another hash was stored meanwhile
        known = await _find(engine, email)
        verdict = await apart(check_hash, password, known and known.stored, cost)
        if known is None or not verdict.matches:
            return None
        if not verdict.is_outdated:
            return known
        new = await apart(hash_password, password, cost)
        upgraded = await engine.fetchrow(user_sql.UPGRADE, known.user.id, known.stored, new)
        if upgraded is not None:
            return Credentials(USER.to_row(upgraded), new)


def added(user: User | None) -> User:
    """A user who was added.

    Raises:
        Conflict: none was, since somebody has the address.
    """
    if user is None:
        raise Conflict(
            "users: the address is taken",
            table="users",
            constraint="idx_users_email",
            fields=["email"],
        )
    return user


async def new_hash(engine: DatabaseEngine, password: SecretStr) -> RedactedStr:
    """The hash of a password by the rules.

    Raises:
        InvalidValue: it breaks one.
    """
    if broken := policy_violation(password):
        raise invalid_field(UserTable, "password", broken)
    return await apart(hash_password, password, Cost.of(engine.settings))


async def replace_hash(
    engine: DatabaseEngine,
    user_id: UUID,
    stored: RedactedStr,
    kept: RedactedStr | None,
    known: RedactedStr | None = None,
) -> User | None:
    """Store the hash, close all sessions but one, and drop codes for another password.

    To be called in a transaction. None where there is no such user, or the hash is not the known
    one any more.

    Raises:
        TransactionError: the transaction would not see sessions that were opened meanwhile.
    """
    await require_read_committed(engine)
    if known is None:
        record = await engine.fetchrow(user_sql.SET_HASH, user_id, stored)
    else:
        record = await engine.fetchrow(user_sql.CHANGE_HASH, user_id, stored, known)
    if record is None:
        return None
    user = USER.to_row(record)
    await engine.execute(user_sql.ADD_CREDENTIAL, new_uuid(), user.id)
    await end_sign_ins(engine, user, kept)
    return user


async def end_sign_ins(engine: DatabaseEngine, user: User, kept: RedactedStr | None) -> None:
    """Close all sessions but one, and drop codes for another password."""
    await engine.execute(user_sql.CLOSE_SESSIONS, user.id, kept)
    await engine.execute(user_sql.DROP_RESET_CODES, user.email, user.id)


async def find_credentials(engine: DatabaseEngine, user_id: UUID) -> Credentials | None:
    """Those of that id."""
    record = await engine.fetchrow(user_sql.CREDENTIALS_OF, user_id)
    return record and _closed(*record)


async def is_password_of(engine: DatabaseEngine, password: SecretStr, known: Credentials) -> bool:
    """Whether it is the user's password."""
    verdict = await apart(check_hash, password, known.stored, Cost.of(engine.settings))
    return verdict.matches


async def _find(engine: DatabaseEngine, email: str) -> Credentials | None:
    address = lookup_form(email)
    record = await engine.fetchrow(user_sql.CREDENTIALS, address or "")  # of none, as much work
    return record and _closed(*record)


def _closed(*values: object) -> Credentials:
    return Credentials(USER.to_row(values[:WIDTH]), RedactedStr(values[WIDTH]))
