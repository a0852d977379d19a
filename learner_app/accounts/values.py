"""Types of what is given to users and sign-in."""

from __future__ import annotations

from datetime import date, timedelta
from ipaddress import ip_address
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from learner_app.accounts.emails import normal_email
from learner_app.accounts.passwords import policy_violation
from learner_app.repository.values import (
    DAY,
    FIRST_YEAR,
    LAST_YEAR,
    STORABLE,
    HttpUrlText2000,
    Text255,
    is_storable,
)

KnowledgeLevel = Literal["Beginner", "Intermediate", "Advanced"]
ReferralSource = Literal["Search", "Friend", "Social", "Other"]
DarkMode = Literal["light", "dark", "auto"]


def _one_spelling(given: Any) -> Any:
    return normal_email(given) if isinstance(given, str) else given


def _by_the_rules(password: SecretStr) -> SecretStr:
    if broken := policy_violation(password):
        raise ValueError(broken)
    return password


def _storable_secret(token: SecretStr) -> SecretStr:
    if not is_storable(token.get_secret_value()):
        raise ValueError("must not contain NUL characters or lone surrogates")
    return token


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address") from None


def _in_calendar(day: date) -> date:
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ValueError("is out of range")
    return day


Email = Annotated[Text255, BeforeValidator(_one_spelling)]
"""In its one spelling from here on: ``learner_app.accounts.emails``."""

Password = Annotated[SecretStr, Field(strict=True), AfterValidator(_by_the_rules)]
"""8 to 128 characters with a letter and a digit, after NFKC."""

ProviderToken = Annotated[SecretStr, Field(strict=True), AfterValidator(_storable_secret)]
Provider = Annotated[str, Field(strict=True, min_length=1, max_length=50), STORABLE]
Identity = Annotated[str, Field(strict=True, min_length=1, max_length=255), STORABLE]
Image = HttpUrlText2000
Essay = Annotated[str, Field(strict=True, max_length=10_000), STORABLE]
Day = Annotated[date, DAY, AfterValidator(_in_calendar)]
Score = Annotated[int, Field(strict=True, ge=0, le=100)]

Lifetime = Annotated[
    timedelta, Field(strict=True, ge=timedelta(seconds=1), le=timedelta(days=3650))
]
"""A second to ten years."""

NetworkAddress = Annotated[str, Field(strict=True, max_length=100), AfterValidator(_address)]
