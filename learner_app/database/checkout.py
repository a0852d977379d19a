"""Who holds a connection: since when, and from where in the code."""

import sys
from types import CodeType
from typing import NamedTuple

PACKAGE = __name__.partition(".")[0]

LIBRARY = (f"{PACKAGE}.", "piccolo.", "contextlib", "asyncio.", "anyio.")
"""Prefixes of the modules between the code that uses a connection and the pool."""


class Checkout(NamedTuple):
    """``since`` is the event loop's time."""

    since: float
    code: CodeType
    line: int

    def __str__(self) -> str:
        return f"{self.code.co_filename}:{self.line} in {self.code.co_qualname}"


def record_checkout(now: float) -> Checkout:
    """By the code that called into the library."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(LIBRARY):
        frame = frame.f_back
    return Checkout(now, frame.f_code, frame.f_lineno)
