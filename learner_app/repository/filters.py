"""Keyword filters: a TypedDict defines their names and types, a condition selects the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import and_
from typing import Any, TypeAlias

from piccolo.columns import Column
from piccolo.columns.combination import And, Or, Where, WhereRaw
from piccolo.table import Table
from pydantic import TypeAdapter

from learner_app.repository.inputs import invalid_field, validate
from learner_app.repository.sql import Param
from learner_app.repository.values import DEFERRED, is_storable

__all__ = ["Combinable", "Condition", "Filters", "at_least", "before", "equals", "one_of"]

Combinable: TypeAlias = Where | WhereRaw | And | Or
Condition: TypeAlias = Callable[[Param], Combinable]
"""Function from the parameter of a filter to its condition."""

RESERVED = {"after", "all_rows", "batch", "changes", "key", "limit", "order", "self", "total"}
"""Names of the other parameters of operations that accept filters."""


def equals(column: Column) -> Condition:
    """Return the condition that the column is equal to the value."""
    return lambda value: column == value


def at_least(column: Column) -> Condition:
    """Return the condition that the column is greater than or equal to the value."""
    return lambda value: column >= value


def before(column: Column) -> Condition:
    """Return the condition that the column is less than the value."""
    return lambda value: column < value


def one_of(column: Column) -> Condition:
    """Return the condition that the column is equal to one of the values of a list."""
    return lambda value: WhereRaw("{} = ANY({})", column, value)


class Filters:
    """Keyword filters of a repository.

    Args:
        table: the table.
        typed: TypedDict of the filters, with ``total=False``.
        conditions: conditions by filter. A filter without a condition compares the column that has
            its name.

    Raises:
        TypeError: a filter has the name of another parameter, such as ``limit``.
        ValueError: a filter has no condition and no column has its name.
    """

    def __init__(
        self,
        table: type[Table],
        typed: type[Any],
        conditions: Mapping[str, Condition] | None = None,
    ) -> None:
        types = typed.__annotations__
        if reserved := RESERVED & types.keys():
            names = ", ".join(sorted(reserved))
            raise TypeError(f"{typed.__name__}: rename the filters {names}: the names are reserved")
        special = conditions or {}
        self.typed = typed
        self.conditions = {
            name: equals(table._meta.get_column_by_name(name))
            for name in types
            if name not in special
        } | dict(special)
        self._table = table
        self._adapters = {name: TypeAdapter(kind, config=DEFERRED) for name, kind in types.items()}

    def validate(self, filters: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the values for the driver, None if no row can match.

        Raises:
            InvalidValue: a filter is unknown, has the wrong type, or is None.
        """
        values: dict[str, Any] = {}
        for name in sorted(filters):
            if name not in self._adapters:
                raise invalid_field(self._table, name, "is not a filter of the table")
            if filters[name] is None:
                raise invalid_field(self._table, name, "must not be None; omit the filter instead")
            value = validate(self._adapters[name], filters[name], name, self._table)
            if isinstance(value, str) and not is_storable(value):
                return None
            values[name] = _storable_items(value)
        return values

    def condition(self, names: tuple[str, ...]) -> Combinable | None:
        """Return the conditions of these filters, combined with AND, or None for no filter.

        The parameters have the names of the filters.
        """
        conditions = [self.conditions[name](Param(name)) for name in names]
        return reduce(and_, conditions) if conditions else None


def _storable_items(value: Any) -> Any:
    """Return the value, without list items that PostgreSQL cannot store."""
    return list(filter(is_storable, value)) if isinstance(value, list) else value
