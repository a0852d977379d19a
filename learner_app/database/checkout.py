"""Record of a checkout: the code that checked a connection out, and the time."""

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
"""Prefixes of the modules whose frames lie between the code that uses the database and the pool."""

OWN_MODULES = (PACKAGE, *INNER_MODULES)
"""Prefixes of the modules whose frames lie between the code of a service and the pool."""


class Checkout(NamedTuple):
    """Code that checked a connection out, or waits for one, and the time."""

    since: float
    """Loop time of the checkout, or of the beginning of the wait."""
    code: CodeType
    line: int
    caller: CodeType | None = None
    """Code outside of the package that called ``code``, None if ``code`` itself is outside."""
    caller_line: int = 0

    def __str__(self) -> str:
        location = f"{self.code.co_filename}:{self.line} in {self.code.co_qualname}"
        if self.caller is None:
            return location
        code = self.caller
        return f"{location}, called by {code.co_filename}:{self.caller_line} in {code.co_qualname}"


def locate_caller(now: float) -> Checkout:
    """Return the code that needs a connection, for a method of the pool that calls this function.

    If that code belongs to the package, for example the method of a repository, ``caller`` is the
    service that called it.
    """
    frame = sys._getframe(2)  # the caller of the pool's method
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(INNER_MODULES):
        frame = frame.f_back
    code, line = frame.f_code, frame.f_lineno
    if not frame.f_globals.get("__name__", "").startswith(PACKAGE):
        return Checkout(now, code, line)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(OWN_MODULES):
        frame = frame.f_back
    return Checkout(now, code, line, frame.f_code, frame.f_lineno)
