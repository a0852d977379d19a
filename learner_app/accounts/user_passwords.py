"""The part of the repository of users that is about their passwords."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from piccolo.columns.combination import WhereRaw
from pydantic import SecretStr

from learner_app.accounts import user_sql
from learner_app.accounts.credentials import (
    check_credentials,
    find_credentials,
    is_password_of,
    new_hash,
    replace_hash,
)
from learner_app.accounts.emails import lookup_form
from learner_app.accounts.redacted import secret
from learner_app.accounts.rows import ResetCode, User, UserFilters
from learner_app.accounts.tables import UserTable, VerificationTable
from learner_app.accounts.tokens import token_hash
from learner_app.accounts.verifications import LIFETIME, VerificationRepository
from learner_app.repository.base import ReadOnlyRepository
from learner_app.repository.filters import Filters, at_least, before
from learner_app.repository.inputs import validate


class UserPasswords(ReadOnlyRepository[User, UUID]):
    """What can be done with a user's password: check, set, change, and reset it by a code."""

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

    async def find_by_email(self, email: str) -> User | None:
        """The user of that address, in any spelling."""
        known = lookup_form(email)
        return None if known is None else await self.fetch_row(user_sql.FIND_BY_EMAIL, known)

    async def check_password(self, email: str, password: str | SecretStr) -> User | None:
        """The user, if it is the password; the work is the same where there is no such user.

        A hash brought along, or made with other parameters, is replaced by a new one. Sign in with
        ``AuthSessionRepository.sign_in``, which leaves no gap for a change of the password.
        """
        password = secret(password)
        known = await check_credentials(self.engine, email, password)
        return None if known is None else known.user

    async def set_password(
        self,
        user_id: UUID,
        password: str | SecretStr,
        *,
        keep_token: str | SecretStr | None = None,
    ) -> User:
        """Change the password and close all sessions, in one transaction.

        Codes of :meth:`issue_reset` are worth nothing then. Whoever had no password may
        sign in with it from now on.

        Args:
            user_id: whose.
            password: the new one.
            keep_token: of the session that stays open.

        Raises:
            NotFound: there is no such user.
            InvalidValue: the password breaks a rule.
        """
        password = secret(password)
        kept = None if keep_token is None else token_hash(keep_token)
        keep_token = None
        stored = await new_hash(self.engine, password)
        if (key := self.key.params(user_id)) is None:
            raise self.not_found()
        async with self.engine.transaction():
            return self.require_row(await replace_hash(self.engine, key[0], stored, kept))

    async def change_password(
        self,
        user_id: UUID,
        old: str | SecretStr,
        new: str | SecretStr,
        *,
        keep_token: str | SecretStr | None = None,
    ) -> User | None:
        """Change the password of somebody who knows the old one; else as :meth:`set_password`.

        Returns:
            None where it is not the old one: of two who change it at once one does.
        """
        old, new = secret(old), secret(new)
        kept = None if keep_token is None else token_hash(keep_token)
        keep_token = None
        if (key := self.key.params(user_id)) is None:
            raise self.not_found()
        known = await find_credentials(self.engine, key[0])
        if known is None:
            raise self.not_found()
        if not await is_password_of(self.engine, old, known):
            return None
        stored = await new_hash(self.engine, new)
        async with self.engine.transaction():
            return await replace_hash(self.engine, key[0], stored, kept, known.stored)

    async def issue_reset(self, email: str, ttl: timedelta) -> ResetCode | None:
        """A code for :meth:`reset_password`, and whose it is; None where nobody has the address.

        Send it to the address of the user, not to the one that was typed.

        Raises:
            InvalidValue: ``ttl`` cannot be one.
            TransactionError: as of ``VerificationRepository.issue``.
        """
        validate(LIFETIME, ttl, "ttl", VerificationTable)  # also if nobody has the address
        async with self.engine.transaction():
            user = await self._locked_by(email)
            if user is None:
                return None
            codes = VerificationRepository(self.engine)
            return ResetCode(user, await codes.issue(f"{user_sql.RESET}:{user.id}", ttl))

    async def reset_password(
        self, email: str, code: str | SecretStr, password: str | SecretStr
    ) -> User | None:
        """Set the password of whoever has the code of :meth:`issue_reset`.

        It is the user's who had the address then, and has it still. All sessions are closed. A
        password that breaks a rule does not use the code up; a wrong code counts, as in
        ``VerificationRepository.consume``.

        Returns:
            None where it is not the code, or nobody has the address.

        Raises:
            InvalidValue: the password breaks a rule.
        """
        code, password = secret(code), secret(password)
        stored = await new_hash(self.engine, password)
        codes = VerificationRepository(self.engine)
        async with self.engine.transaction():
            user = await self._locked_by(email)
            if user is None:
                return None
            if not await codes.consume(f"{user_sql.RESET}:{user.id}", code):
                return None
            return await replace_hash(self.engine, user.id, stored, None)

    async def _locked_by(self, email: str) -> User | None:
        known = lookup_form(email)
        return None if known is None else await self.fetch_row(user_sql.LOCK_BY_EMAIL, known)
