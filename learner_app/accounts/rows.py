"""Users and sign-in: rows, what may be given, what is shown, and filters. None has a secret."""

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


class User(Row, frozen=True):
    """Somebody with an account."""

    id: UUID
    email: str
    """In its one spelling, lower case."""
    name: str
    """As the person wants to be called."""
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
    """A way to sign in: the local password, or an identity at a provider."""

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
    """A device that somebody is signed in on."""

    id: UUID
    user_id: UUID
    expires_at: datetime
    """From then on it signs nobody in."""
    ip_address: str | None
    user_agent: str | None
    created_at: datetime
    updated_at: datetime


class Verification(Row, frozen=True):
    """A single-use code that was given out."""

    id: UUID
    identifier: str
    attempts: int
    """Wrong codes so far."""
    expires_at: datetime
    created_at: datetime
    updated_at: datetime


class ResetCode(NamedTuple):
    """A code for a new password, which nobody can ask for again, and whose it is."""

    user: User
    code: SecretStr


class OpenedSession(NamedTuple):
    """A session, and its token, which nobody can ask for again."""

    token: SecretStr
    session: AuthSession


class SignedIn(NamedTuple):
    """Whose token it is."""

    session: AuthSession
    user: User


class ProviderTokens(NamedTuple):
    """What a provider gave for an identity."""

    access_token: SecretStr | None
    refresh_token: SecretStr | None
    id_token: SecretStr | None


class Erased(NamedTuple):
    """How many rows of each table are gone."""

    users: int
    accounts: int
    auth_sessions: int
    verifications: int
    user_preferences: int


class UserCreate(SecretInput, table=UserTable):
    """Somebody who registers with a password, which neither errors nor dumps show."""

    email: Email
    password: Password
    name: Text255 = ""


class ProviderUserCreate(SecretInput, table=UserTable):
    """Somebody who registers through a provider, without a password."""

    email: Email
    name: Text255 = ""
    email_verified: StrictBool = False
    """Whether the provider says so, and is to be believed."""
    image: Image | None = None


class UserUpdate(SecretInput, table=UserTable):
    """Changes of the profile and of the onboarding answers; the rest has its own operations."""

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
    """What a provider gave for an identity; the tokens are shown by nothing."""

    access_token: ProviderToken | None = None
    refresh_token: ProviderToken | None = None
    id_token: ProviderToken | None = None
    access_token_expires_at: UtcDatetime | None = None
    refresh_token_expires_at: UtcDatetime | None = None
    scope: Text | None = None


class UserResponse(BaseModel):
    """A user as a web service shows one: ``UserResponse.of(user)``."""

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
    """Each narrows the selection."""

    text: str
    """What the address or the name begins with, in any case."""
    is_admin: bool
    email_verified: bool
    created_since: UtcDatetime
    """Registered then or later."""
    created_until: UtcDatetime
    """Registered before then."""


class AccountFilters(TypedDict, total=False):
    """Each narrows the selection."""

    user_id: UUID
    provider_id: str


class AuthSessionFilters(TypedDict, total=False):
    """Each narrows the selection."""

    user_id: UUID
    expires_since: UtcDatetime
    """Expires then or later."""
    expires_until: UtcDatetime
    """Expires before then."""


class VerificationFilters(TypedDict, total=False):
    """Each narrows the selection."""

    identifier: str
    expires_since: UtcDatetime
    """Expires then or later."""
    expires_until: UtcDatetime
    """Expires before then."""
