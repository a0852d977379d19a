"""Typed keyword filters: a TypedDict says names and types, a condition each what it selects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import and_
from typing import Any, TypeAlias

from piccolo.columns import Column
from piccolo.columns.combination import And, Or, Where, WhereRaw
from piccolo.table import Table
from pydantic import TypeAdapter

from learner_app.repository.inputs import validate, invalid_field
from learner_app.repository.sql import Param
from learner_app.repository.values import is_storable

Combinable: TypeAlias = Where | WhereRaw | And | Or
Condition: TypeAlias = Callable[[Param], Combinable]


def equals(column: Column) -> Condition:
    """The column has the value."""
    return lambda value: column == value


def at_least(column: Column) -> Condition:
    """The column is not below the value."""
    return lambda value: column >= value


def before(column: Column) -> Condition:
    """The column is below the value."""
    return lambda value: column < value


def one_of(column: Column) -> Condition:
    """The column has one of a list's values."""
    return lambda value: WhereRaw("{} = ANY({})", column, value)


class Filters:
    """The filters of a repository.

    Args:
        table: what is filtered.
        typed: the TypedDict of the keyword arguments.
        conditions: by field; one without a condition is the value of the column of its name.
    """

    def __init__(
        self,
        table: type[Table],
        typed: type[Any],
        conditions: Mapping[str, Condition] | None = None,
    ) -> None:
        given = conditions or {}
        self.typed = typed
        self.conditions = {
            name: equals(table._meta.get_column_by_name(name))
            for name in typed.__annotations__
            if name not in given
        } | dict(given)
        self._table = table
        self._adapters = {name: TypeAdapter(kind) for name, kind in typed.__annotations__.items()}

    def validate(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """The values as the driver takes them; None where no row can have one of them.

        Raises:
            InvalidValue: an unknown filter, a value of the wrong type, or None: a filter that is
                not wanted is omitted.
        """
        values: dict[str, Any] = {}
        for name in sorted(given):
            if name not in self._adapters:
                raise invalid_field(self._table, name, "is not a filter of the table")
            if given[name] is None:
                raise invalid_field(self._table, name, "must not be None; omit the filter instead")
            value = validate(self._adapters[name], given[name], name, self._table)
            if isinstance(value, str) and not is_storable(value):
                return None
            values[name] = _sent(value)
        return values

    def combined(self, names: tuple[str, ...]) -> Combinable | None:
        """The condition for those filters, with a slot of its name for each; None without any."""
        conditions = [self.conditions[name](Param(name)) for name in names]
        return reduce(and_, conditions) if conditions else None


def _sent(value: Any) -> Any:
    """As the driver takes it; what can be in no row is not looked for."""
    return list(filter(is_storable, value)) if isinstance(value, list) else value
