"""Repository of verifications: single-use codes."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack, overload
from uuid import UUID

from pydantic import SecretStr

from learner_app.accounts.emails import lookup_form
from learner_app.accounts.redacted import as_secret
from learner_app.accounts.rows import Verification, VerificationFilters
from learner_app.accounts.tables import VerificationTable
from learner_app.accounts.tokens import new_token, token_hash
from learner_app.accounts.values import IDENTIFIER, LIFETIME
from learner_app.errors import InvalidValue
from learner_app.repository.base import ReadOnlyRepository
from learner_app.repository.batches import lock_oldest_keys_sql
from learner_app.repository.filters import Filters, at_least, before
from learner_app.repository.inputs import validate
from learner_app.repository.locks import advisory_xact_lock
from learner_app.repository.paging import DEFAULT_LIMIT, Page, Total
from learner_app.repository.sql import NOW, SqlNames, Statement
from learner_app.repository.values import new_uuid

MAX_ATTEMPTS = 10
"""Number of wrong codes after which the correct one is invalid."""

v = SqlNames(VerificationTable)
unqualified = v.unqualified

ISSUE = Statement(
    "verifications.issue",
    f"""
    WITH earlier AS (DELETE FROM {v} WHERE {v.identifier} = $2)
    INSERT INTO {v}
        ({unqualified.id}, {unqualified.identifier}, {unqualified.value_hash},
         {unqualified.expires_at})
    VALUES ($1, $2, $3, {NOW} + $4::interval)
    """,
)

CONSUME = Statement(
    "verifications.consume",
    f"""
    WITH consumed AS (
        DELETE FROM {v} WHERE {v.identifier} = $1 AND {v.value_hash} = $2
            AND {v.expires_at} > {NOW} AND {v.attempts} < {MAX_ATTEMPTS}
        RETURNING 1
    ), failed AS (
        UPDATE {v} SET {unqualified.attempts} = {v.attempts} + 1
        WHERE {v.identifier} = $1 AND {v.value_hash} IS DISTINCT FROM $2
            AND {v.attempts} < {MAX_ATTEMPTS}
    )
    SELECT EXISTS (SELECT FROM consumed)
    """,
)
"""Parameters: identifier, hash of the code.

The code is single-use because the comparison and the deletion are one statement: of concurrent
callers, the first deletes the row, and the others wait for its lock and then find no row.
"""

INVALIDATE = Statement("verifications.invalidate", f"DELETE FROM {v} WHERE {v.identifier} = $1")


class VerificationRepository(ReadOnlyRepository[Verification, UUID]):
    """Single-use codes, for instance for resetting a password or confirming an address.

    An identifier consists of a purpose, a colon, and an address in any spelling or the id of a
    user, such as ``verify-email:<address>``. At most one code per identifier is valid.
    """

    table = VerificationTable
    row = Verification
    filters = Filters(
        VerificationTable,
        VerificationFilters,
        {
            "expires_since": at_least(VerificationTable.expires_at),
            "expires_until": before(VerificationTable.expires_at),
        },
    )

    # typed methods: written by `python -m learner_app.repository.typed_methods`
    if TYPE_CHECKING:

        async def list(
            self,
            *,
            limit: int = 100,
            **filters: Unpack[VerificationFilters],
        ) -> builtins.list[Verification]: ...

        async def page(
            self,
            *,
            limit: int = 100,
            after: str | None = None,
            total: Total | None = None,
            **filters: Unpack[VerificationFilters],
        ) -> Page[Verification]: ...

        def stream(
            self,
            **filters: Unpack[VerificationFilters],
        ) -> AsyncGenerator[Verification, None]: ...

        async def count(self, **filters: Unpack[VerificationFilters]) -> int: ...

        @overload
        async def exists(self, key: UUID) -> bool: ...

        @overload
        async def exists(self, **filters: Unpack[VerificationFilters]) -> bool: ...

        async def exists(self, *args: Any, **kwargs: Any) -> bool: ...
    # end of typed methods

    async def issue(self, identifier: str, ttl: timedelta) -> SecretStr:
        """Issue a code and invalidate earlier codes of the identifier.

        The code cannot be read again: only its hash is stored.

        Args:
            identifier: purpose, colon, and an address or the id of a user.
            ttl: lifetime of the code, one second to ten years.

        Raises:
            InvalidValue: ``identifier`` is malformed or ``ttl`` out of range.
            TransactionError: the isolation level is not ``read committed``; the transaction would
                not see codes that were issued after its snapshot was taken.
        """
        name = validate(IDENTIFIER, _normalise(identifier), "identifier", self.table)
        lifetime = validate(LIFETIME, ttl, "ttl", self.table)
        code = new_token()
        async with self.engine.transaction():
            # Without the lock, concurrent calls would not see each other's row: both would remain.
            await advisory_xact_lock(self.engine, f"verifications {name}")
            await self.execute(ISSUE, new_uuid(), name, token_hash(code), lifetime)
        return code

    async def consume(self, identifier: str, code: str | SecretStr) -> bool:
        """Consume the code. Returns True at most once, also under concurrency.

        A wrong code counts as a failed attempt once the transaction commits, so commit also if the
        result is False. After ten failed attempts the correct code is invalid.
        """
        code = as_secret(code)
        name = _lookup_identifier(identifier)
        return name is not None and await self.fetch_value(CONSUME, name, token_hash(code))

    async def invalidate(self, identifier: str) -> bool:
        """Delete the code of an identifier and return whether one existed."""
        name = _lookup_identifier(identifier)
        return name is not None and await self.execute(INVALIDATE, name) > 0

    async def purge_expired(self, *, batch: int = DEFAULT_LIMIT) -> int:
        """Delete a batch of expired codes and return how many. Call it until it returns 0."""
        keys = lock_oldest_keys_sql(v, v.id, f"{v.expires_at} <= {NOW}", v.expires_at, batch)
        sql = f"DELETE FROM {v} WHERE {v.id} = ANY({keys})"
        return await self.execute(Statement("verifications.purge_expired", sql))


def _normalise(identifier: Any) -> Any:
    """Return the identifier with a normalised address, if it contains one."""
    if not isinstance(identifier, str):
        return identifier
    purpose, colon, address = identifier.partition(":")
    if "@" not in address:
        return identifier
    return f"{purpose}{colon}{lookup_form(address) or address}"


def _lookup_identifier(identifier: Any) -> str | None:
    """Return the normalised identifier, or None if no code can have it."""
    try:
        return validate(IDENTIFIER, _normalise(identifier), "identifier", VerificationTable)
    except InvalidValue:
        return None
