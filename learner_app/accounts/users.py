"""The repository of users."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Unpack
from uuid import UUID

from pydantic import TypeAdapter

from learner_app.accounts import user_sql
from learner_app.accounts.credentials import added, new_hash
from learner_app.accounts.emails import lookup_form
from learner_app.accounts.identities import AccountRepository
from learner_app.accounts.passwords import unusable_hash
from learner_app.accounts.personal_data import NOTHING, erase, export
from learner_app.accounts.rows import (
    AccountUpdate,
    Erased,
    ProviderUserCreate,
    User,
    UserCreate,
    UserFilters,
    UserUpdate,
)
from learner_app.accounts.tables import UserTable
from learner_app.accounts.user_passwords import UserPasswords
from learner_app.accounts.values import Email
from learner_app.errors import StaleVersion
from learner_app.repository.inputs import require_instance, validate
from learner_app.repository.locks import require_read_committed
from learner_app.repository.paging import DEFAULT_LIMIT, Order, Page, Total
from learner_app.repository.values import STRICT_BOOL, new_uuid

EMAIL = TypeAdapter(Email)
NEWEST_FIRST = Order(UserTable.created_at, UserTable.id, descending=True)


class UserRepository(UserPasswords):
    """People with an account.

    Passwords come as ``SecretStr``, or as text, which then stands in the caller's own frames. No
    operation but :meth:`check_password` reads a hash.
    """

    async def count(self, **filters: Unpack[UserFilters]) -> int:
        """How many users the filters let through."""
        return await self.count_rows(filters)

    async def page(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        after: str | None = None,
        total: Total | None = None,
        **filters: Unpack[UserFilters],
    ) -> Page[User]:
        """A page by id."""
        return await self.page_rows(filters, limit, after, total)

    def stream(self, **filters: Unpack[UserFilters]) -> AsyncGenerator[User, None]:
        """All of them by id, in constant memory."""
        return self.stream_rows(filters)

    async def search(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        after: str | None = None,
        total: Total | None = None,
        **filters: Unpack[UserFilters],
    ) -> Page[User]:
        """A page of users, the newest first.

        Found along the index on ``created_at`` until the page is full: a text or a flag that few
        users have reads many rows, unless the period is narrow.
        """
        return await self.page_rows(filters, limit, after, total, NEWEST_FIRST)

    async def register(self, new: UserCreate) -> User:
        """Add a user with a password; of many at once with one address, in any spelling, one.

        Raises:
            Conflict: the address is taken.
        """
        require_instance(UserCreate, new, "new", self.table)
        stored = await new_hash(self.engine, new.password)
        values = (new_uuid(), new.email, stored, new.name, new_uuid())
        return added(await self.fetch_row(user_sql.REGISTER, *values))

    async def register_with_provider(
        self,
        new: ProviderUserCreate,
        provider_id: str,
        account_id: str,
        tokens: AccountUpdate | None = None,
    ) -> User:
        """Add a user without a password, who signs in with that identity; both or neither.

        Raises:
            Conflict: the address is taken, whose user may sign in and link the identity; or the
                identity is another user's. ``table`` says which.
        """
        require_instance(ProviderUserCreate, new, "new", self.table)
        values = (new_uuid(), new.email, unusable_hash(), new.name, new.email_verified, new.image)
        async with self.engine.transaction():
            user = added(await self.fetch_row(user_sql.ADD_WITHOUT_PASSWORD, *values))
            identities = AccountRepository(self.engine)
            await identities.link(user.id, provider_id, account_id, tokens)
        return user

    async def update(self, key: UUID, changes: UserUpdate) -> User:
        """Change the fields that were given and no others; without any, the row is as it was.

        Raises:
            NotFound: there is no such user.
        """
        if not (given := require_instance(UserUpdate, changes, "changes", self.table).set_fields()):
            return await self.get(key)
        return self.require_row(await self.update_row(key, given))

    async def update_profile(self, user_id: UUID, changes: UserUpdate) -> User:
        """Change profile and onboarding answers; the same as ``update``."""
        return await self.update(user_id, changes)

    async def change_email(self, user_id: UUID, email: str) -> User:
        """Give a user another address, which is not verified; codes for the old one are void.

        The same address in another spelling changes nothing.

        Raises:
            NotFound: there is no such user.
            Conflict: the address is taken.
            InvalidValue: it is none.
        """
        address = validate(EMAIL, email, "email", self.table)
        async with self.engine.transaction():
            await require_read_committed(self.engine)
            old = await self._locked_email(user_id)
            changed = await self.fetch_row_by_key(user_id, user_sql.CHANGE_EMAIL, address)
            if changed is None:
                return await self.get(user_id)
            await self.engine.execute(user_sql.DROP_CODES, old, str(changed.id))
        return changed

    async def verify_email(self, user_id: UUID, email: str) -> User:
        """Note that the address was confirmed; again, it changes nothing.

        Args:
            user_id: whose.
            email: the address that was confirmed.

        Raises:
            NotFound: there is no such user.
            StaleVersion: the user has another address by now.
        """
        address = lookup_form(email)
        changed = address and await self.fetch_row_by_key(user_id, user_sql.VERIFY_EMAIL, address)
        if changed:
            return changed
        user = await self.get(user_id)
        known = await self.find_by_email(email)
        if known is None or known.id != user.id:
            raise self.error(StaleVersion, "the address is another one by now", "email")
        return known

    async def set_admin(self, user_id: UUID, is_admin: bool) -> User:
        """Let a user administrate the product, or no longer.

        Raises:
            NotFound: there is no such user.
        """
        flag = validate(STRICT_BOOL, is_admin, "is_admin", self.table)
        changed = await self.fetch_row_by_key(user_id, user_sql.SET_ADMIN, flag)
        return changed or await self.get(user_id)

    async def delete(self, key: UUID) -> Erased:
        """Erase a user: accounts, sessions, codes, and the preferences under the user's id.

        Memberships in tenants go along, uncounted: they are the tenants'. Listening sessions are
        not tied to users: they are erased by their ids, with ``ListeningSessionRepository.delete``.

        Returns:
            What was there; all 0 where there is no such user.
        """
        parts = self.key.params(key)
        return NOTHING if parts is None else await erase(self.engine, *parts)

    async def export(self, user_id: UUID) -> dict[str, Any]:
        """All that is kept about a user, as one JSON document: no hash and no token.

        But for memberships in tenants, which are the tenants' to hand out.

        Raises:
            NotFound: there is no such user.
        """
        async with self.engine.transaction():
            return await export(self.engine, await self.get(user_id, lock="share"))

    async def _locked_email(self, user_id: UUID) -> str:
        key = self.key.params(user_id)
        email = key and await self.engine.fetchval(user_sql.LOCK, *key)
        if not email:
            raise self.not_found()
        return str(email)
