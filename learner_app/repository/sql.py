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


class Slot(str):
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


def compiled(query: Query[Any, Any]) -> Statement:
    """The statement of a query all of whose values are slots."""
    sql, args = query.querystrings[0].compile_string()
    if strangers := [arg for arg in args if not isinstance(arg, Slot)]:
        raise TypeError(f"{len(strangers)} values of the query are no slots")
    return Statement(sql, tuple(map(str, args)))  # subclasses of str are slow to look up


class Names:
    """Identifiers of a table for SQL written by hand: ``f"UPDATE {s} SET {s.title} = $2"``.

    A name that the table has not is an error when the module is imported. Alone it is the table,
    with its alias where it has one; an attribute is the column, qualified by the alias.
    """

    def __init__(self, table: type[Table], alias: str = "") -> None:
        self.table = table
        self._meta = table._meta
        self._alias = alias

    def __str__(self) -> str:
        name = self._meta.get_formatted_tablename()
        return f"{name} AS {self._alias}" if self._alias else name

    def __getattr__(self, column: str) -> str:
        name = quoted(self._meta.get_column_by_name(column)._meta.db_column_name)
        return f"{self._alias}.{name}" if self._alias else name

    def fields(self, row: type[Row]) -> str:
        """The names of a row type's columns in its order, as SELECT and RETURNING want them."""
        return ", ".join(getattr(self, name) for name in row.__struct_fields__)
