"""Named statements, compiled from Piccolo's queries or written by hand."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from piccolo.query.base import Query
from piccolo.querystring import QueryString
from piccolo.table import Table

from learner_app.database.engine import DatabaseEngine
from learner_app.repository.rows import Row
from learner_app.schema.schema_object import quoted

__all__ = ["NOW", "Param", "SqlNames", "Statement", "compile_query"]

NOW = "statement_timestamp()"
"""Current time of the database's clock.

``now()`` would be the start of the transaction, possibly long before the statement.
"""


class Param(str):
    """Name of a bind parameter, used in a Piccolo query in place of a value."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with a name and bind parameters ``$1``, ``$2`` and so on.

    A module creates its statements once. A repository runs them by its ``fetch_row``,
    ``fetch_rows`` and so on, which call the methods of this class.
    """

    name: str
    """Table and operation, such as ``content.get``, for observers of the engine."""

    sql: str

    params: tuple[str, ...] = ()
    """Names of the bind parameters in order, for :meth:`args`."""

    def args(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the values of the bind parameters in order."""
        return list(map(values.__getitem__, self.params))

    def fetch(
        self, engine: DatabaseEngine, *args: Any, idempotent: bool = False
    ) -> Awaitable[list[Any]]:
        """Return the records."""
        return engine.fetch(self.sql, *args, idempotent=idempotent, name=self.name)

    def fetchrow(
        self, engine: DatabaseEngine, *args: Any, idempotent: bool = False
    ) -> Awaitable[Any | None]:
        """Return the first record, or None without a record."""
        return engine.fetchrow(self.sql, *args, idempotent=idempotent, name=self.name)

    def fetchval(
        self, engine: DatabaseEngine, *args: Any, idempotent: bool = False
    ) -> Awaitable[Any]:
        """Return the first column of the first record, or None without a record."""
        return engine.fetchval(self.sql, *args, idempotent=idempotent, name=self.name)

    async def execute(self, engine: DatabaseEngine, *args: Any, idempotent: bool = False) -> int:
        """Run a statement that returns no records and return the number of affected rows."""
        status = await engine.execute(self.sql, *args, idempotent=idempotent, name=self.name)
        return int(status.rpartition(" ")[2])

    def fetchmany(
        self, engine: DatabaseEngine, args: Sequence[Sequence[Any]]
    ) -> Awaitable[list[Any]]:
        """Run the statement once for each sequence of arguments and return all records."""
        return engine.perform(
            lambda connection: connection.fetchmany(self.sql, args), self.sql, name=self.name
        )


def compile_query(name: str, query: Query[Any, Any] | QueryString) -> Statement:
    """Compile a query of Piccolo that contains a :class:`Param` for every value.

    Raises:
        TypeError: the query contains a literal value, which the compiled statement would lose.
    """
    querystring = query if isinstance(query, QueryString) else query.querystrings[0]
    sql, args = querystring.compile_string()
    if literals := [arg for arg in args if not isinstance(arg, Param)]:
        raise TypeError(f"{name}: the query contains {len(literals)} values: use Param(name)")
    return Statement(name, sql, tuple(map(str, args)))  # lookups of str are faster than of Param


class SqlNames:
    """Quoted identifiers of a table for hand-written SQL.

    ``f"SELECT {s.title} FROM {s}"``: the object itself is formatted as the table, with its alias if
    it has one. An attribute is a column, qualified by the alias or else by the table name, so that
    in a subquery it never refers to a column of an inner table. An unknown column raises
    ``ValueError``, at import time in module constants.

    SET targets, INSERT column lists and ON CONFLICT targets must not be qualified: use
    :attr:`unqualified` for these.
    """

    def __init__(self, table: type[Table], alias: str = "") -> None:
        self.table = table
        self._meta = table._meta
        self._alias = alias
        self._qualifier = f"{alias or self._meta.get_formatted_tablename()}."

    @property
    def unqualified(self) -> SqlNames:
        """Identifiers of the same table with unqualified column names."""
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
        """Return the columns of a row type, separated by commas, for SELECT and RETURNING."""
        return ", ".join(getattr(self, name) for name in row.__struct_fields__)
