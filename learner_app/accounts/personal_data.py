"""What is kept about a user, all of it: to hand it out, and to erase it."""

from typing import Any
from uuid import UUID

import msgspec

from learner_app.accounts import user_sql
from learner_app.accounts.rows import Account, AuthSession, Erased, User, Verification
from learner_app.accounts.tables import AccountTable, AuthSessionTable, VerificationTable
from learner_app.database.engine import DatabaseEngine
from learner_app.learner.repositories import UserPreferencesRepository
from learner_app.repository.batches import affected_rows
from learner_app.repository.locks import require_read_committed
from learner_app.repository.rows import RowMapper, to_json

ACCOUNT = RowMapper(AccountTable, Account)
SESSION = RowMapper(AuthSessionTable, AuthSession)
CODE = RowMapper(VerificationTable, Verification)

NOTHING = Erased(0, 0, 0, 0, 0)


async def erase(engine: DatabaseEngine, user_id: UUID) -> Erased:
    """Delete it, and say how much it was."""

    async def delete(sql: str, *args: Any) -> int:
        return affected_rows(await engine.execute(sql, *args))

    async with engine.transaction():
        await require_read_committed(engine)  # to see codes that are issued until then
        email = await engine.fetchval(user_sql.LOCK, user_id)
        return Erased(
            verifications=await delete(user_sql.DROP_CODES, email or str(user_id), str(user_id)),
            accounts=await delete(user_sql.DROP_ACCOUNTS, user_id),
            auth_sessions=await delete(user_sql.DROP_SESSIONS, user_id),
            user_preferences=int(await UserPreferencesRepository(engine).delete(str(user_id))),
            users=await delete(user_sql.DROP_USER, user_id),
        )


async def export(engine: DatabaseEngine, user: User) -> dict[str, Any]:
    """One JSON document; to be called with the user's row locked."""

    async def rows(shape: RowMapper[Any], sql: str, *args: Any) -> list[Any]:
        return list(map(shape.to_row, await engine.fetch(sql, *args)))

    found = {
        "user": user,
        "accounts": await rows(ACCOUNT, user_sql.ACCOUNTS_OF, user.id),
        "auth_sessions": await rows(SESSION, user_sql.SESSIONS_OF, user.id),
        "verifications": await rows(CODE, user_sql.CODES_OF, user.email, str(user.id)),
        "preferences": await UserPreferencesRepository(engine).find(str(user.id)),
    }
    document: dict[str, Any] = msgspec.json.decode(to_json(found))
    return document
