"""Strings that must not be shown: passwords, hashes and tokens.

Error reporters render the local variables of every frame of a traceback, and query logs the
parameters of a statement. Callers therefore pass and receive ``SecretStr``. The driver accepts only
``str``, and receives :class:`RedactedStr`, whose ``repr`` and ``str`` are a mask.

A method that also accepts ``str`` rebinds its parameter first, ``password = as_secret(password)``,
so that its frame no longer refers to the plain text.
"""

from __future__ import annotations

from typing import Any, SupportsIndex

from pydantic import SecretStr

MASK = "'**********'"
"""The ``repr`` of every redacted string, of a length that does not depend on the text."""


class RedactedStr(str):
    """String whose ``repr``, ``str``, formatted form and slices do not show its characters."""

    __slots__ = ()

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK[1:-1]

    def __format__(self, _spec: str) -> str:
        return MASK[1:-1]

    def __getitem__(self, index: SupportsIndex | slice) -> RedactedStr:
        return RedactedStr(str.__getitem__(self, index))  # error reporters truncate long strings


def as_secret(value: str | SecretStr | None) -> SecretStr:
    """Return the value as a ``SecretStr``, which is empty for None and other types."""
    if isinstance(value, SecretStr):
        return value
    return SecretStr(value if isinstance(value, str) else "")


def reveal(value: Any) -> Any:
    """Return the text of a ``SecretStr`` for the driver, and any other value unchanged."""
    return RedactedStr(value.get_secret_value()) if isinstance(value, SecretStr) else value
