"""The repository of signed-in devices."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Unpack
from uuid import UUID

from pydantic import SecretStr, TypeAdapter

from learner_app.accounts.credentials import USER, check_credentials
from learner_app.accounts.redacted import secret
from learner_app.accounts.rows import (
    AuthSession,
    AuthSessionFilters,
    OpenedSession,
    SignedIn,
    User,
)
from learner_app.accounts.tables import AuthSessionTable, UserTable
from learner_app.accounts.tokens import new_token, token_hash
from learner_app.accounts.user_sql import CLOSE_SESSIONS
from learner_app.accounts.values import Lifetime, NetworkAddress
from learner_app.repository.base import ReadOnlyRepository
from learner_app.repository.batches import affected_rows, lock_oldest_keys_sql
from learner_app.repository.filters import Filters, at_least, before
from learner_app.repository.inputs import validate
from learner_app.repository.paging import DEFAULT_LIMIT, Page, Total, check_limit
from learner_app.repository.sql import NOW, SqlNames
from learner_app.repository.values import new_uuid

LIFETIME = TypeAdapter(Lifetime)
ADDRESS = TypeAdapter(NetworkAddress)
WIDTH = len(AuthSession.__struct_fields__)
LONGEST_AGENT = 500

s = SqlNames(AuthSessionTable)
bare = s.unqualified
mine = SqlNames(AuthSessionTable, "s")
u = SqlNames(UserTable, "u")
ROW = s.fields(AuthSession)
COLUMNS = (
    f"{bare.id}, {bare.user_id}, {bare.token_hash}, "
    f"{bare.expires_at}, {bare.ip_address}, {bare.user_agent}"
)

LIVES = f"{s.expires_at} > {NOW}"

OPEN = f"""
INSERT INTO {s} ({COLUMNS})
SELECT $1, {u.id}, $3, {NOW} + $4::interval, $5::inet, $6 FROM {u}
WHERE {u.id} = $2 FOR KEY SHARE RETURNING {ROW}
"""

SIGN_IN = f"""
INSERT INTO {s} ({COLUMNS})
SELECT $1, {u.id}, $3, {NOW} + $4::interval, $5::inet, $6 FROM {u}
WHERE {u.id} = $2 AND {u.hashed_password} = $7 FOR SHARE RETURNING {ROW}
"""
"""The lock makes it wait for a change of the password, or the change for it."""

RESOLVE = f"""
SELECT {mine.fields(AuthSession)}, {u.fields(User)} FROM {mine} JOIN {u} ON {u.id} = {mine.user_id}
WHERE {mine.token_hash} = $1 AND {mine.expires_at} > {NOW}
"""

EXTEND = f"""
UPDATE {s} SET {bare.expires_at} = GREATEST({s.expires_at}, {NOW} + $2::interval)
WHERE {s.token_hash} = $1 AND {LIVES} AND {s.updated_at} <= {NOW} - interval '1 day'
RETURNING {ROW}
"""
"""Nothing else writes to a session."""

FIND = f"SELECT {ROW} FROM {s} WHERE {s.token_hash} = $1 AND {LIVES}"
CLOSE = f"DELETE FROM {s} WHERE {s.token_hash} = $1"
CLOSE_DEVICE = f"DELETE FROM {s} WHERE {s.user_id} = $1 AND {s.id} = $2"

LIST = f"""
SELECT {ROW} FROM {s} WHERE {s.user_id} = $1 AND {LIVES}
ORDER BY {s.created_at} DESC, {s.id} DESC LIMIT $2
"""


class AuthSessionRepository(ReadOnlyRepository[AuthSession, UUID]):
    """Signed-in devices, known by a token that only they have: a hash of it is stored.

    What is expired, by the database's clock, is not there for any operation with a token.
    """

    table = AuthSessionTable
    row = AuthSession
    filters = Filters(
        AuthSessionTable,
        AuthSessionFilters,
        {
            "expires_since": at_least(AuthSessionTable.expires_at),
            "expires_until": before(AuthSessionTable.expires_at),
        },
    )

    async def count(self, **filters: Unpack[AuthSessionFilters]) -> int:
        """How many sessions the filters let through."""
        return await self.count_rows(filters)

    async def page(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        after: str | None = None,
        total: Total | None = None,
        **filters: Unpack[AuthSessionFilters],
    ) -> Page[AuthSession]:
        """A page by id."""
        return await self.page_rows(filters, limit, after, total)

    def stream(self, **filters: Unpack[AuthSessionFilters]) -> AsyncGenerator[AuthSession, None]:
        """All of them by id, in constant memory."""
        return self.stream_rows(filters)

    async def open(
        self,
        user_id: UUID,
        ttl: timedelta,
        *,
        ip_address: str | None = None,
        user_agent: str | None = None,
    ) -> OpenedSession:
        """Sign somebody in who was recognised otherwise than by a password, by a provider say.

        Args:
            user_id: who.
            ttl: how long it lasts; a second to ten years.
            ip_address: where from.
            user_agent: with what; cut after 500 characters.

        Raises:
            MissingReference: there is no such user.
            InvalidValue: ``ttl`` or ``ip_address`` cannot be one.
        """
        token = new_token()
        device = self._device(ttl, ip_address, user_agent)
        key = self.key.params(user_id)
        values = (new_uuid(), *(key or ()), token_hash(token), *device)
        session = None if key is None else await self.fetch_row(OPEN, *values)
        if session is None:
            raise self.missing_reference("user_id")
        return OpenedSession(token, session)

    async def sign_in(
        self,
        email: str,
        password: str | SecretStr,
        ttl: timedelta,
        *,
        ip_address: str | None = None,
        user_agent: str | None = None,
    ) -> OpenedSession | None:
        """Sign somebody in by the password; None where it is not, as of ``check_password``.

        Where the password is changed at the same time, there is no session by the old one.
        """
        password = secret(password)
        device = self._device(ttl, ip_address, user_agent)
        known = await check_credentials(self.engine, email, password)
        if known is None:
            return None
        token = new_token()
        values = (new_uuid(), known.user.id, token_hash(token), *device, known.stored)
        session = await self.fetch_row(SIGN_IN, *values)
        return None if session is None else OpenedSession(token, session)

    async def resolve(self, token: str | SecretStr) -> SignedIn | None:
        """Session and user of a token, by one query; None for one that is unknown or expired."""
        token = secret(token)
        if (known := token_hash(token)) is None:
            return None
        record = await self.engine.fetchrow(RESOLVE, known)
        if record is None:
            return None
        return SignedIn(self.mapper.to_row(record[:WIDTH]), USER.to_row(record[WIDTH:]))

    async def extend(self, token: str | SecretStr, ttl: timedelta) -> AuthSession | None:
        """Let a session last that long from now on; written once a day at most.

        Returns:
            The session, as it was where it is of today; None for one that is unknown or expired.
        """
        token = secret(token)
        lifetime = validate(LIFETIME, ttl, "ttl", self.table)
        if (known := token_hash(token)) is None:
            return None
        return await self.fetch_row(EXTEND, known, lifetime) or await self.fetch_row(FIND, known)

    async def close(self, token: str | SecretStr) -> bool:
        """Sign a device out; whether it was signed in."""
        token = secret(token)
        if (known := token_hash(token)) is None:
            return False
        return await self.engine.execute(CLOSE, known) == "DELETE 1"

    async def close_device(self, user_id: UUID, session_id: UUID) -> bool:
        """Sign out one of a user's devices; whether it was signed in, and is that user's."""
        user, session = self.key.params(user_id), self.key.params(session_id)
        if user is None or session is None:
            return False
        return await self.engine.execute(CLOSE_DEVICE, *user, *session) == "DELETE 1"

    async def close_all(self, user_id: UUID, *, except_token: str | SecretStr | None = None) -> int:
        """Sign out all of a user's devices, except the one of a token; how many they were."""
        kept = None if except_token is None else token_hash(except_token)
        except_token = None
        if (key := self.key.params(user_id)) is None:
            return 0
        return affected_rows(await self.engine.execute(CLOSE_SESSIONS, *key, kept))

    async def list_for_user(
        self, user_id: UUID, *, limit: int = DEFAULT_LIMIT
    ) -> list[AuthSession]:
        """Where a user is signed in, the newest first."""
        check_limit(limit, self.table)
        key = self.key.params(user_id)
        return [] if key is None else await self.fetch_rows(LIST, *key, limit)

    async def purge_expired(self, *, batch: int = DEFAULT_LIMIT) -> int:
        """Delete some expired sessions and say how many; call it until 0."""
        keys = lock_oldest_keys_sql(s, s.id, f"{s.expires_at} <= {NOW}", s.expires_at, batch)
        return affected_rows(
            await self.engine.execute(f"DELETE FROM {s} WHERE {s.id} = ANY({keys})")
        )

    def _device(
        self, ttl: timedelta, ip_address: str | None, user_agent: str | None
    ) -> tuple[timedelta, str | None, str | None]:
        lifetime = validate(LIFETIME, ttl, "ttl", self.table)
        address = (
            None if ip_address is None else validate(ADDRESS, ip_address, "ip_address", self.table)
        )
        return lifetime, address, _storable_agent(user_agent)


def _storable_agent(text: str | None) -> str | None:
    """A header that anybody may send; nobody is kept from signing in by a strange one."""
    if not isinstance(text, str):
        return None
    return text[:LONGEST_AGENT].replace("\0", "").encode(errors="replace").decode()
