"""Log of statements for development: SQL, duration, and row count and columns of the result."""

from __future__ import annotations

from contextlib import suppress
from typing import Any


class StatementLog:
    """Printer of the statements of one engine, without the values of parameters and rows."""

    __slots__ = ("_queries", "_responses", "is_on")

    def __init__(self) -> None:
        self._queries = self._responses = False
        self.is_on = False
        """True if anything is printed; read before every statement."""

    @property
    def queries(self) -> bool:
        """True if the SQL is printed."""
        return self._queries

    @queries.setter
    def queries(self, value: bool) -> None:
        self._queries = value
        self.is_on = value or self._responses

    @property
    def responses(self) -> bool:
        """True if row count and columns of the result, or the command tag, are printed."""
        return self._responses

    @responses.setter
    def responses(self, value: bool) -> None:
        self._responses = value
        self.is_on = value or self._queries

    def write(self, sql: str, seconds: float, result: object) -> None:
        """Print one completed or failed statement.

        Args:
            sql: text with parameters, without their values.
            seconds: time from sending the statement to its answer.
            result: asyncpg's result, or the error that it raised.
        """
        lines = [f"-- {seconds * 1000:.1f} ms"]
        if self.queries:
            lines.append(sql)
        if self.responses:
            lines.append(f"-- {_describe(result)}")
        with suppress(OSError, ValueError):  # with stdout closed the statement must not fail
            print("\n".join(lines), flush=True)


NO_LOG = StatementLog()
"""Log that prints nothing, for connections that belong to no engine."""


def _describe(result: Any) -> str:
    """Return the row count and columns, the command tag, or the SQLSTATE of an error."""
    if isinstance(result, BaseException):
        return f"failed: {getattr(result, 'sqlstate', None) or type(result).__name__}"
    if isinstance(result, tuple):  # asyncpg's execute() with arguments: rows, tag, completed
        result = result[1].decode()
    if isinstance(result, str):
        return result
    rows = result or []
    columns = f" ({', '.join(rows[0].keys())})" if rows else ""
    return f"{len(rows)} row{'' if len(rows) == 1 else 's'}{columns}"
