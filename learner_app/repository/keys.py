"""Conversion of the keys that callers pass, and conditions on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from piccolo.columns import Column
from piccolo.columns.combination import WhereRaw
from piccolo.table import Table

from learner_app.repository.filters import Combinable
from learner_app.repository.sql import Param
from learner_app.repository.values import MAX_KEY_LENGTH, is_storable
from learner_app.schema.tables import CompositeKey

__all__ = ["TableKey"]


class TableKey:
    """Primary key of a table: a single value, or a tuple for a composite key.

    Args:
        table: the table.
        normalise: function from a key that a caller passes to its stored form. It returns other
            values unchanged. Without it, keys are compared as passed.

    Raises:
        TypeError: a key column is neither text nor UUID.
    """

    def __init__(self, table: type[Table], normalise: Callable[[Any], Any] | None = None) -> None:
        self._key = key = table._meta.primary_key
        self._normalise = normalise
        self._is_composite = isinstance(key, CompositeKey)
        self.columns: list[Column] = list(key.columns) if isinstance(key, CompositeKey) else [key]
        self.names = tuple(column._meta.name for column in self.columns)
        self._converters = [
            _uuid if _sql_type(column) == "uuid" else _text for column in self.columns
        ]

    def params(self, key: Any) -> tuple[Any, ...] | None:
        """Return the value of each key column, None if the key is malformed."""
        if self._normalise is not None:
            key = self._normalise(key)
        if not self._is_composite:
            param = self._converters[0](key)
            return None if param is None else (param,)
        values = key if isinstance(key, tuple) else (key,)
        if len(values) != len(self._converters):
            return None
        params = tuple(
            convert(value) for convert, value in zip(self._converters, values, strict=True)
        )
        return None if None in params else params

    def equals(self, prefix: str = "") -> Combinable:
        """Return the condition for one row.

        The parameters have the names of the key columns, each after the prefix.
        """
        params = tuple(Param(prefix + name) for name in self.names)
        condition: Combinable = self._key == (params if self._is_composite else params[0])
        return condition

    def any_of(self) -> Combinable:
        """Return the condition for many rows.

        The parameters have the names of the key columns. Each is an array of values.
        """
        left = ", ".join("{}" for _ in self.columns)
        arrays = ", ".join(f"{{}}::{kind}[]" for kind in map(_sql_type, self.columns))
        params = map(Param, self.names)
        if not self._is_composite:
            return WhereRaw(f"{left} = ANY({arrays})", *self.columns, *params)
        return WhereRaw(f"({left}) IN (SELECT * FROM unnest({arrays}))", *self.columns, *params)


def _sql_type(column: Column) -> str:
    kind = column.column_type
    if kind == "UUID":
        return "uuid"
    if kind.startswith(("VARCHAR", "CHAR", "TEXT")):
        return "text"
    name = f"{column._meta.table._meta.tablename}.{column._meta.name}"
    raise TypeError(f"{name}: declare the key column as Varchar, Text or UUID, not as {kind}")


def _text(value: Any) -> str | None:
    if isinstance(value, str) and 0 < len(value) <= MAX_KEY_LENGTH and is_storable(value):
        return value
    return None


def _uuid(value: Any) -> UUID | None:
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (ValueError, TypeError, AttributeError):
        return None
