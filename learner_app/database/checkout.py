"""Checkout: the code that leased a connection, and since when."""

import sys
from types import CodeType
from typing import NamedTuple

PACKAGE = __name__.partition(".")[0] + "."

INNER_MODULES = (
    f"{PACKAGE}database.",
    f"{PACKAGE}repository.",
    "piccolo.",
    "contextlib",
    "asyncio.",
    "anyio.",
)
"""Modules between the code that uses the database and the pool."""

OWN_MODULES = (PACKAGE, *INNER_MODULES)
"""Modules between a service and the pool."""


class Checkout(NamedTuple):
    """Location of the code that leased a connection.

    ``since`` is the event loop's time. ``caller`` is the code outside of the package that called
    the location, None if the location itself is outside.
    """

    since: float
    code: CodeType
    line: int
    caller: CodeType | None = None
    caller_line: int = 0

    def __str__(self) -> str:
        location = f"{self.code.co_filename}:{self.line} in {self.code.co_qualname}"
        if self.caller is None:
            return location
        code = self.caller
        return f"{location}, called by {code.co_filename}:{self.caller_line} in {code.co_qualname}"


def record_checkout(now: float) -> Checkout:
    """Return the location that the caller of the pool works for.

    In a repository of the package that is its method, and the service that called the method.
    """
    frame = sys._getframe(2)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(INNER_MODULES):
        frame = frame.f_back
    code, line = frame.f_code, frame.f_lineno
    if not frame.f_globals.get("__name__", "").startswith(PACKAGE):
        return Checkout(now, code, line)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(OWN_MODULES):
        frame = frame.f_back
    return Checkout(now, code, line, frame.f_code, frame.f_lineno)
