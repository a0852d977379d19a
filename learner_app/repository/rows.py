"""Rows: typed, immutable snapshots, created from the driver's records by position."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from piccolo.columns import JSON, Column
from piccolo.table import Table

from learner_app.errors import InvalidValue
from learner_app.repository.json_values import json_text
from learner_app.repository.row_constructor import Conversion, RowConstructor, decode_json
from learner_app.schema.columns import Inet

__all__ = ["Row", "RowMapper", "StoredRow", "to_json"]

_ROW_ENCODER = msgspec.json.Encoder(decimal_format="number")
_UNCHANGED: dict[str, Any] = {"builtin_types": (Decimal,), "str_keys": True}


class Row(msgspec.Struct, frozen=True, gc=False):
    """Snapshot of a row, with the columns of its table except secret ones.

    Nullable columns are ``X | None``, JSONB is decoded, arrays are lists, NUMERIC is ``Decimal``,
    network addresses are strings, times have a time zone and are in UTC.
    ``msgspec.structs.replace(row, field=...)`` returns a changed copy, :func:`to_json` the JSON.
    Rows with lists or dicts (arrays, JSONB) are not hashable.

    Python's garbage collector does not track rows, which are no part of a cycle when they are made.
    It could not free a row that a caller stores in a dict or list of the same row.
    """


R = TypeVar("R", bound=Row)


class StoredRow(NamedTuple, Generic[R]):
    """Result of an operation that inserts a row or finds it: ``row, created = await ...``."""

    row: R
    created: bool
    """True if this call inserted the row, False if it existed before."""


class RowMapper(Generic[R]):
    """Conversion between the rows of a table and the driver's records and parameters."""

    to_row: Callable[[Sequence[Any]], R]
    """Function from a record that has exactly the columns of the row type, in order, to the row."""

    constructor_for: Callable[[Sequence[Any]], Callable[[Sequence[Any]], R]]
    """Function from many records to a ``to_row`` that takes less time for these records."""

    def __init__(self, table: type[Table], row: type[R]) -> None:
        names = row.__struct_fields__
        self.columns: list[Column] = [table._meta.get_column_by_name(name) for name in names]
        self._table = table
        self._json_names = [
            name for name, column in zip(names, self.columns, strict=True) if _has_json(column)
        ]
        constructor = RowConstructor(row, list(map(_conversion, self.columns)))
        self.to_row = constructor.to_row
        self.constructor_for = constructor.for_records

    def to_params(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields in the form that the driver accepts, JSON as text.

        Raises:
            InvalidValue: a value was changed after its validation and is not valid JSON.
        """
        values = dict(fields)
        for name in self._json_names:
            if (value := values.get(name)) is not None:
                values[name] = self._json_text(name, value)
        return values

    def _json_text(self, name: str, value: Any) -> str:
        try:
            return json_text(value)
        except (ValueError, TypeError, RecursionError):
            table = self._table._meta.tablename
            text = f"{table}: {name}: is not valid JSON"
            raise InvalidValue(text, table=table, fields=[name]) from None


def _has_json(column: Column) -> bool:
    return isinstance(column, JSON)


def _conversion(column: Column) -> Conversion | None:
    """Return the function from a value of the driver to that of a row, None if they are equal."""
    if _has_json(column):
        return decode_json
    return str if isinstance(column, Inet) else None


def to_json(value: Any) -> bytes:
    """Encode a row, or any structure of rows, lists and dicts, as JSON.

    NUMERIC columns become exact JSON numbers, times and dates ISO 8601 strings, UUIDs strings. NaN
    and infinity, which only other clients can store, become null.
    (``msgspec.json.encode`` writes a ``Decimal`` as a string.)
    """
    try:
        encoded = _ROW_ENCODER.encode(value)
    except OverflowError:  # msgspec limits int to 64 bits, JSONB and Decimal do not
        encoded = b""
    if encoded and b"NaN" not in encoded and b"Infinity" not in encoded:
        return encoded
    return _ROW_ENCODER.encode(_encodable(msgspec.to_builtins(value, **_UNCHANGED)))


def _encodable(value: Any) -> Any:
    """Return the value without numbers that msgspec cannot encode or encodes as invalid JSON."""
    if isinstance(value, dict):
        return {name: _encodable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, Decimal) and not value.is_finite():
        return None
    return Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value
