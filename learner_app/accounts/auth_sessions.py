"""Repository of auth sessions: the devices on which users are signed in."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack, overload
from uuid import UUID

from pydantic import SecretStr

from learner_app.accounts.credentials import USER, check_credentials
from learner_app.accounts.redacted import as_secret
from learner_app.accounts.rows import (
    AuthSession,
    AuthSessionFilters,
    OpenedSession,
    SignedIn,
    User,
)
from learner_app.accounts.tables import AuthSessionTable, UserTable
from learner_app.accounts.tokens import new_token, token_hash
from learner_app.accounts.user_sql import DELETE_OTHER_SESSIONS
from learner_app.accounts.values import LIFETIME, NETWORK_ADDRESS
from learner_app.repository.base import ReadOnlyRepository
from learner_app.repository.batches import lock_oldest_keys_sql
from learner_app.repository.filters import Filters, at_least, before
from learner_app.repository.inputs import validate
from learner_app.repository.paging import DEFAULT_LIMIT, Page, Total, check_limit
from learner_app.repository.sql import NOW, SqlNames, Statement
from learner_app.repository.values import new_uuid

WIDTH = len(AuthSession.__struct_fields__)
"""Number of the columns of the session in a record that also has those of the user."""

MAX_USER_AGENT_LENGTH = 500
"""Characters of a ``User-Agent`` header that are stored."""

s = SqlNames(AuthSessionTable)
unqualified = s.unqualified
aliased = SqlNames(AuthSessionTable, "s")
u = SqlNames(UserTable, "u")
ROW = s.fields(AuthSession)
COLUMNS = (
    f"{unqualified.id}, {unqualified.user_id}, {unqualified.token_hash}, "
    f"{unqualified.expires_at}, {unqualified.ip_address}, {unqualified.user_agent}"
)

IS_UNEXPIRED = f"{s.expires_at} > {NOW}"

OPEN = Statement(
    "auth_sessions.open",
    f"""
    INSERT INTO {s} ({COLUMNS})
    SELECT $2, {u.id}, $3, {NOW} + $4::interval, $5::inet, $6 FROM {u}
    WHERE {u.id} = $1 FOR KEY SHARE RETURNING {ROW}
    """,
)
"""Parameters: user, id of the session, hash of the token, lifetime, address, user agent."""

SIGN_IN = Statement(
    "auth_sessions.sign_in",
    f"""
    INSERT INTO {s} ({COLUMNS})
    SELECT $2, {u.id}, $3, {NOW} + $4::interval, $5::inet, $6 FROM {u}
    WHERE {u.id} = $1 AND {u.hashed_password} = $7 FOR SHARE RETURNING {ROW}
    """,
)
"""Parameters: those of :data:`OPEN`, and the expected password hash.

FOR SHARE conflicts with a change of the password: one of the two waits for the other.

If the change commits first, the condition on the hash fails. If the session is inserted first, the
change deletes it. In either case, no session that was opened with the old password remains.
"""

RESOLVE = Statement(
    "auth_sessions.resolve",
    f"""
    SELECT {aliased.fields(AuthSession)}, {u.fields(User)}
    FROM {aliased} JOIN {u} ON {u.id} = {aliased.user_id}
    WHERE {aliased.token_hash} = $1 AND {aliased.expires_at} > {NOW}
    """,
)

EXTEND = Statement(
    "auth_sessions.extend",
    f"""
    UPDATE {s} SET {unqualified.expires_at} = GREATEST({s.expires_at}, {NOW} + $2::interval)
    WHERE {s.token_hash} = $1 AND {IS_UNEXPIRED} AND {s.updated_at} <= {NOW} - interval '1 day'
    RETURNING {ROW}
    """,
)
"""No other statement updates a session, so ``updated_at`` is the time of the last extension."""

FIND = Statement(
    "auth_sessions.find_by_token",
    f"SELECT {ROW} FROM {s} WHERE {s.token_hash} = $1 AND {IS_UNEXPIRED}",
)
CLOSE = Statement("auth_sessions.close", f"DELETE FROM {s} WHERE {s.token_hash} = $1")
CLOSE_DEVICE = Statement(
    "auth_sessions.close_device", f"DELETE FROM {s} WHERE {s.user_id} = $1 AND {s.id} = $2"
)

LIST = Statement(
    "auth_sessions.list_for_user",
    f"""
    SELECT {ROW} FROM {s} WHERE {s.user_id} = $1 AND {IS_UNEXPIRED}
    ORDER BY {s.created_at} DESC, {s.id} DESC LIMIT $2
    """,
)


class AuthSessionRepository(ReadOnlyRepository[AuthSession, UUID]):
    """Devices on which users are signed in, each identified by a token.

    Only the device knows the token; the database stores the hash of the token. ``resolve`` and
    ``extend`` treat a session that has expired by the database's clock as not found.
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

    # typed methods: written by `python -m learner_app.repository.typed_methods`
    if TYPE_CHECKING:

        async def list(
            self,
            *,
            limit: int = 100,
            **filters: Unpack[AuthSessionFilters],
        ) -> builtins.list[AuthSession]: ...

        async def page(
            self,
            *,
            limit: int = 100,
            after: str | None = None,
            total: Total | None = None,
            **filters: Unpack[AuthSessionFilters],
        ) -> Page[AuthSession]: ...

        def stream(
            self,
            **filters: Unpack[AuthSessionFilters],
        ) -> AsyncGenerator[AuthSession, None]: ...

        async def count(self, **filters: Unpack[AuthSessionFilters]) -> int: ...

        @overload
        async def exists(self, key: UUID) -> bool: ...

        @overload
        async def exists(self, **filters: Unpack[AuthSessionFilters]) -> bool: ...

        async def exists(self, *args: Any, **kwargs: Any) -> bool: ...
    # end of typed methods

    async def open(
        self,
        user_id: UUID,
        ttl: timedelta,
        *,
        ip_address: str | None = None,
        user_agent: str | None = None,
    ) -> OpenedSession:
        """Open a session for a user who was authenticated without a password.

        Args:
            user_id: the user, who was authenticated by a provider, for instance.
            ttl: lifetime of the session, one second to ten years.
            ip_address: IPv4 or IPv6 address of the device.
            user_agent: the ``User-Agent`` header, truncated to 500 characters.

        Raises:
            MissingReference: the user does not exist.
            InvalidValue: ``ttl`` is out of range or ``ip_address`` malformed.
        """
        token = new_token()
        device = self._device(ttl, ip_address, user_agent)
        values = (new_uuid(), token_hash(token), *device)
        session = await self.fetch_row_by_key(user_id, OPEN, *values)
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
        """Open a session if the password matches, else return None.

        The password is checked as by ``UserRepository.check_password``. If the password is changed
        concurrently, no session that was opened with the old password remains.

        Raises:
            InvalidValue: ``ttl`` is out of range or ``ip_address`` malformed.
        """
        password = as_secret(password)
        device = self._device(ttl, ip_address, user_agent)
        token = new_token()
        # Repeated only if another hash was stored since the check, possibly of the same password.
        while found := await check_credentials(self.engine, email, password):
            values = (found.user.id, new_uuid(), token_hash(token), *device, found.stored_hash)
            session = await self.fetch_row(SIGN_IN, *values)
            if session is not None:
                return OpenedSession(token, session)
        return None

    async def resolve(self, token: str | SecretStr) -> SignedIn | None:
        """Return the session of a token and its user, or None if it is unknown or expired."""
        token = as_secret(token)
        if (hashed := token_hash(token)) is None:
            return None
        record = await RESOLVE.fetchrow(self.engine, hashed)
        if record is None:
            return None
        return SignedIn(self.mapper.to_row(record[:WIDTH]), USER.to_row(record[WIDTH:]))

    async def extend(self, token: str | SecretStr, ttl: timedelta) -> AuthSession | None:
        """Extend a session to ``ttl`` from now, writing at most once a day.

        A later expiry is kept: the lifetime is never shortened.

        Returns:
            The session, unchanged if it was opened or extended within the last day; None if the
            token is unknown or expired.

        Raises:
            InvalidValue: ``ttl`` is out of range.
        """
        token = as_secret(token)
        lifetime = validate(LIFETIME, ttl, "ttl", self.table)
        if (hashed := token_hash(token)) is None:
            return None
        return await self.fetch_row(EXTEND, hashed, lifetime) or await self.fetch_row(FIND, hashed)

    async def close(self, token: str | SecretStr) -> bool:
        """Close a session and return whether it existed."""
        token = as_secret(token)
        if (hashed := token_hash(token)) is None:
            return False
        return await self.execute(CLOSE, hashed) == 1

    async def close_device(self, user_id: UUID, session_id: UUID) -> bool:
        """Close a session by its id and return whether it existed and belonged to the user."""
        user, session = self.key.params(user_id), self.key.params(session_id)
        if user is None or session is None:
            return False
        return await self.execute(CLOSE_DEVICE, *user, *session) == 1

    async def close_all(self, user_id: UUID, *, keep_token: str | SecretStr | None = None) -> int:
        """Close the sessions of a user, except that of ``keep_token``, and return how many."""
        keep_token = as_secret(keep_token)
        if (key := self.key.params(user_id)) is None:
            return 0
        return await self.execute(DELETE_OTHER_SESSIONS, *key, token_hash(keep_token))

    async def list_for_user(
        self, user_id: UUID, *, limit: int = DEFAULT_LIMIT
    ) -> builtins.list[AuthSession]:
        """Return the unexpired sessions of a user, the newest first."""
        check_limit(limit, self.table)
        key = self.key.params(user_id)
        return [] if key is None else await self.fetch_rows(LIST, *key, limit)

    async def purge_expired(self, *, batch: int = DEFAULT_LIMIT) -> int:
        """Delete a batch of expired sessions and return how many. Call it until it returns 0."""
        keys = lock_oldest_keys_sql(s, s.id, f"{s.expires_at} <= {NOW}", s.expires_at, batch)
        sql = f"DELETE FROM {s} WHERE {s.id} = ANY({keys})"
        return await self.execute(Statement("auth_sessions.purge_expired", sql))

    def _device(
        self, ttl: timedelta, ip_address: str | None, user_agent: str | None
    ) -> tuple[timedelta, str | None, str | None]:
        lifetime = validate(LIFETIME, ttl, "ttl", self.table)
        address = (
            None
            if ip_address is None
            else validate(NETWORK_ADDRESS, ip_address, "ip_address", self.table)
        )
        return lifetime, address, _storable_user_agent(user_agent)


def _storable_user_agent(header: str | None) -> str | None:
    """Return a storable form of any header, so that a malformed one does not prevent sign-in."""
    if not isinstance(header, str):
        return None
    return header[:MAX_USER_AGENT_LENGTH].replace("\0", "").encode(errors="replace").decode()
