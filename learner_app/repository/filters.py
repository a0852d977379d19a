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
from learner_app.repository.values import is_storable

__all__ = ["Combinable", "Condition", "Filters", "at_least", "before", "equals", "one_of"]

Combinable: TypeAlias = Where | WhereRaw | And | Or
Condition: TypeAlias = Callable[[Param], Combinable]
"""Function that returns the condition of a filter, with the parameter in place of its value."""

RESERVED = {"after", "all_rows", "batch", "changes", "key", "limit", "order", "self", "total"}
"""Parameters of the operations that accept filters."""


def equals(column: Column) -> Condition:
    """Return the condition that the column has the value."""
    return lambda value: column == value


def at_least(column: Column) -> Condition:
    """Return the condition that the column is not below the value."""
    return lambda value: column >= value


def before(column: Column) -> Condition:
    """Return the condition that the column is below the value."""
    return lambda value: column < value


def one_of(column: Column) -> Condition:
    """Return the condition that the column has one of the values of a list."""
    return lambda value: WhereRaw("{} = ANY({})", column, value)


class Filters:
    """Filters of a repository.

    Args:
        table: the table.
        typed: TypedDict of the keyword arguments, with ``total=False``.
        conditions: conditions by filter; a filter without one compares the column of its name.

    Raises:
        TypeError: a filter has the name of another parameter, such as ``limit``.
        ValueError: a filter without a condition is not the name of a column.
    """

    def __init__(
        self,
        table: type[Table],
        typed: type[Any],
        conditions: Mapping[str, Condition] | None = None,
    ) -> None:
        types = typed.__annotations__
        if reserved := RESERVED & types.keys():
            raise TypeError(f"{typed.__name__}: {', '.join(sorted(reserved))}: reserved names")
        special = conditions or {}
        self.typed = typed
        self.conditions = {
            name: equals(table._meta.get_column_by_name(name))
            for name in types
            if name not in special
        } | dict(special)
        self._table = table
        self._adapters = {name: TypeAdapter(kind) for name, kind in types.items()}

    def validate(self, filters: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the values for the driver, None if no row can match.

        Raises:
            InvalidValue: a filter is unknown, has the wrong type, or is None. A filter that is not
                wanted is omitted.
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
        """Return the condition of those filters, None without any.

        The parameters are the names of the filters.
        """
        conditions = [self.conditions[name](Param(name)) for name in names]
        return reduce(and_, conditions) if conditions else None


def _storable_items(value: Any) -> Any:
    """Return the value, a list without the texts that PostgreSQL cannot store."""
    return list(filter(is_storable, value)) if isinstance(value, list) else value
