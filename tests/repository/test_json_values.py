"""The fast check of JSON accepts, rejects and stores what the careful one does."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner_app.repository.json_values import (
    MAX_JSON_BYTES,
    MAX_JSON_DEPTH,
    json_text,
    plain_json,
    storable_json,
)


class Colour(Enum):
    RED = "red"


class Name(StrEnum):
    A = "a"


class Size(IntEnum):
    ONE = 1


class Point(msgspec.Struct):
    x: int = 1


@dataclass
class Pair:
    x: int = 1


OTHER_TYPES: list[Any] = [
    *(Colour.RED, Name.A, Size.ONE, Point(), Pair(), object(), Decimal("1.5"), Decimal("NaN")),
    *(UUID(int=1), datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1), b"a", bytearray(b"a")),
    *({1}, frozenset({"a"}), msgspec.Raw(b"{}"), 1j, ..., (1,), ("a", ("b",)), {1: 1}, {None: 1}),
    *({True: 1}, {1.5: 1}, {1: 1, "1": 2}, {Name.A: 1}, {Colour.RED: 1}, {b"a": 1}, {(1,): 1}),
    *(float("nan"), float("inf"), -float("inf"), -0.0, 1e300, 1e-5, 1e16, 5e-324, 2**53 + 1),
    *(2**63, 2**64, -(2**63) - 1, 10**400, "\0", "\\u0000", "\\\0", "\ud800", "\ud83d\ude00"),
    *("\u2028", "\x7f", "\x01", "é" * 300, "x" * 10_001),
]

texts = st.text() | st.text(st.characters(exclude_categories=()), max_size=5)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars | st.sampled_from(OTHER_TYPES),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts, inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(scalars | st.sampled_from([Name.A, Size.ONE]), inner, max_size=3)
    ),
    max_leaves=12,
)
ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def careful_check(value: Any) -> Any:
    """The former check, which had no fast path."""
    try:
        text = ENCODER.encode(value)
        encoded = text.encode()
    except (ValueError, TypeError):
        raise ValueError("must be JSON, without NaN, infinity and lone surrogates") from None
    except RecursionError:
        raise ValueError(f"must not be nested deeper than {MAX_JSON_DEPTH} levels") from None
    exponents = re.findall(r"\de[+-](\d{1,3})", text)
    if len(encoded) + sum(min(int(exponent), 400) for exponent in exponents) > MAX_JSON_BYTES:
        raise ValueError("must not be larger than 1 MB as JSON")
    if "\\u0000" in text and re.search(r"(?<!\\)(?:\\\\)*\\u0000", text):
        raise ValueError("must not contain NUL characters")
    if text.count("{") + text.count("[") > MAX_JSON_DEPTH and depth(value) > MAX_JSON_DEPTH:
        raise ValueError(f"must not be nested deeper than {MAX_JSON_DEPTH} levels")
    decoded = msgspec.json.decode(encoded)
    if decoded != value and not has_text_keys(value):
        raise ValueError("must have strings as the keys of its objects")
    return decoded


def has_text_keys(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and has_text_keys(value[key]) for key in value)
    return not isinstance(value, list | tuple) or all(map(has_text_keys, value))


def depth(value: Any) -> int:
    levels, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list | tuple)]:
        levels += 1
        level = [
            inner for item in level for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return levels


def outcome(check: Any, value: Any) -> tuple[str, Any]:
    """Return the result with its types, in which 1, 1.0 and True differ, or the error."""
    try:
        return "accepted", repr(check(value))
    except (ValueError, TypeError, RecursionError) as error:
        return type(error).__name__, str(error)


def stored_numbers(text: str) -> Any:
    """Return parsed JSON with each number as PostgreSQL stores it: value and decimal places."""

    def number(digits: str) -> tuple[Decimal, int]:
        parsed = Decimal(digits)
        exponent = parsed.as_tuple().exponent
        assert isinstance(exponent, int)
        return parsed, max(0, -exponent)

    return json.loads(text, parse_float=number, parse_int=number)


def nested(levels: int, inner: Any = 1) -> Any:
    for _ in range(levels):
        inner = [inner]
    return inner


LIMITS: dict[str, Any] = {
    "deep": nested(MAX_JSON_DEPTH),
    "too deep": nested(MAX_JSON_DEPTH + 1),
    "deep and wide": nested(MAX_JSON_DEPTH - 4, [{"a": [[]]}] * 60),
    "too deep and wide": nested(MAX_JSON_DEPTH - 3, [{"a": [[]]}] * 60),
    "wide": [nested(3)] * 100,
    "too deep for Python": nested(100_000),
    "digits": {"a": [1e300] * 2000},
    "too many digits": {"a": [1e300] * 3400},
    "long": {"a": "x" * (MAX_JSON_BYTES - 8)},
    "too long": {"a": "x" * (MAX_JSON_BYTES - 7)},
    "too long in bytes": {"a": "é" * (MAX_JSON_BYTES // 2 - 3)},
    "many e": {"a": "e" * 3000},
}


@given(values)
def test_the_check_accepts_and_rejects_what_it_did_before(value: Any):
    assert outcome(storable_json, value) == outcome(careful_check, value)


@pytest.mark.parametrize("value", LIMITS.values(), ids=LIMITS)
def test_the_check_is_unchanged_at_its_limits(value: Any):
    assert outcome(storable_json, value) == outcome(careful_check, value)


@pytest.mark.parametrize("value", OTHER_TYPES, ids=lambda value: type(value).__name__)
def test_the_check_is_unchanged_for_other_types(value: Any):
    for whole in ({"a": value}, {"a": [1, {"b": value}]}, value):
        assert outcome(storable_json, whole) == outcome(careful_check, whole)


@given(values)
def test_the_text_means_to_postgresql_what_that_of_python_means(value: Any):
    expected = outcome(lambda it: stored_numbers(ENCODER.encode(it)), value)
    assert outcome(lambda it: stored_numbers(json_text(it)), value) == expected


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_is_stored_with_the_same_decimal_places(number: float):
    assert stored_numbers(json_text(number)) == stored_numbers(repr(number))


def test_events_are_checked_on_the_fast_path():
    event = {"format": "podcast", "speed": 1.25, "tags": ["a", None, True], "é": {"b": -1}}
    checked = plain_json(event)
    assert checked is not None
    text, copy = checked
    assert copy == event == json.loads(text)
    assert copy is not event
    large = {"screens": [{"name": f"screen {number}", "x": 1.5} for number in range(200)]}
    assert plain_json(large) is not None
