"""Text that nobody gets to see: passwords, hashes and tokens on their way through the program.

Callers give and get ``SecretStr``. What goes to the driver has to be text, and is :class:`Sealed`:
frames of a traceback, whose locals a reporter may render, hold nothing else.
"""

from __future__ import annotations

from typing import Any, SupportsIndex

from pydantic import SecretStr

MASK = "'**********'"


class Sealed(str):
    """Text that ``repr``, ``str``, formatting and slices of it do not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return MASK

    def __str__(self) -> str:
        return MASK[1:-1]

    def __format__(self, _spec: str) -> str:
        return MASK[1:-1]

    def __getitem__(self, at: SupportsIndex | slice) -> Sealed:
        return Sealed(str.__getitem__(self, at))  # reporters shorten long text that way


def secret(given: str | SecretStr) -> SecretStr:
    """What a caller gave, closed; anything that is no text is an empty one."""
    if isinstance(given, SecretStr):
        return given
    return SecretStr(given if isinstance(given, str) else "")


def unsealed(value: Any) -> Any:
    """A ``SecretStr`` as the driver takes it, anything else as it is."""
    return Sealed(value.get_secret_value()) if isinstance(value, SecretStr) else value
