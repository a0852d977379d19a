"""Rows, inputs, responses and filters of users and sign-in. None contains a stored secret."""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, SecretStr
from typing_extensions import TypedDict

from learner_app.accounts.tables import AccountTable, UserTable
from learner_app.accounts.values import (
    DarkMode,
    Day,
    Email,
    Essay,
    Image,
    KnowledgeLevel,
    Password,
    ProviderToken,
    ReferralSource,
    Score,
)
from learner_app.repository.inputs import UNSET, SecretInput
from learner_app.repository.rows import Row
from learner_app.repository.values import PositiveInt, StrictBool, Text, Text255, UtcDatetime

__all__ = [
    "Account",
    "AccountFilters",
    "AccountUpdate",
    "AuthSession",
    "AuthSessionFilters",
    "DarkMode",
    "Erased",
    "KnowledgeLevel",
    "OpenedSession",
    "ProviderTokens",
    "ProviderUserCreate",
    "ReferralSource",
    "ResetCode",
    "SignedIn",
    "User",
    "UserCreate",
    "UserFilters",
    "UserResponse",
    "UserUpdate",
    "Verification",
    "VerificationFilters",
]


class User(Row, frozen=True):
    """Person with an account."""

    id: UUID
    email: str
    """Normalised, in lower case."""
    name: str
    """Name to address the person by."""
    email_verified: bool
    image: str | None
    exam_date: date | None
    target_score: int | None
    """0 to 100."""
    daily_study_time: int | None
    """Minutes a day."""
    knowledge_level: KnowledgeLevel | None
    motivation: str | None
    referral_source: ReferralSource | None
    is_admin: bool
    dark_mode: DarkMode
    created_at: datetime
    updated_at: datetime


class Account(Row, frozen=True):
    """Sign-in method: the local password, or an identity at a provider."""

    id: UUID
    user_id: UUID
    provider_id: str
    """``credential`` for the local password."""
    account_id: str
    """The identity's id at the provider; the user's id for ``credential``."""
    access_token_expires_at: datetime | None
    refresh_token_expires_at: datetime | None
    scope: str | None
    created_at: datetime
    updated_at: datetime


class AuthSession(Row, frozen=True):
    """Device on which a user is signed in."""

    id: UUID
    user_id: UUID
    expires_at: datetime
    """Time from which on the session is invalid."""
    ip_address: str | None
    user_agent: str | None
    created_at: datetime
    updated_at: datetime


class Verification(Row, frozen=True):
    """Issued single-use code, without the code itself."""

    id: UUID
    identifier: str
    attempts: int
    """Number of wrong codes so far."""
    expires_at: datetime
    created_at: datetime
    updated_at: datetime


class ResetCode(NamedTuple):
    """Code that resets the password of a user, and cannot be read again."""

    user: User
    code: SecretStr


class OpenedSession(NamedTuple):
    """Session and its token, which cannot be read again."""

    token: SecretStr
    session: AuthSession


class SignedIn(NamedTuple):
    """Session of a token and its user."""

    session: AuthSession
    user: User


class ProviderTokens(NamedTuple):
    """Tokens that a provider issued for an identity."""

    access_token: SecretStr | None
    refresh_token: SecretStr | None
    id_token: SecretStr | None


class Erased(NamedTuple):
    """Number of erased rows by table."""

    users: int
    accounts: int
    auth_sessions: int
    verifications: int
    user_preferences: int


class UserCreate(SecretInput, table=UserTable):
    """Registration with a password, which errors and ``model_dump`` mask."""

    email: Email
    password: Password
    name: Text255 = ""


class ProviderUserCreate(SecretInput, table=UserTable):
    """Registration through a provider, without a password."""

    email: Email
    name: Text255 = ""
    email_verified: StrictBool = False
    """True if a trusted provider has verified the address."""
    image: Image | None = None


class UserUpdate(SecretInput, table=UserTable):
    """Changes of the profile and the onboarding answers. Each other field has its own operation."""

    name: Text255 = UNSET
    image: Image | None = None
    exam_date: Day | None = None
    target_score: Score | None = None
    daily_study_time: PositiveInt | None = None
    knowledge_level: KnowledgeLevel | None = None
    motivation: Essay | None = None
    referral_source: ReferralSource | None = None
    dark_mode: DarkMode = UNSET


class AccountUpdate(SecretInput, table=AccountTable):
    """Tokens and scope that a provider issued. Errors and ``model_dump`` mask the tokens."""

    access_token: ProviderToken | None = None
    refresh_token: ProviderToken | None = None
    id_token: ProviderToken | None = None
    access_token_expires_at: UtcDatetime | None = None
    refresh_token_expires_at: UtcDatetime | None = None
    scope: Text | None = None


class UserResponse(BaseModel):
    """User for the response of a web service, created by ``UserResponse.of(user)``."""

    model_config = ConfigDict(extra="forbid", from_attributes=True, frozen=True)

    id: UUID
    email: str
    name: str
    email_verified: bool
    image: str | None
    exam_date: date | None
    target_score: int | None
    daily_study_time: int | None
    knowledge_level: KnowledgeLevel | None
    motivation: str | None
    referral_source: ReferralSource | None
    is_admin: bool
    dark_mode: DarkMode
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, user: User) -> Self:
        return cls.model_validate(user)


class UserFilters(TypedDict, total=False):
    """Filters, combined with AND."""

    text: str
    """Prefix of the address or the name, case-insensitive."""
    is_admin: bool
    email_verified: bool
    created_since: UtcDatetime
    """Earliest time of registration, inclusive."""
    created_until: UtcDatetime
    """Latest time of registration, exclusive."""


class AccountFilters(TypedDict, total=False):
    """Filters, combined with AND."""

    user_id: UUID
    provider_id: str


class AuthSessionFilters(TypedDict, total=False):
    """Filters, combined with AND."""

    user_id: UUID
    expires_since: UtcDatetime
    """Earliest expiry, inclusive."""
    expires_until: UtcDatetime
    """Latest expiry, exclusive."""


class VerificationFilters(TypedDict, total=False):
    """Filters, combined with AND."""

    identifier: str
    expires_since: UtcDatetime
    """Earliest expiry, inclusive."""
    expires_until: UtcDatetime
    """Latest expiry, exclusive."""
