"""Pages by key: the page behind a row is found by that row's values, at any depth alike."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Generic, Literal, TypeAlias, TypeVar, get_args

import msgspec
from piccolo.columns import Column
from piccolo.columns.combination import WhereRaw
from piccolo.querystring import QueryString
from piccolo.table import Table

from learner_app.repository.inputs import invalid_field
from learner_app.repository.rows import Row
from learner_app.repository.sql import Param
from learner_app.repository.values import is_storable

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

Total: TypeAlias = Literal["exact", "estimated"]

LIMITS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Limits stand in the SQL as literals, since a bound one spoils the plan; so they are few."""

R = TypeVar("R", bound=Row)


class Page(msgspec.Struct, Generic[R], frozen=True):
    """Some rows in order, and how to get those behind them."""

    rows: list[R]
    next: str | None
    """Give it as ``after`` for the page behind this one; None at the end."""
    total: int | None
    """Rows of all pages together; None unless asked for."""


class Order:
    """The order of a list: by columns that are never NULL and together tell rows apart.

    Args:
        columns: the first one with an index. One that may be NULL stands last, in lists only.
        descending: the newest first, so to speak.
        sorts: the rows that the filters let through are sorted. Else the planner may walk the index
            of the first column, for the sake of the limit, past all rows that the filters leave
            out: good where these are few, bad where they are nearly all.
    """

    def __init__(self, *columns: Column, descending: bool = False, sorts: bool = False) -> None:
        self.columns = columns
        self.descending = descending
        self.sorts = sorts
        self.names = tuple(column._meta.name for column in columns)
        table = columns[0]._meta.table._meta.tablename
        self.tag = f"{table} {'-' if descending else ''}{','.join(self.names)}"
        """The same for equal orders."""

    def by(self) -> list[Column | QueryString]:
        """What stands behind ORDER BY."""
        if not self.sorts:
            return list(self.columns)
        first, *others = self.columns
        return [QueryString("{} + interval '0'", first), *others]  # no index has that

    def slots(self) -> list[str]:
        """The names under which :meth:`behind` takes the values of the cursor."""
        return [f"after {name}" for name in self.names]

    def behind(self) -> WhereRaw:
        """The condition for rows behind the one of the cursor."""
        left = ", ".join("{}" for _ in self.columns)
        comparison = "<" if self.descending else ">"
        slots = map(Param, self.slots())
        return WhereRaw(f"({left}) {comparison} ({left})", *self.columns, *slots)

    def values(self, row: Row) -> dict[str, Any]:
        """What :meth:`behind` takes for the rows behind that one."""
        values = [getattr(row, name) for name in self.names]
        return dict(zip(self.slots(), values, strict=True))

    def cursor(self, row: Row) -> str:
        """What to give as ``after`` to get the rows behind that one."""
        text = msgspec.json.encode([self.tag, list(self.values(row).values())])
        return base64.urlsafe_b64encode(text).decode()

    def position(self, cursor: str, row: type[Row], table: type[Table]) -> dict[str, Any]:
        """The values that a cursor stands for, by slot.

        Raises:
            InvalidValue: it is none, or one of a list in another order.
        """
        try:
            tag, values = _decoder(row, self.names).decode(base64.urlsafe_b64decode(cursor))
        except (msgspec.MsgspecError, ValueError, TypeError, binascii.Error):
            raise invalid_field(table, "after", "is not a cursor of this list") from None
        if tag != self.tag or not all(map(_is_sendable, values)):
            raise invalid_field(table, "after", "is not a cursor of this list")
        return dict(zip(self.slots(), values, strict=True))


def _is_sendable(value: Any) -> bool:
    """Whether the driver takes a value that was read out of a cursor, which may be forged."""
    if isinstance(value, datetime):
        if value in {datetime.min, datetime.max}:  # noqa: DTZ901  # how the driver reads infinity
            return True
        try:
            return value.tzinfo is not None and bool(value.astimezone(UTC))
        except OverflowError:
            return False
    return not isinstance(value, str) or is_storable(value)


@cache
def _decoder(row: type[Row], names: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """Of cursors by those columns; the annotations of a row are slow to read."""
    types = {field.name: field.type for field in msgspec.structs.fields(row)}
    shape: Any = tuple[str, tuple[tuple(types[name] for name in names)]]  # type: ignore[misc]  # made at run time
    return msgspec.json.Decoder(shape)


def check_limit(limit: int, table: type[Table], most: int = MAX_LIMIT, field: str = "limit") -> int:
    """The limit, if it is one.

    Raises:
        InvalidValue: it is below 1 or above ``most``.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= most:
        raise invalid_field(table, field, f"must be a whole number from 1 to {most}")
    return limit


def check_total(total: Total | None, table: type[Table]) -> Total | None:
    """The kind of total, if it is one.

    Raises:
        InvalidValue: it is another word.
    """
    if total is not None and total not in get_args(Total):
        raise invalid_field(table, "total", f"is one of {', '.join(get_args(Total))}")
    return total


def rounded_limit(limit: int) -> int:
    """The smallest of :data:`LIMITS` that is enough."""
    return next(step for step in LIMITS if step >= limit)


def make_page(rows: Sequence[R], limit: int, order: Order, total: int | None) -> Page[R]:
    """The page of rows that were read up to one more than the limit."""
    kept = list(rows[:limit])
    following = order.cursor(kept[-1]) if len(rows) > limit else None
    return Page(kept, following, total)
