"""Printed statements for development: text, time and shape of the result, never a value."""

from __future__ import annotations

from contextlib import suppress
from typing import Any


class StatementLog:
    """Printer of the statements that the connections of one engine send."""

    __slots__ = ("is_on", "queries", "responses")

    def __init__(self) -> None:
        self.queries = False
        self.responses = False
        self.is_on = False
        """Whether either is true."""

    def switch(self, *, queries: bool | None = None, responses: bool | None = None) -> None:
        """Switch statements or results on or off, at any time.

        None leaves the switch unchanged.
        """
        if queries is not None:
            self.queries = queries
        if responses is not None:
            self.responses = responses
        self.is_on = self.queries or self.responses

    def write(self, sql: str, seconds: float, result: object) -> None:
        """Print one completed or failed statement.

        Args:
            sql: its text, without the values bound to it.
            seconds: from sending it to the answer.
            result: what asyncpg returned, or the error that it raised.
        """
        lines = [f"-- {seconds * 1000:.1f} ms"]
        if self.queries:
            lines.append(sql)
        if self.responses:
            lines.append(f"-- {_shape(result)}")
        with suppress(OSError, ValueError):  # a closed output is no failure of the statement
            print("\n".join(lines), flush=True)


NO_ANSWER = StatementLog()
"""The log of connections that belong to no engine."""


def _shape(result: Any) -> str:
    if isinstance(result, BaseException):
        return f"failed: {getattr(result, 'sqlstate', None) or type(result).__name__}"
    if isinstance(result, tuple):  # asyncpg's execute() with arguments: rows, tag, completed
        result = result[1].decode()
    if isinstance(result, str):
        return result
    rows = result or []
    columns = f" ({', '.join(rows[0].keys())})" if rows else ""
    return f"{len(rows)} row{'' if len(rows) == 1 else 's'}{columns}"
