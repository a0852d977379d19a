"""Types of the input fields of users and sign-in."""

from __future__ import annotations

from datetime import date, timedelta
from ipaddress import ip_address
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, TypeAdapter

from learner_app.accounts.emails import normalise_email
from learner_app.accounts.passwords import policy_violation
from learner_app.repository.values import (
    DAY,
    DEFERRED,
    FIRST_YEAR,
    LAST_YEAR,
    NOT_STORABLE,
    OUT_OF_RANGE,
    STORABLE,
    HttpUrlText2000,
    Text255,
    is_storable,
)

KnowledgeLevel = Literal["Beginner", "Intermediate", "Advanced"]
ReferralSource = Literal["Search", "Friend", "Social", "Other"]
DarkMode = Literal["light", "dark", "auto"]


def _normalise(value: Any) -> Any:
    return normalise_email(value) if isinstance(value, str) else value


def _check_policy(password: SecretStr) -> SecretStr:
    if violation := policy_violation(password):
        raise ValueError(violation)
    return password


def _check_storable(token: SecretStr) -> SecretStr:
    if not is_storable(token.get_secret_value()):
        raise ValueError(NOT_STORABLE)
    return token


def _canonical_address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("must be an IPv4 or IPv6 address") from None


def _check_year(day: date) -> date:
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise ValueError(OUT_OF_RANGE)
    return day


Email = Annotated[Text255, BeforeValidator(_normalise)]
"""E-mail address, normalised by :mod:`learner_app.accounts.emails`."""

Password = Annotated[SecretStr, Field(strict=True), AfterValidator(_check_policy)]
"""New password: 8 to 128 characters in NFKC form, at least one letter and one digit."""

ProviderToken = Annotated[SecretStr, Field(strict=True), AfterValidator(_check_storable)]
Provider = Annotated[str, Field(strict=True, min_length=1, max_length=50), STORABLE]
Identifier = Annotated[str, Field(strict=True, min_length=1, max_length=255), STORABLE]
"""Id of an identity at a provider, or identifier of a code."""

Image = HttpUrlText2000
Essay = Annotated[str, Field(strict=True, max_length=10_000), STORABLE]
Day = Annotated[date, DAY, AfterValidator(_check_year)]
Score = Annotated[int, Field(strict=True, ge=0, le=100)]

Lifetime = Annotated[
    timedelta, Field(strict=True, ge=timedelta(seconds=1), le=timedelta(days=3650))
]
"""Lifetime of a session or code: one second to ten years."""

NetworkAddress = Annotated[
    str, Field(strict=True, max_length=100), AfterValidator(_canonical_address)
]

EMAIL: TypeAdapter[str] = TypeAdapter(Email, config=DEFERRED)
LIFETIME: TypeAdapter[timedelta] = TypeAdapter(Lifetime, config=DEFERRED)
NETWORK_ADDRESS: TypeAdapter[str] = TypeAdapter(NetworkAddress, config=DEFERRED)
PROVIDER: TypeAdapter[str] = TypeAdapter(Provider, config=DEFERRED)
IDENTIFIER: TypeAdapter[str] = TypeAdapter(Identifier, config=DEFERRED)
