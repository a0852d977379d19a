"""Cache of the statements of a repository, which Piccolo's query builder compiles once."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable, Mapping, Sequence
from functools import reduce
from operator import and_
from typing import Any, NamedTuple, TypeAlias

from piccolo.columns import Column, ForeignKey
from piccolo.query import Select
from piccolo.querystring import QueryString
from piccolo.table import Table

from learner_app.repository.filters import Combinable, Filters
from learner_app.repository.inputs import Input
from learner_app.repository.keys import TableKey
from learner_app.repository.paging import Order
from learner_app.repository.sql import Param, Statement, compile_query
from learner_app.schema.columns import Now
from learner_app.schema.schema_object import quoted

__all__ = ["DEFAULT", "Expression", "IfNone", "StatementCache"]

Expression: TypeAlias = Callable[[Param], QueryString]
"""Function from the parameter of a field to the SQL expression that ``add`` stores."""


class IfNone:
    """Expression for a field that is None.

    A field with another value is stored as passed, by a statement without the expression: a
    subquery costs time even where COALESCE does not evaluate it.
    """

    def __init__(self, expression: Expression) -> None:
        self._expression = expression

    def __call__(self, value: Param) -> QueryString:
        return self._expression(value)


DEFAULT = QueryString("DEFAULT")

KEY_PREFIX = "key of "
"""Prefix of the key's parameters in statements that also have parameters for changed fields."""

MAX_STATEMENTS = 1000
"""Maximum size of a cache, since callers may use any combination of fields and filters."""


class StatementCache:
    """Cache of the statements on one table that return its rows.

    Args:
        table: the table.
        columns: columns of the row type.
        key: key of the table.
        stored_as: expressions for fields that ``add`` does not store as passed.
        on_update: expressions that every update of a row also sets.
    """

    def __init__(
        self,
        table: type[Table],
        columns: Sequence[Column],
        key: TableKey,
        stored_as: Mapping[str, Expression],
        on_update: Mapping[Column, QueryString],
    ) -> None:
        self.table = table
        self.columns = list(columns)
        self.key = key
        self.stored_as = stored_as
        self.on_update = on_update
        self._if_none = tuple(
            name for name, expression in stored_as.items() if isinstance(expression, IfNone)
        )
        self._statements: dict[Hashable, Statement] = {}

    def cached(self, shape: Hashable, make: Callable[[], Statement]) -> Statement:
        """Return the statement for a shape, which ``make`` compiles on first use.

        The shape is the operation with everything that the SQL depends on, such as the names of
        the filters.
        """
        statement = self._statements.get(shape)
        if statement is None:
            if len(self._statements) >= MAX_STATEMENTS:
                self._statements.clear()
            statement = self._statements[shape] = make()
        return statement

    def compile(self, operation: str, query: Any) -> Statement:
        """Compile a query to a statement with the name of the table and the operation."""
        return compile_query(f"{self.table._meta.tablename}.{operation}", query)

    def select(self, conditions: Iterable[Combinable | None] = ()) -> Select[Any]:
        """Return a query for the rows that meet all conditions that are not None."""
        query = self.table.select(*self.columns)
        present = [condition for condition in conditions if condition is not None]
        return query.where(reduce(and_, present)) if present else query

    def by_key(self, lock: str | None) -> Statement:
        """Return the statement for one row, optionally locked.

        Parameters: the key columns.
        """
        return self.cached(("get", lock), lambda: self._by_key(lock))

    def by_keys(self) -> Statement:
        """Return the statement for many rows.

        Parameters: an array for each key column.
        """
        return self.cached(
            "get_many", lambda: self.compile("get_many", self.select([self.key.any_of()]))
        )

    def lock_referenced(self, column: ForeignKey[Any]) -> Statement:
        """Return the statement that locks referenced rows.

        Parameters: an array of keys.
        """

        def make() -> Statement:
            target = column._foreign_key_meta.resolved_references
            key = TableKey(target)
            query = target.select(*key.columns).where(key.any_of()).order_by(*key.columns)
            return self.compile("lock_referenced", query.lock_rows("KEY SHARE"))

        return self.cached(("lock_referenced", column._meta.name), make)

    def exists(self) -> Statement:
        """Return the statement for whether a row has the key.

        Parameters: the key columns.
        """
        return self.cached(
            "exists",
            lambda: self.compile("exists", self.table.exists().where(self.key.equals())),
        )

    def exists_where(self, filters: Filters, names: Iterable[str]) -> Statement:
        """Return the statement for whether any row matches.

        Parameters: the filters.
        """
        wanted = tuple(names)

        def make() -> Statement:
            condition = filters.condition(wanted)
            query = self.table.exists()
            return self.compile("exists", query.where(condition) if condition else query)

        return self.cached(("exists", wanted), make)

    def delete(self) -> Statement:
        """Return the statement that deletes one row.

        Parameters: the key columns.
        """
        return self.cached(
            "delete", lambda: self.compile("delete", self.table.delete().where(self.key.equals()))
        )

    def insert(self, new: type[Input], computed: tuple[str, ...] | None = None) -> Statement:
        """Return the statement that inserts one row.

        Parameters: the fields of the input.

        Args:
            new: the input.
            computed: result of :meth:`computed`; None for a statement that suits any values.
        """
        return self.cached(("insert", new, computed), lambda: self._insert(new, computed))

    def computed(self, rows: Iterable[Any]) -> tuple[str, ...]:
        """Return the fields with an :class:`IfNone` that are None in at least one of the rows."""
        if not self._if_none:
            return ()
        return tuple(
            name for name in self._if_none if any(getattr(row, name, None) is None for row in rows)
        )

    def update(self, names: Sequence[str], only: Combinable | None = None) -> Statement:
        """Return the statement that updates one row.

        Parameters: the fields by name, and the key columns by name after :data:`KEY_PREFIX`.

        Args:
            names: the fields that change.
            only: further condition on the row.
        """
        shape = ("update", tuple(names), only)
        return self.cached(shape, lambda: self._update(names, only))

    def count(self, filters: Filters, names: Iterable[str], operation: str) -> Statement:
        """Return the statement that counts matching rows.

        Parameters: the filters.
        """
        wanted = tuple(names)

        def make() -> Statement:
            query = self.table.count()
            condition = filters.condition(wanted)
            return self.compile(operation, query.where(condition) if condition else query)

        return self.cached(("count", wanted, operation), make)

    def estimate(self, filters: Filters, names: Iterable[str]) -> Statement:
        """Return the statement for the plan of all matching rows, which contains their estimate.

        Parameters: the filters.
        """
        wanted = tuple(names)

        def make() -> Statement:
            plain = self.compile("estimate", self.select([filters.condition(wanted)]))
            return Statement(plain.name, f"EXPLAIN (FORMAT JSON) {plain.sql}", plain.params)

        return self.cached(("estimate", wanted), make)

    def page(
        self,
        filters: Filters,
        names: Iterable[str],
        order: Order,
        limit: int,
        *,
        after: bool,
        operation: str = "page",
    ) -> Statement:
        """Return the statement for rows in order.

        Parameters: the filters, and with ``after`` those of :meth:`Order.after`.
        """
        wanted = tuple(names)
        sort = order.sorts_with(wanted)

        def make() -> Statement:
            selected = self.select([filters.condition(wanted), order.after() if after else None])
            if sort:
                return self.compile(operation, _sorted(selected, order, limit))
            query = selected.order_by(*order.columns, ascending=not order.descending)
            return self.compile(operation, query.limit(limit))

        return self.cached((operation, wanted, order.tag, sort, limit, after), make)

    def stored_values(
        self, new: type[Input], computed: tuple[str, ...] | None = None
    ) -> QueryString:
        """Return the VALUES list of :meth:`insert`."""
        passed = set() if computed is None else {*self._if_none} - {*computed}
        values = [self._stored_value(column, new, passed) for column in self.table._meta.columns]
        return QueryString(f"({', '.join('{}' for _ in values)})", *values)

    def _by_key(self, lock: str | None) -> Statement:
        query = self.select([self.key.equals()])
        if lock is not None:
            strength = lock.removesuffix(" nowait").removesuffix(" skip locked")
            query = query.lock_rows(
                strength,  # type: ignore[arg-type]  # declared in capitals, accepted in any case
                nowait=lock.endswith("nowait"),
                skip_locked=lock.endswith("skip locked"),
            )
        return self.compile("get", query)

    def _insert(self, new: type[Input], computed: tuple[str, ...] | None) -> Statement:
        query = self.table.insert().returning(*self.columns)
        # Not as a row of the table: Piccolo would encode an expression for a JSON column as JSON.
        query.add_delegate._add.append(_Values(self.stored_values(new, computed)))  # type: ignore[arg-type]
        return self.compile("add", query)

    def _stored_value(self, column: Column, new: type[Input], passed: Container[str]) -> Any:
        name = column._meta.name
        if name in self.stored_as and name not in passed:
            return self.stored_as[name](Param(name))
        if name not in new.model_fields:
            return DEFAULT
        if isinstance(getattr(column, "default", None), Now):
            return QueryString("COALESCE({}, now())", Param(name))
        return Param(name)

    def _update(self, names: Sequence[str], only: Combinable | None) -> Statement:
        values: dict[Column, Any] = {
            self.table._meta.get_column_by_name(name): Param(name) for name in names
        }
        condition = self.key.equals(prefix=KEY_PREFIX)
        query = self.table.update({**values, **self.on_update}).returning(*self.columns)  # type: ignore[dict-item]  # Piccolo accepts more than it declares
        return self.compile("update", query.where(condition if only is None else condition & only))


class _Values(NamedTuple):
    """Values of an insert, in a form that Piccolo accepts in place of a row."""

    querystring: QueryString


def _sorted(selected: Select[Any], order: Order, limit: int) -> QueryString:
    """Return a query for the first of the selected rows, for which PostgreSQL sorts all of them.

    ``OFFSET 0`` has no effect but on the planner, which does not move the order and the limit into
    the subquery. An order by an expression does the same and is evaluated for each row, which takes
    a tenth of the time of a thousand rows.
    """
    direction = "DESC" if order.descending else "ASC"
    names = [quoted(column._meta.db_column_name) for column in order.columns]
    terms = ", ".join(f"{name} {direction}" for name in names)
    sql = f"SELECT * FROM ({{}} OFFSET 0) AS selected ORDER BY {terms} LIMIT {limit:d}"
    return QueryString(sql, selected.querystrings[0])
