"""Types of input fields, validated to what PostgreSQL accepts."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Annotated, Any
from uuid import UUID

import uuid_utils
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import SchemaValidator
from pydantic_core.core_schema import url_schema

from learner_app.repository.json_values import storable_json

__all__ = [
    "AS_NUMBER",
    "DAY",
    "DEFERRED",
    "HTTP_URL",
    "JSON_OBJECT",
    "MAX_KEY_LENGTH",
    "NUMBER",
    "OPTIONAL_UTC_DATETIME",
    "STORABLE",
    "STRICT_BOOL",
    "UTC_DATETIME",
    "EventType",
    "HttpUrlText1000",
    "HttpUrlText2000",
    "JsonObject",
    "Key",
    "NonNegativeBigInt",
    "NonNegativeInt",
    "Percent",
    "PositiveInt",
    "Seconds",
    "StrictBool",
    "Text",
    "Text10",
    "Text50",
    "Text100",
    "Text200",
    "Text255",
    "Text500",
    "Text1000",
    "UnitInterval",
    "UtcDatetime",
    "between",
    "is_storable",
    "new_key",
    "new_uuid",
    "numeric",
    "usual_numbers",
]

MAX_KEY_LENGTH = 255
"""Maximum characters of a text key."""

FIRST_YEAR, LAST_YEAR = 2, 9998
"""Years of accepted times; the driver converts the minimum and maximum datetime to infinity."""

NOT_STORABLE = "must not contain NUL characters or lone surrogates"
OUT_OF_RANGE = f"must be in the years {FIRST_YEAR} to {LAST_YEAR}"

ROUNDING = Context(prec=1000, rounding=ROUND_HALF_UP)
"""Context of the package: that of the caller may have fewer digits or trap inexact results."""

_ISO_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_ISO_TIME = re.compile(rf"{_ISO_DAY.pattern}[Tt ]\d\d:", re.ASCII)
_UTC_TIME = re.compile(
    rf"{_ISO_DAY.pattern}T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{{1,6}})?(Z|\+00:00)", re.ASCII
)
_URL = SchemaValidator(url_schema(allowed_schemes=["http", "https"], max_length=2083))
"""Validator of Pydantic's ``HttpUrl`` without the object that it creates for each valid URL."""

_HTTP_PREFIX = re.compile(r"https?://[^/?#]", re.IGNORECASE)
_NOT_IN_URL = re.compile(r"[\s\x00-\x1f\x7f-\x9f\\]")
"""White space, control characters and backslashes, which some URL parsers drop or replace."""


def new_key() -> str:
    """Return a new text key, a UUIDv7, whose order is that of generation."""
    return str(uuid_utils.uuid7())


def new_uuid() -> UUID:
    """Return a new UUIDv7, for keys of type UUID."""
    return UUID(new_key())


def is_storable(text: str) -> bool:
    """Return whether PostgreSQL can store the text: it has no NUL and no lone surrogate."""
    if text.isascii():
        return "\0" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError(NOT_STORABLE)
    return text


def _http_url(text: str) -> str:
    """Return the text unchanged if every parser reads it as the same http or https URL."""
    is_plain = _HTTP_PREFIX.match(text) and not _NOT_IN_URL.search(text)
    try:
        _URL.validate_python(text if is_plain else "")
    except ValidationError:
        raise ValueError("must be an http or https URL") from None
    return text


def _number(value: Any) -> Any:
    """Reject strings and booleans, which Pydantic would convert."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("must be a number")  # noqa: TRY004  # Pydantic catches ValueError
    return value


def _time(value: Any) -> Any:
    """Reject numbers, which Pydantic would read as seconds since 1970, also in strings."""
    if isinstance(value, datetime) or (isinstance(value, str) and _ISO_TIME.match(value)):
        return value
    raise ValueError("must be a datetime, or ISO 8601 text, with a time zone")


def _day(value: Any) -> Any:
    """Reject numbers, as :func:`_time` does, and datetimes."""
    is_date = isinstance(value, date) and not isinstance(value, datetime)
    if is_date or (isinstance(value, str) and _ISO_DAY.fullmatch(value)):
        return value
    raise ValueError("must be a date, or ISO 8601 text")


def _usual_time(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    """Return a time in UTC, and pass all other values to the validators of the type.

    They have the same result for it, in three times the time.
    """
    time = value
    if type(value) is str and _UTC_TIME.fullmatch(value):
        try:
            time = datetime.fromisoformat(value)
        except ValueError:  # a day that the month does not have
            return validate(value)
    if type(time) is datetime and time.tzinfo is UTC and FIRST_YEAR <= time.year <= LAST_YEAR:
        return time
    return validate(value)


def _in_utc(time: datetime) -> datetime:
    try:
        time = time.astimezone(UTC)
    except OverflowError:
        raise ValueError(OUT_OF_RANGE) from None
    if not FIRST_YEAR <= time.year <= LAST_YEAR:
        raise ValueError(OUT_OF_RANGE)
    return time


def numeric(precision: int, scale: int) -> AfterValidator:
    """Return a validator that rounds as ``NUMERIC(precision, scale)`` does and rejects overflow.

    PostgreSQL rounds half away from zero.
    """
    step = Decimal(1).scaleb(-scale)
    limit = Decimal(10) ** (precision - scale)

    def rounded(number: Decimal) -> Decimal:
        if -limit < number < limit:  # before rounding, which would overflow with huge exponents
            number = number.quantize(step, context=ROUNDING)
        if not -limit < number < limit:
            raise ValueError(f"must be below {limit}")
        return number

    return AfterValidator(rounded)


def between(low: Decimal | int, high: Decimal | int | None = None) -> Callable[[Any], Any]:
    """Return a function that checks a range, for an ``AfterValidator`` after :func:`numeric`."""

    def within(number: Any) -> Any:
        if number < low or (high is not None and number > high):
            bound = f"at least {low}" if high is None else f"from {low} to {high}"
            raise ValueError(f"must be {bound}")
        return number

    return within


def usual_numbers(scale: int, low: Decimal | int, high: Decimal | int) -> WrapValidator:
    """Return a validator that only rounds numbers of a range, and passes all other values on.

    It belongs after the validators of the field, whose result it has to be for these numbers. They
    take twice as long, as Pydantic calls several methods of a Decimal.
    """
    step = Decimal(1).scaleb(-scale)
    minimum, maximum = Decimal(low), Decimal(high)
    quantize = ROUNDING.quantize

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        kind = type(value)
        if kind is Decimal:
            number = value
        elif kind is float:
            number = Decimal(repr(value))
        elif kind is int:
            number = Decimal(value)
        else:
            return handler(value)
        if number.is_finite() and minimum <= number <= maximum:
            return quantize(number, step)
        return handler(value)

    return WrapValidator(validate)


STORABLE = AfterValidator(_storable)

Text = Annotated[str, Field(strict=True), STORABLE]
Text10 = Annotated[str, Field(strict=True, max_length=10), STORABLE]
Text50 = Annotated[str, Field(strict=True, max_length=50), STORABLE]
Text100 = Annotated[str, Field(strict=True, max_length=100), STORABLE]
Text200 = Annotated[str, Field(strict=True, max_length=200), STORABLE]
Text255 = Annotated[str, Field(strict=True, max_length=255), STORABLE]
Text500 = Annotated[str, Field(strict=True, max_length=500), STORABLE]
Text1000 = Annotated[str, Field(strict=True, max_length=1000), STORABLE]

HTTP_URL = AfterValidator(_http_url)
"""Absolute http or https URL with a host, stored unchanged; every other scheme is rejected."""

HttpUrlText1000 = Annotated[Text1000, HTTP_URL]
HttpUrlText2000 = Annotated[str, Field(strict=True, max_length=2000), STORABLE, HTTP_URL]

EventType = Annotated[str, Field(strict=True, min_length=1, max_length=50), STORABLE]
"""Type of an event, including types that only the clients know."""

Key = Annotated[str, Field(strict=True, min_length=1, max_length=MAX_KEY_LENGTH), STORABLE]
"""Text key."""

JsonObject = Annotated[dict[str, Any], AfterValidator(storable_json)]
"""JSON object of at most 1 MB and 100 levels."""

NUMBER = BeforeValidator(_number)
"""Validator of Decimal fields that accepts int, float and Decimal, but no strings."""

AS_NUMBER = PlainSerializer(float, when_used="json")
"""Serializer to a JSON number: a string would be rejected when the JSON is parsed again."""

DAY = BeforeValidator(_day)
"""Validator of date fields that accepts dates and ISO 8601 strings, but no numbers."""

UtcDatetime = Annotated[
    AwareDatetime, BeforeValidator(_time), AfterValidator(_in_utc), WrapValidator(_usual_time)
]
"""Time with a time zone, converted to UTC. Inputs also accept ISO 8601 strings, as in JSON."""

NonNegativeInt = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
"""Integer from 0, for INTEGER columns."""

PositiveInt = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
NonNegativeBigInt = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]

UnitInterval = Annotated[
    Decimal,
    NUMBER,
    numeric(3, 2),
    AfterValidator(between(0, 1)),
    usual_numbers(2, 0, 1),
    AS_NUMBER,
]
"""Number from 0 to 1, rounded to hundredths."""

Percent = Annotated[
    Decimal,
    NUMBER,
    numeric(5, 2),
    AfterValidator(between(0, 100)),
    usual_numbers(2, 0, 100),
    AS_NUMBER,
]

Seconds = Annotated[
    Decimal,
    NUMBER,
    numeric(10, 2),
    AfterValidator(between(0)),
    usual_numbers(2, 0, 10**7),
    AS_NUMBER,
]
"""Seconds from 0, rounded to hundredths, for NUMERIC(10, 2)."""

StrictBool = Annotated[bool, Field(strict=True)]

DEFERRED = ConfigDict(defer_build=True)
"""Configuration of a TypeAdapter that is built by its first validation, not by the import."""

STRICT_BOOL: TypeAdapter[bool] = TypeAdapter(StrictBool, config=DEFERRED)
UTC_DATETIME: TypeAdapter[datetime] = TypeAdapter(UtcDatetime, config=DEFERRED)
OPTIONAL_UTC_DATETIME: TypeAdapter[datetime | None] = TypeAdapter(
    UtcDatetime | None, config=DEFERRED
)
JSON_OBJECT: TypeAdapter[dict[str, Any]] = TypeAdapter(JsonObject, config=DEFERRED)
