"""Repository of accounts: the identities with which users sign in."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Unpack, overload
from uuid import UUID

from pydantic import SecretStr

from learner_app.accounts.credentials import USER, revoke_access
from learner_app.accounts.passwords import unusable_hash
from learner_app.accounts.redacted import reveal
from learner_app.accounts.rows import (
    Account,
    AccountFilters,
    AccountUpdate,
    ProviderTokens,
)
from learner_app.accounts.tables import AccountTable, UserTable
from learner_app.accounts.user_sql import CREDENTIAL, HAS_PASSWORD, SET_HASH
from learner_app.accounts.values import IDENTIFIER, PROVIDER
from learner_app.errors import Conflict, InvalidTransition
from learner_app.repository.base import ReadOnlyRepository
from learner_app.repository.filters import Filters
from learner_app.repository.inputs import invalid_field, require_instance, validate
from learner_app.repository.locks import require_read_committed
from learner_app.repository.paging import DEFAULT_LIMIT, Order, Page, Total
from learner_app.repository.rows import StoredRow
from learner_app.repository.sql import SqlNames, Statement
from learner_app.repository.values import is_storable, new_uuid

OLDEST = Order(AccountTable.created_at, AccountTable.id)

a = SqlNames(AccountTable)
unqualified = a.unqualified
u = SqlNames(UserTable)
ROW = a.fields(Account)

LINK = Statement(
    "accounts.link",
    f"""
    INSERT INTO {a}
        ({unqualified.id}, {unqualified.user_id}, {unqualified.provider_id},
         {unqualified.account_id})
    VALUES ($1, $2, $3, $4)
    ON CONFLICT ({unqualified.provider_id}, {unqualified.account_id}) DO NOTHING RETURNING {ROW}
    """,
)

FIND = Statement(
    "accounts.find_by_provider",
    f"SELECT {ROW} FROM {a} WHERE {a.provider_id} = $1 AND {a.account_id} = $2",
)

TOKENS = Statement(
    "accounts.tokens",
    f"SELECT {a.access_token}, {a.refresh_token}, {a.id_token} FROM {a} WHERE {a.id} = $1",
)

OWNER = Statement("accounts.owner", f"SELECT {a.user_id} FROM {a} WHERE {a.id} = $1")

LOCK_USER = Statement("users.lock", f"SELECT {HAS_PASSWORD} FROM {u} WHERE {u.id} = $1 FOR UPDATE")

COUNT_OTHERS = Statement(
    "accounts.count_others",
    f"""
    SELECT count(*) FROM {a}
    WHERE {a.user_id} = $1 AND {a.id} <> $2 AND {a.provider_id} <> '{CREDENTIAL}'
    """,
)

UNLINK = Statement("accounts.unlink", f"DELETE FROM {a} WHERE {a.id} = $1")


class AccountRepository(ReadOnlyRepository[Account, UUID]):
    """Identities with which users sign in. Rows do not contain the tokens of the providers."""

    table = AccountTable
    row = Account
    filters = Filters(AccountTable, AccountFilters)

    # typed methods: written by `python -m learner_app.repository.typed_methods`
    if TYPE_CHECKING:

        async def list(
            self,
            *,
            limit: int = 100,
            **filters: Unpack[AccountFilters],
        ) -> builtins.list[Account]: ...

        async def page(
            self,
            *,
            limit: int = 100,
            after: str | None = None,
            total: Total | None = None,
            **filters: Unpack[AccountFilters],
        ) -> Page[Account]: ...

        def stream(
            self,
            **filters: Unpack[AccountFilters],
        ) -> AsyncGenerator[Account, None]: ...

        async def count(self, **filters: Unpack[AccountFilters]) -> int: ...

        @overload
        async def exists(self, key: UUID) -> bool: ...

        @overload
        async def exists(self, **filters: Unpack[AccountFilters]) -> bool: ...

        async def exists(self, *args: Any, **kwargs: Any) -> bool: ...
    # end of typed methods

    async def link(
        self,
        user_id: UUID,
        provider_id: str,
        account_id: str,
        tokens: AccountUpdate | None = None,
    ) -> StoredRow[Account]:
        """Link an identity at a provider to a user, and store its tokens if they are passed.

        If several users link the same identity concurrently, exactly one call succeeds.

        Returns:
            The account; ``created`` is False if the identity was linked to this user before.

        Raises:
            Conflict: the identity belongs to another user.
            MissingReference: the user does not exist.
            InvalidValue: ``provider_id`` or ``account_id`` is malformed, or the provider is
                ``credential``: ``set_password`` creates that account.
        """
        provider = validate(PROVIDER, provider_id, "provider_id", self.table)
        identity = validate(IDENTIFIER, account_id, "account_id", self.table)
        if tokens is not None:
            require_instance(AccountUpdate, tokens, "tokens", self.table)
        if provider == CREDENTIAL:
            raise invalid_field(
                self.table, "provider_id", "credential is reserved for passwords: use set_password"
            )
        if (key := self.key.params(user_id)) is None:
            raise self.missing_reference("user_id")
        async with self.engine.transaction():
            account, created = await self._get_or_create(key[0], provider, identity)
            if account.user_id != key[0]:
                raise self.error(
                    Conflict,
                    "the identity belongs to another user",
                    "provider_id",
                    "account_id",
                    constraint="accounts_provider_id_account_id_key",
                )
            if tokens is not None:
                account = await self.update_tokens(account.id, tokens)
            return StoredRow(account, created)

    async def find_by_provider(self, provider_id: str, account_id: str) -> Account | None:
        """Return the account of an identity at a provider, or None."""
        key = (provider_id, account_id)
        if not all(isinstance(text, str) and is_storable(text) for text in key):
            return None
        return await self.fetch_row(FIND, *key)

    async def list_for_user(
        self, user_id: UUID, *, limit: int = DEFAULT_LIMIT
    ) -> builtins.list[Account]:
        """Return the accounts of a user, the oldest first."""
        if (key := self.key.params(user_id)) is None:
            return []
        return await self.list_rows({"user_id": key[0]}, limit, OLDEST, operation="list_for_user")

    async def update_tokens(self, account_id: UUID, changes: AccountUpdate) -> Account:
        """Store the fields that were passed, such as new tokens.

        Without any field nothing is written.

        Raises:
            NotFound: the account does not exist.
        """
        changes = require_instance(AccountUpdate, changes, "changes", self.table)
        fields = {name: reveal(value) for name, value in changes.set_fields().items()}
        if not fields:
            return await self.get(account_id)
        return self.require_row(await self.update_row(account_id, fields))

    async def tokens(self, account_id: UUID) -> ProviderTokens:
        """Return the tokens of the provider, which no other operation reads.

        Raises:
            NotFound: the account does not exist.
        """
        key = self.key.params(account_id)
        record = key and await TOKENS.fetchrow(self.engine, *key)
        if not record:
            raise self.not_found()
        return ProviderTokens(*(None if text is None else SecretStr(text) for text in record))

    async def unlink(self, account_id: UUID) -> bool:
        """Remove a sign-in method and return whether the account existed.

        Removing the account ``credential`` also removes the password, all sessions and all codes of
        ``UserRepository.issue_reset``.

        Raises:
            InvalidTransition: the user would have no sign-in method left.
            TransactionError: the isolation level is not ``read committed``.
        """
        key = self.key.params(account_id)
        owner = key and await self.fetch_value(OWNER, *key)
        if not key or owner is None:
            return False
        async with self.engine.transaction():
            # The lock on the user's row serialises concurrent calls: if two calls remove the last
            # two methods, the second one sees that no other method is left, and raises.
            await require_read_committed(self.engine)
            has_password = await self.fetch_value(LOCK_USER, owner)
            account = await self.find(account_id)
            if account is None:
                return False
            is_password = account.provider_id == CREDENTIAL
            others = await self.fetch_value(COUNT_OTHERS, owner, account.id)
            if not others and (is_password or not has_password):
                message = "the user would have no sign-in method left: add another one first"
                raise self.error(InvalidTransition, message, "id")
            await self.execute(UNLINK, account.id)
            if is_password:
                record = await SET_HASH.fetchrow(self.engine, owner, unusable_hash())
                if record is not None:
                    await revoke_access(self.engine, USER.to_row(record))
        return True

    async def _get_or_create(
        self, user_id: UUID, provider: str, identity: str
    ) -> StoredRow[Account]:
        while True:  # repeated only if the account is deleted between the two statements
            account = await self.fetch_row(LINK, new_uuid(), user_id, provider, identity)
            if account is not None:
                return StoredRow(account, created=True)
            account = await self.fetch_row(FIND, provider, identity)
            if account is not None:
                return StoredRow(account, created=False)
