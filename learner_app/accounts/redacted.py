"""Text that nobody gets to see: passwords, hashes and tokens on their way through the program.

Callers pass and receive ``SecretStr``. The driver needs a ``str`` and gets :class:`RedactedStr`, so
that the frames of a traceback, whose locals a reporter may render, contain no secret.
"""

from __future__ import annotations

from typing import Any, SupportsIndex

from pydantic import SecretStr

MASK = "'**********'"


class RedactedStr(str):
    """Text that ``repr``, ``str``, formatting and slices of it do not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK[1:-1]

    def __format__(self, _spec: str) -> str:
        return MASK[1:-1]

    def __getitem__(self, at: SupportsIndex | slice) -> RedactedStr:
        return RedactedStr(str.__getitem__(self, at))  # reporters shorten long text that way


def secret(given: str | SecretStr) -> SecretStr:
    """What a caller gave, closed; anything that is no text is an empty one."""
    if isinstance(given, SecretStr):
        return given
    return SecretStr(given if isinstance(given, str) else "")


def reveal(value: Any) -> Any:
    """A ``SecretStr`` as the driver takes it, anything else as it is."""
    return RedactedStr(value.get_secret_value()) if isinstance(value, SecretStr) else value
