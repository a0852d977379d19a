"""Log of statements for development: SQL, duration and shape of the result, without values."""

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
        """True if statements or results are printed."""

    def switch(self, *, queries: bool | None = None, responses: bool | None = None) -> None:
        """Switch the printing of statements or results on or off.

        None leaves a switch unchanged.
        """
        if queries is not None:
            self.queries = queries
        if responses is not None:
            self.responses = responses
        self.is_on = self.queries or self.responses

    def write(self, sql: str, seconds: float, result: object) -> None:
        """Print one completed or failed statement.

        Args:
            sql: text with parameters, without their values.
            seconds: time from sending the statement to its answer.
            result: result of asyncpg, or the error that it raised.
        """
        lines = [f"-- {seconds * 1000:.1f} ms"]
        if self.queries:
            lines.append(sql)
        if self.responses:
            lines.append(f"-- {_shape(result)}")
        with suppress(OSError, ValueError):  # a closed output must not fail the statement
            print("\n".join(lines), flush=True)


NO_ANSWER = StatementLog()
"""Log of connections that belong to no engine."""


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
