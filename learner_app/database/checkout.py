"""Code that checked a connection out, for the log of long checkouts."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from functools import lru_cache
from types import CodeType, FrameType
from typing import Any, NamedTuple

PACKAGE = __name__.partition(".")[0] + "."

INNER_MODULES = (
    f"{PACKAGE}database.",
    f"{PACKAGE}repository.",
    "piccolo.",
    "asyncpg.",
    "contextlib",
    "asyncio.",
    "anyio.",
)
"""Prefixes of the modules whose frames lie between the code that uses the database and the pool."""

OWN_MODULES = (PACKAGE, *INNER_MODULES)
"""Prefixes of the modules whose frames lie between the code of a service and the pool."""


MAX_MODULES = 2048
"""Number of modules whose classification is cached."""


class Checkout(NamedTuple):
    """Code that checked a connection out."""

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


def locate_caller() -> Checkout:
    """Return the code that needs a connection, for a method of the pool that calls this function.

    If that code belongs to the package, for example the method of a repository, ``caller`` is the
    service that called it.
    """
    frame = sys._getframe(1)
    frames = [frame]
    while frame.f_back is not None and _belongs_to(_module(frame), OWN_MODULES):
        frame = frame.f_back
        frames.append(frame)
    return _locate(frames)


def locate_task(task: asyncio.Task[Any]) -> Checkout:
    """Return the same for a task that waits for a statement.

    So nothing has to be recorded when a connection is checked out for a single statement.
    """
    frames = []
    awaited: Any = task.get_coro()
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        frames.append(frame)
        awaited = awaited.cr_await
    return _locate(reversed(frames)) if frames else locate_caller()


def _module(frame: FrameType) -> str:
    name: str = frame.f_globals.get("__name__", "")
    return name


@lru_cache(MAX_MODULES)
def _belongs_to(module: str, prefixes: tuple[str, ...]) -> bool:
    return module.startswith(prefixes)


def _locate(frames: Iterable[FrameType]) -> Checkout:
    """Return the first code outside of the inner modules, and of the package if it belongs to it.

    Args:
        frames: frames of a call, the innermost first.
    """
    found: FrameType | None = None
    for frame in frames:
        last = frame
        if found is None and not _belongs_to(_module(frame), INNER_MODULES):
            found = frame
        if not _belongs_to(_module(frame), OWN_MODULES):
            break
    found = found or last
    if found is last:
        return Checkout(found.f_code, found.f_lineno)
    return Checkout(found.f_code, found.f_lineno, last.f_code, last.f_lineno)
