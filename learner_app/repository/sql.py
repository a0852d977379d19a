"""SQL that is made once: compiled from Piccolo's queries, or written by hand with real names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from piccolo.query.base import Query
from piccolo.table import Table

from learner_app.repository.rows import Row
from learner_app.schema.schema_object import quoted

NOW = "statement_timestamp()"
"""By the database's clock; the transaction may have begun long ago, and before somebody else's."""


class Param(str):
    """Stands in a query of Piccolo's for a value that comes with each call."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """Text of a statement with ``$1`` and so on, and which value each of these takes."""

    sql: str
    slots: tuple[str, ...]

    def args(self, values: Mapping[str, Any]) -> list[Any]:
        """The arguments, in order."""
        return [values[slot] for slot in self.slots]


def compile_query(query: Query[Any, Any]) -> Statement:
    """The statement of a query all of whose values are slots."""
    sql, args = query.querystrings[0].compile_string()
    if strangers := [arg for arg in args if not isinstance(arg, Param)]:
        raise TypeError(f"{len(strangers)} values of the query are no slots")
    return Statement(sql, tuple(map(str, args)))  # subclasses of str are slow to look up


class SqlNames:
    """Quoted identifiers of a table for hand-written SQL.

    ``f"SELECT {s.title} FROM {s}"``: the object itself is the table, with its alias if it has one.
    An attribute is a column, qualified by the alias or else by the table name, so that in a
    subquery it never binds to a column of an inner table. An unknown column raises ``ValueError``
    at import time.

    SET targets, INSERT column lists and ON CONFLICT targets must not be qualified: take these
    from :attr:`unqualified`.
    """

    def __init__(self, table: type[Table], alias: str = "") -> None:
        self.table = table
        self._meta = table._meta
        self._alias = alias
        self._qualifier = f"{alias or self._meta.get_formatted_tablename()}."

    @property
    def unqualified(self) -> SqlNames:
        """The same table, with column names alone."""
        names = SqlNames(self.table, self._alias)
        names._qualifier = ""
        return names

    def __str__(self) -> str:
        name = self._meta.get_formatted_tablename()
        return f"{name} AS {self._alias}" if self._alias else name

    def __getattr__(self, column: str) -> str:
        name = quoted(self._meta.get_column_by_name(column)._meta.db_column_name)
        return f"{self._qualifier}{name}"

    def fields(self, row: type[Row]) -> str:
        """Comma-separated columns of a row type in its order, for SELECT and RETURNING."""
        return ", ".join(getattr(self, name) for name in row.__struct_fields__)
