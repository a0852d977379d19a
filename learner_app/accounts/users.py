"""Repository of users: registration, passwords, profile, erasure and export."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload
from uuid import UUID

from piccolo.columns.combination import WhereRaw
from pydantic import SecretStr

from learner_app.accounts import user_sql
from learner_app.accounts.credentials import (
    check_credentials,
    find_credentials,
    hash_new_password,
    matches_password,
    store_password,
)
from learner_app.accounts.emails import lookup_form
from learner_app.accounts.identities import AccountRepository
from learner_app.accounts.passwords import unusable_hash
from learner_app.accounts.personal_data import erase, export
from learner_app.accounts.redacted import as_secret
from learner_app.accounts.rows import (
    AccountUpdate,
    Erased,
    ProviderUserCreate,
    ResetCode,
    User,
    UserCreate,
    UserFilters,
    UserUpdate,
)
from learner_app.accounts.tables import UserTable, VerificationTable
from learner_app.accounts.tokens import token_hash
from learner_app.accounts.values import EMAIL, LIFETIME
from learner_app.accounts.verifications import VerificationRepository
from learner_app.errors import Conflict, StaleVersion
from learner_app.repository.base import ReadOnlyRepository
from learner_app.repository.filters import Filters, at_least, before
from learner_app.repository.inputs import require_instance, validate
from learner_app.repository.locks import require_read_committed
from learner_app.repository.paging import Order, Page, Total
from learner_app.repository.values import STRICT_BOOL, new_uuid


class UserRepository(ReadOnlyRepository[User, UUID]):
    """People with an account.

    Passwords are passed as ``SecretStr`` or as ``str``; a ``str`` remains visible in the frames of
    the caller. Only the operations that check a password read a hash.
    """

    table = UserTable
    row = User
    filters = Filters(
        UserTable,
        UserFilters,
        {
            "text": lambda text: WhereRaw(
                "(starts_with({}, lower({}::text)) OR starts_with(lower({}), lower({}::text)))",
                *(UserTable.email, text, UserTable.name, text),
            ),
            "created_since": at_least(UserTable.created_at),
            "created_until": before(UserTable.created_at),
        },
    )
    orders = {  # noqa: RUF012  # typed in the base class
        "key": Order(UserTable.id),
        "newest": Order(UserTable.created_at, UserTable.id, descending=True),
    }

    # typed methods: written by `python -m learner_app.repository.typed_methods`
    if TYPE_CHECKING:

        async def list(
            self,
            *,
            limit: int = 100,
            order: Literal["key", "newest"] = "key",
            **filters: Unpack[UserFilters],
        ) -> builtins.list[User]: ...

        async def page(
            self,
            *,
            limit: int = 100,
            after: str | None = None,
            total: Total | None = None,
            order: Literal["key", "newest"] = "key",
            **filters: Unpack[UserFilters],
        ) -> Page[User]: ...

        def stream(
            self,
            *,
            order: Literal["key", "newest"] = "key",
            **filters: Unpack[UserFilters],
        ) -> AsyncGenerator[User, None]: ...

        async def count(self, **filters: Unpack[UserFilters]) -> int: ...

        @overload
        async def exists(self, key: UUID) -> bool: ...

        @overload
        async def exists(self, **filters: Unpack[UserFilters]) -> bool: ...

        async def exists(self, *args: Any, **kwargs: Any) -> bool: ...
    # end of typed methods

    async def find_by_email(self, email: str) -> User | None:
        """Return the user with that address in any spelling, or None."""
        address = lookup_form(email)
        return None if address is None else await self.fetch_row(user_sql.FIND_BY_EMAIL, address)

    async def register(self, new: UserCreate) -> User:
        """Insert a user with a password.

        Exactly one of several concurrent callers with the same address, in any spelling, succeeds.

        Raises:
            Conflict: the address is taken.
        """
        require_instance(UserCreate, new, "new", self.table)
        new_hash = await hash_new_password(self.engine, new.password)
        values = (new_uuid(), new.email, new_hash, new.name, new_uuid())
        return self._require_inserted(await self.fetch_row(user_sql.REGISTER, *values))

    async def register_with_provider(
        self,
        new: ProviderUserCreate,
        provider_id: str,
        account_id: str,
        tokens: AccountUpdate | None = None,
    ) -> User:
        """Insert a user without a password, together with an identity at a provider.

        Raises:
            Conflict: the address is taken (``table`` is ``users``; its user may sign in and link
                the identity), or the identity belongs to another user (``accounts``).
        """
        require_instance(ProviderUserCreate, new, "new", self.table)
        values = (new_uuid(), new.email, unusable_hash(), new.name, new.email_verified, new.image)
        async with self.engine.transaction():
            user = self._require_inserted(
                await self.fetch_row(user_sql.ADD_WITHOUT_PASSWORD, *values)
            )
            accounts = AccountRepository(self.engine)
            await accounts.link(user.id, provider_id, account_id, tokens)
        return user

    async def check_password(self, email: str, password: str | SecretStr) -> User | None:
        """Return the user with that address if the password matches, else None.

        The check takes the same time for an unknown address, so that the duration does not reveal
        which addresses are registered. An imported hash, or one with other parameters, is replaced
        by a new one. To sign a user in, call ``AuthSessionRepository.sign_in``, which is safe
        against a concurrent change of the password.
        """
        password = as_secret(password)
        found = await check_credentials(self.engine, email, password)
        return None if found is None else found.user

    async def set_password(
        self,
        user_id: UUID,
        password: str | SecretStr,
        *,
        keep_token: str | SecretStr | None = None,
    ) -> User:
        """Set the password and delete the user's sessions, in one transaction.

        Codes of :meth:`issue_reset` become invalid. The user may have had no password before.

        Args:
            user_id: the user.
            password: the new password.
            keep_token: token of the session that is not deleted.

        Raises:
            NotFound: the user does not exist.
            InvalidValue: the password violates the policy.
            TransactionError: the isolation level is not ``read committed``.
        """
        password, keep_token = as_secret(password), as_secret(keep_token)
        new_hash = await hash_new_password(self.engine, password)
        if (key := self.key.params(user_id)) is None:
            raise self.not_found()
        async with self.engine.transaction():
            user = await store_password(
                self.engine, key[0], new_hash, keep_session=token_hash(keep_token)
            )
            return self.require_row(user)

    async def change_password(
        self,
        user_id: UUID,
        old: str | SecretStr,
        new: str | SecretStr,
        *,
        keep_token: str | SecretStr | None = None,
    ) -> User | None:
        """Change the password like :meth:`set_password` if the old one is correct.

        Exactly one of several concurrent callers with the same old password succeeds.

        Returns:
            The user; None if ``old`` is not the password.

        Raises:
            NotFound: the user does not exist.
            InvalidValue: the new password violates the policy.
            TransactionError: the isolation level is not ``read committed``.
        """
        old, new, keep_token = as_secret(old), as_secret(new), as_secret(keep_token)
        if (key := self.key.params(user_id)) is None:
            raise self.not_found()
        while True:  # repeated only if another hash was stored since the check
            credentials = await find_credentials(self.engine, key[0])
            if credentials is None:
                raise self.not_found()
            if not await matches_password(self.engine, old, credentials):
                return None
            new_hash = await hash_new_password(self.engine, new)
            async with self.engine.transaction():
                user = await store_password(
                    self.engine,
                    key[0],
                    new_hash,
                    keep_session=token_hash(keep_token),
                    expect=credentials.stored_hash,
                )
            if user is not None:
                return user

    async def issue_reset(self, email: str, ttl: timedelta) -> ResetCode | None:
        """Issue a code for :meth:`reset_password`, or return None if no user has the address.

        Send the code to the address of the returned user, not to the one that was typed, which may
        look the same and belong to another person.

        Raises:
            InvalidValue: ``ttl`` is out of range.
            TransactionError: as for ``VerificationRepository.issue``.
        """
        validate(LIFETIME, ttl, "ttl", VerificationTable)  # for unknown addresses too
        async with self.engine.transaction():
            user = await self._lock_by_email(email)
            if user is None:
                return None
            codes = VerificationRepository(self.engine)
            return ResetCode(user, await codes.issue(f"{user_sql.RESET}:{user.id}", ttl))

    async def reset_password(
        self, email: str, code: str | SecretStr, password: str | SecretStr
    ) -> User | None:
        """Consume a code of :meth:`issue_reset`, set the password and delete all sessions.

        The code is valid for the user to whom it was issued, as long as that user keeps the
        address. A password that violates the policy does not consume the code. A wrong code counts
        as a failed attempt, see ``VerificationRepository.consume``.

        Returns:
            The user; None if the code is wrong or no user has the address.

        Raises:
            InvalidValue: the password violates the policy.
            TransactionError: the isolation level is not ``read committed``.
        """
        code, password = as_secret(code), as_secret(password)
        new_hash = await hash_new_password(self.engine, password)
        codes = VerificationRepository(self.engine)
        async with self.engine.transaction():
            user = await self._lock_by_email(email)
            if user is None or not await codes.consume(f"{user_sql.RESET}:{user.id}", code):
                return None
            return await store_password(self.engine, user.id, new_hash)

    async def update(self, key: UUID, changes: UserUpdate) -> User:
        """Change the fields of the profile that were passed.

        Without any field nothing is written.

        Raises:
            NotFound: the user does not exist.
        """
        fields = require_instance(UserUpdate, changes, "changes", self.table).set_fields()
        if not fields:
            return await self.get(key)
        return self.require_row(await self.update_row(key, fields))

    async def change_email(self, user_id: UUID, email: str) -> User:
        """Change the address and mark it as not verified.

        Codes for the old address become invalid. The same address in another spelling changes
        nothing.

        Raises:
            NotFound: the user does not exist.
            Conflict: the address is taken.
            InvalidValue: ``email`` is not an e-mail address.
            TransactionError: the isolation level is not ``read committed``.
        """
        address = validate(EMAIL, email, "email", self.table)
        async with self.engine.transaction():
            await require_read_committed(self.engine)
            old = await self._lock_email(user_id)
            changed = await self.fetch_row_by_key(user_id, user_sql.CHANGE_EMAIL, address)
            if changed is None:
                return await self.get(user_id)
            await self.execute(user_sql.DELETE_CODES, old, str(changed.id))
        return changed

    async def verify_email(self, user_id: UUID, email: str) -> User:
        """Mark the address as verified. Repeating the call changes nothing.

        Args:
            user_id: the user.
            email: the address to which the code was sent.

        Raises:
            NotFound: the user does not exist.
            StaleVersion: the user has another address now.
        """
        address = lookup_form(email)
        changed = address and await self.fetch_row_by_key(user_id, user_sql.VERIFY_EMAIL, address)
        if changed:
            return changed
        user = await self.get(user_id)
        owner = await self.find_by_email(email)
        if owner is None or owner.id != user.id:
            raise self.error(StaleVersion, "the user has another address now", "email")
        return owner

    async def set_admin(self, user_id: UUID, is_admin: bool) -> User:
        """Grant or revoke the right to administer the product.

        Raises:
            NotFound: the user does not exist.
        """
        flag = validate(STRICT_BOOL, is_admin, "is_admin", self.table)
        changed = await self.fetch_row_by_key(user_id, user_sql.SET_ADMIN, flag)
        return changed or await self.get(user_id)

    async def delete(self, key: UUID) -> Erased:
        """Erase a user with all accounts, sessions, codes and preferences.

        Memberships in tenants are deleted too, but not counted: they belong to the tenants.
        Listening sessions do not refer to users; erase them by id with
        ``ListeningSessionRepository.delete``.

        Returns:
            The number of deleted rows by table. Codes and preferences under the id are deleted and
            counted also if no user has it.

        Raises:
            TransactionError: the isolation level is not ``read committed``.
        """
        params = self.key.params(key)
        return Erased(0, 0, 0, 0, 0) if params is None else await erase(self.engine, *params)

    async def export(self, user_id: UUID) -> dict[str, Any]:
        """Return all personal data of a user as one JSON document, without hashes and tokens.

        Memberships in tenants are not included: they belong to the tenants.

        Raises:
            NotFound: the user does not exist.
        """
        async with self.engine.transaction():
            return await export(self.engine, await self.get(user_id, lock="share"))

    def _require_inserted(self, user: User | None) -> User:
        """Return the inserted user, or raise ``Conflict`` if ``ON CONFLICT DO NOTHING`` applied."""
        if user is None:
            raise self.error(
                Conflict, "the address is taken", "email", constraint="idx_users_email"
            )
        return user

    async def _lock_by_email(self, email: str) -> User | None:
        address = lookup_form(email)
        return None if address is None else await self.fetch_row(user_sql.LOCK_BY_EMAIL, address)

    async def _lock_email(self, user_id: UUID) -> str:
        """Lock the user and return the address."""
        key = self.key.params(user_id)
        email = key and await self.fetch_value(user_sql.LOCK_EMAIL, *key)
        if not email:
            raise self.not_found()
        return str(email)
