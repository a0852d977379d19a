"""The statements of a repository: each made by Piccolo's query builder once and kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
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

Expression: TypeAlias = Callable[[Param], QueryString]
"""What is stored for a value that is given, or for None."""

DEFAULT = QueryString("DEFAULT")

MOST_KEPT = 1000
"""Far above what a service uses; callers who combine fields at random do not fill the memory."""


class StatementCache:
    """Statements on one table that return the given columns.

    Args:
        table: the table.
        columns: those of the row type.
        key: of the table.
        stored_as: expressions for columns that are not stored as given.
    """

    def __init__(
        self,
        table: type[Table],
        columns: Sequence[Column],
        key: TableKey,
        stored_as: Mapping[str, Expression],
    ) -> None:
        self._table = table
        self._columns = list(columns)
        self._key = key
        self._stored_as = stored_as
        self._kept: dict[Hashable, Statement] = {}

    def keep(self, shape: Hashable, make: Callable[[], Statement]) -> Statement:
        """The statement of that shape, made at its first use."""
        statement = self._kept.get(shape)
        if statement is None:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            statement = self._kept[shape] = make()
        return statement

    def select(self, conditions: Iterable[Combinable | None] = ()) -> Select[Any]:
        """The columns of the row, where all the conditions hold."""
        query = self._table.select(*self._columns)
        given = [condition for condition in conditions if condition is not None]
        return query.where(reduce(and_, given)) if given else query

    def find(self, lock: str | None) -> Statement:
        """One row by its key, locked where wanted; takes the parts of the key."""
        return self.keep(("find", lock), lambda: self._find(lock))

    def among(self) -> Statement:
        """Many rows by their keys; takes an array for each part of the key."""
        return self.keep("among", lambda: compile_query(self.select([self._key.is_among()])))

    def lock_referenced(self, column: ForeignKey[Any]) -> Statement:
        """Rows that the column refers to are locked, so that they stay; takes an array of keys."""

        def make() -> Statement:
            target = column._foreign_key_meta.resolved_references
            key = TableKey(target)
            query = target.select(*key.columns).where(key.is_among()).order_by(*key.columns)
            return compile_query(query.lock_rows("KEY SHARE"))

        return self.keep(("lock_referenced", column._meta.name), make)

    def exists(self) -> Statement:
        """Whether there is a row; takes the parts of the key."""
        return self.keep(
            "exists", lambda: compile_query(self._table.exists().where(self._key.is_given()))
        )

    def delete(self) -> Statement:
        """Takes the parts of the key."""
        return self.keep(
            "delete", lambda: compile_query(self._table.delete().where(self._key.is_given()))
        )

    def insert(self, new: type[Input], *, if_absent: bool = False) -> Statement:
        """One row; takes the fields of the input by name. ``if_absent``: by its key."""
        return self.keep(("insert", new, if_absent), lambda: self._insert(new, if_absent))

    def update(
        self,
        names: Sequence[str],
        also: Mapping[Column, QueryString] | None = None,
        only: Combinable | None = None,
    ) -> Statement:
        """One row by its key; takes the fields by name and the parts of the key by ``of_key``.

        Args:
            names: fields that change.
            also: expressions for further columns, always the same for a repository.
            only: a further condition, the same.
        """
        shape = ("update", tuple(names), only is not None)
        return self.keep(shape, lambda: self._update(names, also or {}, only))

    def count(self, filters: Filters, names: Iterable[str]) -> Statement:
        """How many rows the filters let through; takes these by name."""
        wanted = tuple(names)

        def make() -> Statement:
            query = self._table.count()
            condition = filters.condition(wanted)
            return compile_query(query.where(condition) if condition else query)

        return self.keep(("count", wanted), make)

    def matching(self, filters: Filters, names: Iterable[str]) -> Statement:
        """The rows that the filters let through, all at once: for the planner's estimate."""
        wanted = tuple(names)
        return self.keep(
            ("matching", wanted), lambda: compile_query(self.select([filters.condition(wanted)]))
        )

    def page(
        self, filters: Filters, names: Iterable[str], order: Order, limit: int, *, behind: bool
    ) -> Statement:
        """Rows in order; takes the filters by name, and the cursor's values where ``behind``."""
        wanted = tuple(names)

        def make() -> Statement:
            conditions = [filters.condition(wanted), order.behind() if behind else None]
            query = self.select(conditions)
            query = query.order_by(*order.by(), ascending=not order.descending)
            return compile_query(query.limit(limit))

        return self.keep(("page", wanted, order.tag, order.sorts, limit, behind), make)

    def _find(self, lock: str | None) -> Statement:
        query = self.select([self._key.is_given()])
        if lock is not None:
            strength = lock.removesuffix(" nowait").removesuffix(" skip locked")
            query = query.lock_rows(
                strength,  # type: ignore[arg-type]  # Piccolo lists them in capitals, takes any case
                nowait=lock.endswith("nowait"),
                skip_locked=lock.endswith("skip locked"),
            )
        return compile_query(query)

    def _insert(self, new: type[Input], if_absent: bool) -> Statement:
        query = self._table.insert().returning(*self._columns)
        # not as a row, since Piccolo would write an expression for a JSON column as JSON
        query.add_delegate._add.append(_Values(self._stored_row(new)))  # type: ignore[arg-type]
        if if_absent:
            query = query.on_conflict(target=tuple(self._key.columns), action="DO NOTHING")
        return compile_query(query)

    def _stored_row(self, new: type[Input]) -> QueryString:
        values = [self._stored(column, new) for column in self._table._meta.columns]
        return QueryString(f"({', '.join('{}' for _ in values)})", *values)

    def _stored(self, column: Column, new: type[Input]) -> Any:
        name = column._meta.name
        if name in self._stored_as:
            return self._stored_as[name](Param(name))
        if name not in new.model_fields:
            return DEFAULT
        if isinstance(getattr(column, "default", None), Now):
            return QueryString("COALESCE({}, now())", Param(name))
        return Param(name)

    def _update(
        self, names: Sequence[str], also: Mapping[Column, QueryString], only: Combinable | None
    ) -> Statement:
        values: dict[Column, Any] = {
            self._table._meta.get_column_by_name(name): Param(name) for name in names
        }
        condition = self._key.is_given(prefix=OF_KEY)
        query = self._table.update({**values, **also}).returning(*self._columns)  # type: ignore[dict-item]  # Piccolo's type is narrower than what it takes
        return compile_query(query.where(condition if only is None else condition & only))


class _Values(NamedTuple):
    """What an insert wants of a row."""

    querystring: QueryString


OF_KEY = "key of "
"""Before the names of the key's columns, where they could be taken for fields that change."""
