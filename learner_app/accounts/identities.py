"""The repository of sign-in identities."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Unpack
from uuid import UUID

from pydantic import SecretStr, TypeAdapter

from learner_app.accounts.credentials import USER, end_sign_ins
from learner_app.accounts.passwords import unusable_hash
from learner_app.accounts.redacted import reveal
from learner_app.accounts.rows import Account, AccountFilters, AccountUpdate, ProviderTokens
from learner_app.accounts.tables import AccountTable, UserTable
from learner_app.accounts.user_sql import CREDENTIAL, IS_USABLE, SET_HASH
from learner_app.accounts.values import Identity, Provider
from learner_app.errors import Conflict, InvalidTransition
from learner_app.repository.base import ReadOnlyRepository
from learner_app.repository.filters import Filters
from learner_app.repository.inputs import invalid_field, require_instance, validate
from learner_app.repository.locks import require_read_committed
from learner_app.repository.paging import DEFAULT_LIMIT, Order, Page, Total
from learner_app.repository.sql import SqlNames
from learner_app.repository.values import is_storable, new_uuid

PROVIDER, IDENTITY = TypeAdapter(Provider), TypeAdapter(Identity)
OLDEST_FIRST = Order(AccountTable.created_at, AccountTable.id)

a = SqlNames(AccountTable)
bare = a.unqualified
u = SqlNames(UserTable)
ROW = a.fields(Account)

LINK = f"""
INSERT INTO {a} ({bare.id}, {bare.user_id}, {bare.provider_id}, {bare.account_id})
VALUES ($1, $2, $3, $4)
ON CONFLICT ({bare.provider_id}, {bare.account_id}) DO NOTHING RETURNING {ROW}
"""

FIND = f"SELECT {ROW} FROM {a} WHERE {a.provider_id} = $1 AND {a.account_id} = $2"

TOKENS = f"SELECT {a.access_token}, {a.refresh_token}, {a.id_token} FROM {a} WHERE {a.id} = $1"

OWNER = f"SELECT {a.user_id} FROM {a} WHERE {a.id} = $1"

LOCK_USER = f"SELECT {IS_USABLE} FROM {u} WHERE {u.id} = $1 FOR UPDATE"

OTHERS = f"""
SELECT count(*) FROM {a}
WHERE {a.user_id} = $1 AND {a.id} <> $2 AND {a.provider_id} <> '{CREDENTIAL}'
"""

UNLINK = f"DELETE FROM {a} WHERE {a.id} = $1 RETURNING {ROW}"


class AccountRepository(ReadOnlyRepository[Account, UUID]):
    """The ways in which users sign in; no row has a token of a provider's."""

    table = AccountTable
    row = Account
    filters = Filters(AccountTable, AccountFilters)

    async def count(self, **filters: Unpack[AccountFilters]) -> int:
        """How many accounts the filters let through."""
        return await self.count_rows(filters)

    async def page(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        after: str | None = None,
        total: Total | None = None,
        **filters: Unpack[AccountFilters],
    ) -> Page[Account]:
        """A page by id."""
        return await self.page_rows(filters, limit, after, total)

    def stream(self, **filters: Unpack[AccountFilters]) -> AsyncGenerator[Account, None]:
        """All of them by id, in constant memory."""
        return self.stream_rows(filters)

    async def link(
        self,
        user_id: UUID,
        provider_id: str,
        account_id: str,
        tokens: AccountUpdate | None = None,
    ) -> Account:
        """Let a user sign in with an identity; again, it stores the tokens that are given.

        Of two users at once who want the same identity one gets it.

        Raises:
            Conflict: the identity is another user's.
            MissingReference: there is no such user.
            InvalidValue: an id cannot be one, or the provider is ``credential``: that account is
                made by setting a password.
        """
        provider = validate(PROVIDER, provider_id, "provider_id", self.table)
        identity = validate(IDENTITY, account_id, "account_id", self.table)
        if tokens is not None:
            require_instance(AccountUpdate, tokens, "tokens", self.table)
        if provider == CREDENTIAL:
            raise invalid_field(self.table, "provider_id", "is that of passwords")
        if (key := self.key.params(user_id)) is None:
            raise self.missing_reference("user_id")
        async with self.engine.transaction():
            account = await self._linked(key[0], provider, identity)
            if account.user_id != key[0]:
                says, rule = "the identity is another user's", "accounts_provider_id_account_id_key"
                fields = ("provider_id", "account_id")
                raise self.error(Conflict, says, *fields, constraint=rule)
            return account if tokens is None else await self.update_tokens(account.id, tokens)

    async def find_by_provider(self, provider_id: str, account_id: str) -> Account | None:
        """Whose identity it is."""
        given = (provider_id, account_id)
        if not all(isinstance(text, str) and is_storable(text) for text in given):
            return None
        return await self.fetch_row(FIND, *given)

    async def list_for_user(self, user_id: UUID, *, limit: int = DEFAULT_LIMIT) -> list[Account]:
        """The ways in which a user signs in, the oldest first."""
        if (key := self.key.params(user_id)) is None:
            return []
        return await self.list_rows({"user_id": key[0]}, limit, OLDEST_FIRST)

    async def update_tokens(self, account_id: UUID, changes: AccountUpdate) -> Account:
        """Store what the provider gave: the fields given and no others.

        Raises:
            NotFound: there is no such account.
        """
        changes = require_instance(AccountUpdate, changes, "changes", self.table)
        given = {name: reveal(value) for name, value in changes.set_fields().items()}
        if not given:
            return await self.get(account_id)
        return self.require_row(await self.update_row(account_id, given))

    async def tokens(self, account_id: UUID) -> ProviderTokens:
        """What was stored, to call the provider with: the only operation that reads tokens.

        Raises:
            NotFound: there is no such account.
        """
        key = self.key.params(account_id)
        record = key and await self.engine.fetchrow(TOKENS, *key)
        if not record:
            raise self.not_found()
        return ProviderTokens(*(None if text is None else SecretStr(text) for text in record))

    async def unlink(self, account_id: UUID) -> bool:
        """Take a way to sign in away.

        That of the password takes the password along, sessions, and codes for another one.

        Returns:
            Whether it was there.

        Raises:
            InvalidTransition: the user would be left without any.
        """
        key = self.key.params(account_id)
        owner = key and await self.engine.fetchval(OWNER, *key)
        if not key or owner is None:
            return False
        async with self.engine.transaction():
            await require_read_committed(self.engine)
            has_password = await self.engine.fetchval(LOCK_USER, owner)
            account = await self.find(account_id)
            if account is None:
                return False
            is_password = account.provider_id == CREDENTIAL
            others = await self.engine.fetchval(OTHERS, owner, account.id)
            if not others and (is_password or not has_password):
                says = "the user would have no way left to sign in"
                raise self.error(InvalidTransition, says, "id")
            await self.fetch_row(UNLINK, account.id)
            if is_password:
                user = await self.engine.fetchrow(SET_HASH, owner, unusable_hash())
                await end_sign_ins(self.engine, USER.to_row(user or ()), None)
        return True

    async def _linked(self, user_id: UUID, provider: str, identity: str) -> Account:
        while True:  # again only when the account is taken away between the two statements
            linked = await self.fetch_row(LINK, new_uuid(), user_id, provider, identity)
            linked = linked or await self.fetch_row(FIND, provider, identity)
            if linked is not None:
                return linked
