"""The repository of single-use codes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any, Unpack
from uuid import UUID

from pydantic import SecretStr, TypeAdapter

from learner_app.accounts.emails import lookup_form
from learner_app.accounts.redacted import secret
from learner_app.accounts.rows import Verification, VerificationFilters
from learner_app.accounts.tables import VerificationTable
from learner_app.accounts.tokens import new_token, token_hash
from learner_app.accounts.values import Identity, Lifetime
from learner_app.errors import InvalidValue
from learner_app.repository.base import ReadOnlyRepository
from learner_app.repository.batches import affected_rows, lock_oldest_keys_sql
from learner_app.repository.filters import Filters, at_least, before
from learner_app.repository.inputs import validate
from learner_app.repository.locks import advisory_xact_lock
from learner_app.repository.paging import DEFAULT_LIMIT, Page, Total
from learner_app.repository.sql import NOW, SqlNames
from learner_app.repository.values import new_uuid

IDENTIFIER = TypeAdapter(Identity)
LIFETIME = TypeAdapter(Lifetime)

MOST_ATTEMPTS = 10
"""Wrong codes after which the right one is worth nothing."""

v = SqlNames(VerificationTable)
bare = v.unqualified

ISSUE = f"""
WITH earlier AS (DELETE FROM {v} WHERE {v.identifier} = $2)
INSERT INTO {v} ({bare.id}, {bare.identifier}, {bare.value_hash}, {bare.expires_at})
VALUES ($1, $2, $3, {NOW} + $4::interval)
"""

CONSUME = f"""
WITH consumed AS (
    DELETE FROM {v} WHERE {v.identifier} = $1 AND {v.value_hash} = $2
        AND {v.expires_at} > {NOW} AND {v.attempts} < {MOST_ATTEMPTS}
    RETURNING 1
), failed AS (
    UPDATE {v} SET {bare.attempts} = {v.attempts} + 1
    WHERE {v.identifier} = $1 AND {v.value_hash} IS DISTINCT FROM $2
        AND {v.attempts} < {MOST_ATTEMPTS}
)
SELECT EXISTS (SELECT FROM consumed)
"""
"""Takes identifier and hash. Of many at once one deletes the row, and the others find none."""

INVALIDATE = f"DELETE FROM {v} WHERE {v.identifier} = $1"


class VerificationRepository(ReadOnlyRepository[Verification, UUID]):
    """Codes that work once: for a forgotten password, a new address and the like.

    An identifier is purpose and address, ``reset-password:<address>``; the address is meant in any
    spelling. Of each identifier one code is valid.
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

    async def count(self, **filters: Unpack[VerificationFilters]) -> int:
        """How many codes the filters let through."""
        return await self.count_rows(filters)

    async def page(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        after: str | None = None,
        total: Total | None = None,
        **filters: Unpack[VerificationFilters],
    ) -> Page[Verification]:
        """A page by id."""
        return await self.page_rows(filters, limit, after, total)

    def stream(self, **filters: Unpack[VerificationFilters]) -> AsyncGenerator[Verification, None]:
        """All of them by id, in constant memory."""
        return self.stream_rows(filters)

    async def issue(self, identifier: str, ttl: timedelta) -> SecretStr:
        """A new code, which nobody can ask for again; earlier ones of the identifier are void.

        Args:
            identifier: purpose and address.
            ttl: how long it is valid; a second to ten years.

        Raises:
            InvalidValue: the identifier cannot be one, or ``ttl``.
            TransactionError: in a ``repeatable read`` or ``serializable`` transaction, which would
                not see earlier codes.
        """
        name = validate(IDENTIFIER, _one_spelling(identifier), "identifier", self.table)
        lifetime = validate(LIFETIME, ttl, "ttl", self.table)
        code = new_token()
        async with self.engine.transaction():
            await advisory_xact_lock(self.engine, f"verifications {name}")
            await self.engine.execute(ISSUE, new_uuid(), name, token_hash(code), lifetime)
        return code

    async def consume(self, identifier: str, code: str | SecretStr) -> bool:
        """Whether it is the code, which is worth nothing from then on; of ten at once one has it.

        A wrong code counts, and ten of them make the right one void: commit also when it was
        wrong.
        """
        code = secret(code)
        name = _known(identifier)
        return name is not None and await self.engine.fetchval(CONSUME, name, token_hash(code))

    async def invalidate(self, identifier: str) -> bool:
        """Make the code of an identifier void; whether there was one."""
        name = _known(identifier)
        return name is not None and await self._execute(INVALIDATE, name) > 0

    async def purge_expired(self, *, batch: int = DEFAULT_LIMIT) -> int:
        """Delete some expired codes and say how many; call it until 0."""
        keys = lock_oldest_keys_sql(v, v.id, f"{v.expires_at} <= {NOW}", v.expires_at, batch)
        return await self._execute(f"DELETE FROM {v} WHERE {v.id} = ANY({keys})")

    async def _execute(self, sql: str, *args: Any) -> int:
        return affected_rows(await self.engine.execute(sql, *args))


def _one_spelling(identifier: Any) -> Any:
    """With the address, which is what stands behind the purpose, as users have it."""
    if not isinstance(identifier, str):
        return identifier
    purpose, colon, address = identifier.partition(":")
    if "@" not in address:
        return identifier
    return f"{purpose}{colon}{lookup_form(address) or address}"


def _known(identifier: Any) -> str | None:
    """The identifier to look for; None where there can be none."""
    try:
        return validate(IDENTIFIER, _one_spelling(identifier), "identifier", VerificationTable)
    except InvalidValue:
        return None
