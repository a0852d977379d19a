"""Export and erasure of personal data, as the GDPR requires."""

from typing import Any
from uuid import UUID

import msgspec

from learner_app.accounts import user_sql
from learner_app.accounts.rows import Account, AuthSession, Erased, User, Verification
from learner_app.accounts.tables import AccountTable, AuthSessionTable, VerificationTable
from learner_app.database.engine import DatabaseEngine
from learner_app.learner.repositories import UserPreferencesRepository
from learner_app.repository.locks import require_read_committed
from learner_app.repository.rows import RowMapper, to_json
from learner_app.repository.sql import Statement

ACCOUNT = RowMapper(AccountTable, Account)
SESSION = RowMapper(AuthSessionTable, AuthSession)
CODE = RowMapper(VerificationTable, Verification)


async def erase(engine: DatabaseEngine, user_id: UUID) -> Erased:
    """Delete a user with all personal data and return the number of rows by table."""
    async with engine.transaction():
        # A snapshot that was taken before the lock would miss codes that were issued until then.
        await require_read_committed(engine)
        owner = str(user_id)
        email = await user_sql.LOCK_EMAIL.fetchval(engine, user_id)
        return Erased(
            # An unknown user has no address; codes and preferences may still contain the id.
            verifications=await user_sql.DELETE_CODES.execute(engine, email or owner, owner),
            accounts=await user_sql.DELETE_ACCOUNTS.execute(engine, user_id),
            auth_sessions=await user_sql.DELETE_SESSIONS.execute(engine, user_id),
            user_preferences=int(await UserPreferencesRepository(engine).delete(owner)),
            users=await user_sql.DELETE_USER.execute(engine, user_id),
        )


async def export(engine: DatabaseEngine, user: User) -> dict[str, Any]:
    """Return all personal data of a user as one JSON document.

    The caller must have locked the user's row, so that no concurrent operation erases the user or
    changes the address between the queries.
    """

    async def rows(mapper: RowMapper[Any], statement: Statement, *args: Any) -> list[Any]:
        return list(map(mapper.to_row, await statement.fetch(engine, *args)))

    tables = {
        "user": user,
        "accounts": await rows(ACCOUNT, user_sql.LIST_ACCOUNTS, user.id),
        "auth_sessions": await rows(SESSION, user_sql.LIST_SESSIONS, user.id),
        "verifications": await rows(CODE, user_sql.LIST_CODES, user.email, str(user.id)),
        "preferences": await UserPreferencesRepository(engine).find(str(user.id)),
    }
    document: dict[str, Any] = msgspec.json.decode(to_json(tables))
    return document
