"""JSON values: their text, comparison, and the check that PostgreSQL can store them."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import Any

import msgspec

MAX_JSON_BYTES = 1_000_000
"""Maximum bytes of a JSON value, with its numbers as PostgreSQL prints them."""

MAX_JSON_DEPTH = 100
"""Maximum levels of nested JSON, far below the stack limits of Python and PostgreSQL."""

MAX_DIGITS = 400
"""Maximum digits of a number that is a Python float, printed without an exponent."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_encode_plain = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_NOT_PLAIN = (
    msgspec.MsgspecError,
    OverflowError,  # an integer of more than 64 bits
    RecursionError,
    TypeError,
    ValueError,
)
_EXPONENT = re.compile(r"\de[+-](\d{1,3})")
_NUL_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def plain_json(value: Any) -> tuple[bytes, Any] | None:
    """Return the JSON text of a value and its copy, or None if that needs a careful check.

    A result means that PostgreSQL can store the value. The check takes a tenth of the time of
    :func:`storable_json`, which has to decide about the other values: tuples, integers of more than
    64 bits, large or deeply nested JSON, texts with a NUL, and everything that is no JSON.
    """
    try:
        text = _encode_plain(value)
        copy = _decode(text)
        # msgspec encodes more types than JSON has, such as datetime, Decimal and set, and NaN as
        # null. None of these is equal to the decoded string, list or null.
        is_plain = copy == value
    except _NOT_PLAIN:
        return None
    # Each level has two brackets, so a short text cannot be nested too deeply.
    is_short = len(text) <= 2 * MAX_JSON_DEPTH
    if not is_plain or b"\\u0000" in text or not (is_short or _is_within_limits(text, copy)):
        return None
    return text, copy


def storable_json(value: Any) -> Any:
    """Return a copy of a value that PostgreSQL can store as JSON.

    Raises:
        ValueError: the value is no JSON, too large or nested too deeply, or contains a NUL.
    """
    plain = plain_json(value)
    return _carefully_checked(value) if plain is None else plain[1]


def json_text(value: Any) -> str:
    """Return the JSON text that is sent to the server, without escapes of non-ASCII characters.

    Raises:
        ValueError: the value contains NaN, infinity or a cycle.
        TypeError: the value contains an object of a type that JSON does not have.
        RecursionError: the value is nested too deeply.
    """
    plain = plain_json(value)
    return _ENCODER.encode(value) if plain is None else plain[0].decode()


def copied_json(value: Any) -> Any:
    """Return a deep copy of JSON, which takes a tenth of the time of ``copy.deepcopy``."""
    plain = plain_json(value)
    return deepcopy(value) if plain is None else plain[1]


def is_same_json(one: Any, other: Any) -> bool:
    """Return whether two values are equal as JSON, where true differs from 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        same_keys = one.keys() == other.keys()
        return same_keys and all(is_same_json(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same_json, one, other))
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _is_within_limits(text: bytes, value: Any) -> bool:
    """Return False if plain JSON exceeds the limits of size and depth, or may exceed that of size.

    PostgreSQL prints numbers without exponents; an exponent adds at most 400 digits.
    """
    if len(text) + MAX_DIGITS * text.count(b"e") > MAX_JSON_BYTES:
        return False
    return text.count(b"{") + text.count(b"[") <= MAX_JSON_DEPTH or _depth(value) <= MAX_JSON_DEPTH


def _carefully_checked(value: Any) -> Any:
    try:
        text = _ENCODER.encode(value)
        encoded = text.encode()
    except (ValueError, TypeError):
        raise ValueError("must be JSON, without NaN, infinity and lone surrogates") from None
    except RecursionError:
        raise ValueError(f"must not be nested deeper than {MAX_JSON_DEPTH} levels") from None
    if len(encoded) + _added_digits(text) > MAX_JSON_BYTES:
        raise ValueError("must not be larger than 1 MB as JSON")
    if "\\u0000" in text and _NUL_ESCAPE.search(text):
        raise ValueError("must not contain NUL characters")
    if text.count("{") + text.count("[") > MAX_JSON_DEPTH and _depth(value) > MAX_JSON_DEPTH:
        raise ValueError(f"must not be nested deeper than {MAX_JSON_DEPTH} levels")
    decoded = _decode(encoded)
    if decoded != value and not _has_text_keys(value):
        raise ValueError("must have strings as the keys of its objects")
    return decoded  # tuples are lists, as in a value that is read from the database


def _added_digits(text: str) -> int:
    """Return the number of digits that PostgreSQL adds: it prints 1e300 with 301 digits."""
    return sum(min(int(exponent), MAX_DIGITS) for exponent in _EXPONENT.findall(text))


def _has_text_keys(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) for key in value) and all(
            map(_has_text_keys, value.values())
        )
    return not isinstance(value, list | tuple) or all(map(_has_text_keys, value))


def _depth(value: Any) -> int:
    """Return the number of nested levels, without recursion, whose depth Python limits."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list | tuple)]:
        depth += 1
        level = [
            inner for item in level for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return depth
