"""Keys as callers give them: what cannot be one is not there, and never asked for."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from piccolo.columns import Column
from piccolo.columns.combination import WhereRaw
from piccolo.table import Table

from learner_app.repository.filters import Combinable
from learner_app.repository.sql import Param
from learner_app.repository.values import KEY_LENGTH, is_storable
from learner_app.schema.tables import CompositeKey


class TableKey:
    """The key of a table: of one column a value, of several a named tuple."""

    def __init__(self, table: type[Table]) -> None:
        self._key = key = table._meta.primary_key
        self.is_composite = isinstance(key, CompositeKey)
        self.columns: list[Column] = list(key.columns) if isinstance(key, CompositeKey) else [key]
        self.names = tuple(column._meta.name for column in self.columns)
        self._checks = [_uuid if _type(column) == "uuid" else _text for column in self.columns]

    def params(self, key: Any) -> tuple[Any, ...] | None:
        """The columns' values; None when there can be no such row."""
        given = key if self.is_composite and isinstance(key, tuple) else (key,)
        if len(given) != len(self._checks):
            return None
        parts = tuple(check(value) for check, value in zip(self._checks, given, strict=True))
        return None if None in parts else parts

    def of(self, parts: tuple[Any, ...]) -> Any:
        """The key of the parts, as callers give it."""
        return self._key.key_type(*parts) if isinstance(self._key, CompositeKey) else parts[0]

    def is_given(self, prefix: str = "") -> Combinable:
        """The condition for one row, with the columns' names, after a prefix, as slots."""
        slots = tuple(Param(prefix + name) for name in self.names)
        condition: Combinable = self._key == (slots if self.is_composite else slots[0])
        return condition

    def is_among(self) -> Combinable:
        """The condition for many rows; a slot takes the list of a column's values."""
        left = ", ".join("{}" for _ in self.columns)
        arrays = ", ".join(f"{{}}::{kind}[]" for kind in map(_type, self.columns))
        slots = map(Param, self.names)
        if not self.is_composite:
            return WhereRaw(f"{left} = ANY({arrays})", *self.columns, *slots)
        return WhereRaw(f"({left}) IN (SELECT * FROM unnest({arrays}))", *self.columns, *slots)


def _type(column: Column) -> str:
    return "uuid" if column.column_type == "UUID" else "text"


def _text(value: Any) -> str | None:
    if isinstance(value, str) and 0 < len(value) <= KEY_LENGTH and is_storable(value):
        return value
    return None


def _uuid(value: Any) -> UUID | None:
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (ValueError, TypeError, AttributeError):
        return None
