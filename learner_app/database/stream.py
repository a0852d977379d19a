"""Streams: many rows in constant memory.

Outside a transaction a stream reads keyset pages, each by a short statement of its own, so that no
connection is occupied while the caller's code runs. Inside a transaction it reads from a
server-side cursor, which shows one snapshot of the data.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Any

from piccolo.columns import Column
from piccolo.query import Select

from learner_app.database.connection import Connection
from learner_app.database.executor import StatementExecutor
from learner_app.database.scope import ScopeStack
from learner_app.database.transaction import Transaction
from learner_app.errors import DatabaseError, StatementRefused
from learner_app.schema.objects import PrimaryKey
from learner_app.schema.schema_object import quoted

BATCH_ROWS = 1000
"""Default number of rows per page."""

Row = dict[str, Any]
Records = Sequence[Any]


class RowStream:
    """Stream of the rows of one query.

    Its statements have the scope in which it was created, even if the consumer has left that scope
    before the next page is read.
    """

    def __init__(
        self, executor: StatementExecutor, scopes: ScopeStack, query: Select[Any], *, batch: int
    ) -> None:
        """
        Args:
            executor: executes the statements.
            scopes: scopes of the engine.
            query: query without order, limit and offset.
            batch: rows per page.
        """
        self._executor = executor
        self._scopes = scopes
        self._scope = scopes.current()
        self._query = query
        self._batch = batch

    async def rows(self, key: Sequence[Column]) -> AsyncGenerator[Row, None]:
        """Yield the rows, see ``DatabaseEngine.stream``."""
        if self._batch < 1:
            raise StatementRefused("stream: batch must be at least 1")
        names = _key_names(self._query, key)
        sql, args = self._query.querystrings[0].compile_string()
        transaction = self._executor.enclosing_transaction()
        if transaction is None:
            pages = self._keyset_pages(sql, args, names)
        else:
            pages = self._cursor_pages(transaction, _ordered(sql, names), args)
        try:
            async for records in pages:
                for row in await self._query._process_results(records):
                    yield row
        finally:
            await pages.aclose()

    async def _keyset_pages(
        self, sql: str, args: Sequence[Any], names: list[str]
    ) -> AsyncGenerator[Records, None]:
        parameters = ", ".join(f"${len(args) + number}" for number in range(1, len(names) + 1))
        # no parameter, with which a generic plan would not be made for a small number of rows
        limit = f"LIMIT {self._batch}"
        page = await self._fetch(f"{_ordered(sql, names)} {limit}", args)
        next_page = f"{_ordered(sql, names, after=parameters)} {limit}"
        while page:
            yield page
            if len(page) < self._batch:
                return
            page = await self._fetch(next_page, (*args, *(page[-1][name] for name in names)))

    async def _fetch(self, sql: str, args: Sequence[Any]) -> Records:
        with self._scopes.use(self._scope):
            records: Records = await self._executor.fetch(sql, args)
            return records

    async def _cursor_pages(
        self, transaction: Transaction, sql: str, args: Sequence[Any]
    ) -> AsyncGenerator[Records, None]:
        async def declare(connection: Connection) -> Any:
            return await connection.cursor(sql, *args)

        with self._scopes.use(self._scope):
            cursor = await transaction.perform(declare, sql)
        try:
            while page := await self._fetch_page(transaction, cursor, sql):
                yield page
        finally:
            if transaction.is_open:
                with suppress(DatabaseError):  # an aborted transaction has closed its cursors
                    await transaction.perform(lambda it: it.close_cursor(cursor))

    async def _fetch_page(self, transaction: Transaction, cursor: Any, sql: str) -> Records:
        async def fetch(connection: Connection) -> Records:
            records: Records = await connection.timed(cursor.fetch(self._batch))
            return records

        with self._scopes.use(self._scope):
            return await transaction.perform(fetch, sql)


def _key_names(query: Select[Any], key: Sequence[Column]) -> list[str]:
    """Return the names of the key's columns.

    Raises:
        StatementRefused: the query has an order, limit or offset, or a column of the key is not
            selected or can be NULL, so that the next page could not begin after its value.
    """
    if (
        query.order_by_delegate._order_by.order_by_items
        or query.limit_delegate._limit
        or query.offset_delegate._offset
    ):
        raise StatementRefused(
            "stream: the query must have no order, limit or offset, its key determines the order"
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
                f"stream: {column._meta.name}: a key column must be selected and be NOT NULL"
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
    """Return the query ordered by the key, with only the rows after the given key if there is one.

    Args:
        sql: the query.
        names: names of the key's columns.
        after: placeholders of a key's values, empty for all rows.
    """
    key = ", ".join(quoted(name) for name in names)
    where = f"WHERE ({key}) > ({after})" if after else ""
    return f"SELECT * FROM ({sql}) AS rows {where} ORDER BY {key}"  # noqa: S608  # column names
