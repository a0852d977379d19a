"""Verification and replacement of stored password hashes, shared by the repositories."""

from typing import NamedTuple
from uuid import UUID

from pydantic import SecretStr

from learner_app.accounts import user_sql
from learner_app.accounts.emails import lookup_form
from learner_app.accounts.passwords import (
    Cost,
    check_hash,
    hash_password,
    in_thread,
    policy_violation,
)
from learner_app.accounts.redacted import RedactedStr
from learner_app.accounts.rows import User
from learner_app.accounts.tables import UserTable
from learner_app.database.engine import DatabaseEngine
from learner_app.repository.inputs import invalid_field
from learner_app.repository.locks import require_read_committed
from learner_app.repository.rows import RowMapper
from learner_app.repository.values import new_uuid

USER = RowMapper(UserTable, User)
WIDTH = len(User.__struct_fields__)
"""Number of the columns of the user in a record whose last column is the password hash."""


class Credentials(NamedTuple):
    """User and the stored password hash."""

    user: User
    stored_hash: RedactedStr


async def find_credentials(engine: DatabaseEngine, user_id: UUID) -> Credentials | None:
    """Return the credentials of a user, or None."""
    record = await user_sql.CREDENTIALS_BY_ID.fetchrow(engine, user_id)
    return record and _to_credentials(*record)


async def check_credentials(
    engine: DatabaseEngine, email: str, password: SecretStr
) -> Credentials | None:
    """Return the user with that address if the password matches, else None.

    No connection is leased while the hash is computed. A hash of another scheme or with other
    parameters is replaced. If another hash was stored concurrently, the password is checked again.
    """
    cost = Cost.of(engine.settings)
    while True:  # repeated only after a concurrent change of the hash
        found = await _find_by_email(engine, email)
        check = await in_thread(check_hash, password, found and found.stored_hash, cost)
        if found is None or not check.matches:
            return None
        if not check.needs_rehash:
            return found
        new_hash = await in_thread(hash_password, password, cost)
        upgraded = await user_sql.REPLACE_HASH.fetchrow(
            engine, found.user.id, new_hash, found.stored_hash
        )
        if upgraded is not None:
            return Credentials(USER.to_row(upgraded), new_hash)


async def matches_password(
    engine: DatabaseEngine, password: SecretStr, credentials: Credentials
) -> bool:
    """Return whether the password matches the stored hash of the user."""
    cost = Cost.of(engine.settings)
    check = await in_thread(check_hash, password, credentials.stored_hash, cost)
    return check.matches


async def hash_new_password(engine: DatabaseEngine, password: SecretStr) -> RedactedStr:
    """Return the hash of a new password.

    Raises:
        InvalidValue: the password violates the policy.
    """
    if violation := policy_violation(password):
        raise invalid_field(UserTable, "password", violation)
    return await in_thread(hash_password, password, Cost.of(engine.settings))


async def store_password(
    engine: DatabaseEngine,
    user_id: UUID,
    new_hash: RedactedStr,
    *,
    keep_session: RedactedStr | None = None,
    expect: RedactedStr | None = None,
) -> User | None:
    """Store a password hash and revoke the sessions and reset codes of the user.

    Must be called in a transaction.

    Args:
        engine: engine with the transaction.
        user_id: the user.
        new_hash: the hash to store.
        keep_session: token hash of the session that is not deleted.
        expect: nothing changes unless this hash is stored; without it, any hash is replaced.

    Returns:
        The user; None if it does not exist or has another hash than expected.

    Raises:
        TransactionError: the isolation level is not ``read committed``; the transaction would not
            see sessions that were opened after its snapshot was taken.
    """
    await require_read_committed(engine)
    if expect is None:
        record = await user_sql.SET_HASH.fetchrow(engine, user_id, new_hash)
    else:
        record = await user_sql.REPLACE_HASH.fetchrow(engine, user_id, new_hash, expect)
    if record is None:
        return None
    user = USER.to_row(record)
    await user_sql.ADD_CREDENTIAL.execute(engine, new_uuid(), user.id)
    await revoke_access(engine, user, keep_session=keep_session)
    return user


async def revoke_access(
    engine: DatabaseEngine, user: User, *, keep_session: RedactedStr | None = None
) -> None:
    """Delete the reset codes and sessions of a user, except the one with the token hash."""
    await user_sql.DELETE_OTHER_SESSIONS.execute(engine, user.id, keep_session)
    await user_sql.DELETE_RESET_CODES.execute(engine, user.email, user.id)


async def _find_by_email(engine: DatabaseEngine, email: str) -> Credentials | None:
    # An address that no user can have is looked up too, so that the duration is the same.
    record = await user_sql.CREDENTIALS_BY_EMAIL.fetchrow(engine, lookup_form(email) or "")
    return record and _to_credentials(*record)


def _to_credentials(*values: object) -> Credentials:
    return Credentials(USER.to_row(values[:WIDTH]), RedactedStr(values[WIDTH]))
