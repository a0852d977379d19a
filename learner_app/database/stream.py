"""Reading many rows in constant memory, without a transaction that spans the caller's code.

Outside a transaction: keyset pages, each a short statement of its own, so that nothing is held
while the caller works. Inside one: a server-side cursor, which sees one snapshot of the query.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from piccolo.columns import Column
from piccolo.query import Select

from learner_app.errors import DatabaseError, StatementRefused
from learner_app.schema.objects import PrimaryKey
from learner_app.schema.schema_object import quoted

if TYPE_CHECKING:
    from learner_app.database.connection import Connection
    from learner_app.database.engine import DatabaseEngine
    from learner_app.database.transaction import Transaction

BATCH = 1000

Row = dict[str, Any]


Records = Sequence[Any]


async def stream(
    engine: DatabaseEngine, query: Select[Any], key: Sequence[Column], batch: int
) -> AsyncGenerator[Row, None]:
    """See :meth:`DatabaseEngine.stream`."""
    if batch < 1:
        raise StatementRefused("a stream's batch is at least one row")
    names = _key_names(query, key)
    sql, args = query.querystrings[0].compile_string()
    transaction = engine.enclosing_transaction()
    if transaction is None:
        pages = _keyset_pages(engine, sql, args, names, batch)
    else:
        pages = _cursor_pages(transaction, _ordered(sql, names), args, batch)
    try:
        async for records in pages:
            for row in await query._process_results(records):
                yield row
    finally:
        await pages.aclose()


def _key_names(query: Select[Any], key: Sequence[Column]) -> list[str]:
    """The key's columns; together they tell rows apart and none is ever NULL."""
    if (
        query.order_by_delegate._order_by.order_by_items
        or query.limit_delegate._limit
        or query.offset_delegate._offset
    ):
        raise StatementRefused(
            "a streamed query takes no order, limit or offset: its key orders it"
        )
    columns = list(key) or _primary_key(query)
    names = [column._meta.db_column_name for column in columns]
    selected = {
        column._meta.db_column_name
        for column in query.columns_delegate.selected_columns or query.table._meta.columns
        if isinstance(column, Column) and not column._meta.call_chain and not column._alias
    }
    for column in columns:
        if column._meta.null or column._meta.db_column_name not in selected:
            raise StatementRefused(
                f"{column._meta.name}: a column of the key must be selected and never NULL"
            )
    return names


def _primary_key(query: Select[Any]) -> list[Column]:
    table = query.table
    for constraint in table._meta.constraints:
        if isinstance(constraint, PrimaryKey):
            by_name = {column._meta.db_column_name: column for column in table._meta.columns}
            return [by_name[name] for name in constraint.params["columns"]]
    return [table._meta.primary_key]


def _ordered(sql: str, names: list[str], after: str = "") -> str:
    key = ", ".join(quoted(name) for name in names)
    where = f"WHERE ({key}) > ({after})" if after else ""
    return f"SELECT * FROM ({sql}) AS rows {where} ORDER BY {key}"  # noqa: S608  # names of columns


async def _keyset_pages(
    engine: DatabaseEngine, sql: str, args: Sequence[Any], names: list[str], batch: int
) -> AsyncGenerator[Records, None]:
    marks = ", ".join(f"${len(args) + number}" for number in range(1, len(names) + 1))
    limit = f"LIMIT {batch}"  # a bound limit would spoil the plan
    page: Records = await engine.fetch(f"{_ordered(sql, names)} {limit}", *args)
    later = f"{_ordered(sql, names, after=marks)} {limit}"
    while page:
        yield page
        if len(page) < batch:
            return
        page = await engine.fetch(later, *args, *(page[-1][name] for name in names))


async def _cursor_pages(
    transaction: Transaction, sql: str, args: Sequence[Any], batch: int
) -> AsyncGenerator[Records, None]:
    async def declare(connection: Connection) -> Any:
        return await connection.cursor(sql, *args)

    cursor = await transaction.perform(declare, sql)
    try:
        while page := await transaction.perform(lambda it: it.timed(cursor.fetch(batch)), sql):
            yield page
    finally:
        if transaction.is_open:
            with suppress(DatabaseError):  # after an error of the caller's it is closed already
                await transaction.perform(lambda it: it.close_cursor(cursor), sql)
