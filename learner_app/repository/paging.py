"""Keyset pagination: a page begins after the last row of the previous one, without OFFSET."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import Any, Generic, Literal, TypeAlias, TypeVar, get_args

import msgspec
from piccolo.columns import Column
from piccolo.columns.combination import WhereRaw
from piccolo.table import Table

from learner_app.repository.inputs import invalid_field
from learner_app.repository.rows import Row
from learner_app.repository.sql import Param
from learner_app.repository.values import is_storable

__all__ = ["DEFAULT_LIMIT", "MAX_LIMIT", "Order", "Page", "Total", "check_limit"]

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
"""Numbers of rows of a list or page."""

Total: TypeAlias = Literal["exact", "estimated"]
"""Kind of the total of a page: a count, or the estimate of the planner."""

LIMITS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Limits that statements contain as literals.

PostgreSQL plans a bound LIMIT as if it were a tenth of the table. Few literals keep the number of
prepared statements small.
"""

R = TypeVar("R", bound=Row)


class Page(msgspec.Struct, Generic[R], frozen=True):
    """Page of rows, with the cursor of the next page."""

    rows: list[R]
    next: str | None
    """Cursor of the next page, to be passed as ``after``; None on the last page."""
    total: int | None
    """Number of rows on all pages; None unless requested."""


class Order:
    """Order of a list, page or stream.

    Args:
        columns: columns that are not nullable and together unique; the first one has an index. A
            nullable column is possible in lists only, which have no cursor.
        descending: True for descending order of all columns.
        sorts: filters with which PostgreSQL must sort the selected rows; True for every call.
            Otherwise it may scan the index of the first column until the limit is reached, through
            the rows that the filters exclude: fast for few such rows, slow if nearly all are.
    """

    def __init__(
        self, *columns: Column, descending: bool = False, sorts: bool | Collection[str] = False
    ) -> None:
        self.columns = columns
        self.descending = descending
        self.sorts = sorts if isinstance(sorts, bool) else frozenset(sorts)
        self.names = tuple(column._meta.name for column in columns)
        table = columns[0]._meta.table._meta.tablename
        self.tag = f"{table} {'-' if descending else ''}{','.join(self.names)}"
        """Identifier of the order, which its cursors contain."""

    def sorts_with(self, filters: Iterable[str]) -> bool:
        """Return whether PostgreSQL must sort the rows that these filters select."""
        if isinstance(self.sorts, bool):
            return self.sorts
        return not self.sorts.isdisjoint(filters)

    def along_index(self) -> Order:
        """Return the order without a sort, for streams, which read all matching rows anyway."""
        return Order(*self.columns, descending=self.descending)

    def cursor_params(self) -> list[str]:
        """Return the names of the parameters of :meth:`after`."""
        return [f"after {name}" for name in self.names]

    def after(self) -> WhereRaw:
        """Return the condition for the rows after that of a cursor."""
        left = ", ".join("{}" for _ in self.columns)
        comparison = "<" if self.descending else ">"
        params = map(Param, self.cursor_params())
        return WhereRaw(f"({left}) {comparison} ({left})", *self.columns, *params)

    def position(self, row: Row) -> dict[str, Any]:
        """Return the parameters of :meth:`after` for the rows after this one."""
        values = [getattr(row, name) for name in self.names]
        return dict(zip(self.cursor_params(), values, strict=True))

    def encode_cursor(self, row: Row) -> str:
        """Return the cursor for the rows after this one."""
        text = msgspec.json.encode([self.tag, list(self.position(row).values())])
        return base64.urlsafe_b64encode(text).decode()

    def decode_cursor(self, cursor: str, row: type[Row], table: type[Table]) -> dict[str, Any]:
        """Return the parameters of :meth:`after` that a cursor contains.

        Raises:
            InvalidValue: ``cursor`` is malformed, or belongs to another order or table.
        """
        tag, values = "", ()
        with suppress(msgspec.MsgspecError, ValueError, TypeError, binascii.Error):
            tag, values = _decoder(row, self.names).decode(base64.urlsafe_b64decode(cursor))
        if tag != self.tag or not all(map(_is_sendable, values)):
            reason = "is not a cursor of this order: pass `next` of a page in the same order"
            raise invalid_field(table, "after", reason)
        return dict(zip(self.cursor_params(), values, strict=True))


def _is_sendable(value: Any) -> bool:
    """Return whether the driver accepts a value of a cursor, which may be forged."""
    if isinstance(value, datetime):
        if value in {datetime.min, datetime.max}:  # noqa: DTZ901  # the driver's infinity
            return True
        try:
            return value.tzinfo is not None and bool(value.astimezone(UTC))
        except OverflowError:
            return False
    return not isinstance(value, str) or is_storable(value)


@cache
def _decoder(row: type[Row], names: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """Return the decoder of cursors, cached since it is slow to create from annotations."""
    types = {field.name: field.type for field in msgspec.structs.fields(row)}
    cursor: Any = tuple[str, tuple[tuple(types[name] for name in names)]]  # type: ignore[misc]  # created at run time
    return msgspec.json.Decoder(cursor)


def check_limit(
    limit: int, table: type[Table], maximum: int = MAX_LIMIT, field: str = "limit"
) -> int:
    """Return the limit if it is valid.

    Raises:
        InvalidValue: ``limit`` is not an integer from 1 to ``maximum``.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= maximum:
        raise invalid_field(table, field, f"must be an integer from 1 to {maximum}")
    return limit


def check_total(total: Total | None, table: type[Table]) -> Total | None:
    """Return the kind of total if it is valid.

    Raises:
        InvalidValue: ``total`` is none of these kinds.
    """
    if total is not None and total not in get_args(Total):
        raise invalid_field(table, "total", f"must be one of {', '.join(get_args(Total))}")
    return total


def rounded_limit(limit: int) -> int:
    """Return the smallest of :data:`LIMITS` that is at least the limit."""
    return next(step for step in LIMITS if step >= limit)


def make_page(rows: Sequence[R], limit: int, order: Order, total: int | None) -> Page[R]:
    """Return the page of the first ``limit`` rows, which has a next page if there are more rows."""
    shown = list(rows[:limit])
    following = order.encode_cursor(shown[-1]) if len(rows) > limit else None
    return Page(shown, following, total)
