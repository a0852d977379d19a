"""Streams: many rows in constant memory.

Outside a transaction a stream reads keyset pages, each a short statement of its own, so that no
connection is held while the caller works. Inside one it reads from a server-side cursor, which
returns one snapshot of the query.
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

Row = dict[str, Any]
Records = Sequence[Any]


class RowStream:
    """Stream of the rows of one query.

    It keeps the scope in which it was created: its pages are read while the consumer's code runs,
    which may have left that scope.
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
        limit = f"LIMIT {self._batch}"  # with a parameter the planner would not see how few rows
        page = await self._fetch(f"{_ordered(sql, names)} {limit}", args)
        later = f"{_ordered(sql, names, after=parameters)} {limit}"
        while page:
            yield page
            if len(page) < self._batch:
                return
            page = await self._fetch(later, (*args, *(page[-1][name] for name in names)))

    async def _fetch(self, sql: str, args: Sequence[Any]) -> Records:
        async def fetch(connection: Connection) -> Records:
            records: Records = await connection.fetch(sql, *args)
            return records

        with self._scopes.entered(self._scope):
            return await self._executor.run(fetch, sql)

    async def _cursor_pages(
        self, transaction: Transaction, sql: str, args: Sequence[Any]
    ) -> AsyncGenerator[Records, None]:
        async def declare(connection: Connection) -> Any:
            return await connection.cursor(sql, *args)

        with self._scopes.entered(self._scope):
            cursor = await transaction.perform(declare, sql)
        try:
            while page := await self._fetch_page(transaction, cursor, sql):
                yield page
        finally:
            if transaction.is_open:
                with suppress(DatabaseError):  # an error of the transaction closed it already
                    await transaction.perform(lambda it: it.close_cursor(cursor))

    async def _fetch_page(self, transaction: Transaction, cursor: Any, sql: str) -> Records:
        async def fetch(connection: Connection) -> Records:
            records: Records = await connection.timed(cursor.fetch(self._batch))
            return records

        with self._scopes.entered(self._scope):
            return await transaction.perform(fetch, sql)


def _key_names(query: Select[Any], key: Sequence[Column]) -> list[str]:
    """Return the names of the key's columns.

    Raises:
        StatementRefused: the query has an order of its own, or a column of the key is not selected
            or can be NULL, so that a page could not begin after it.
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
                f"stream: {column._meta.name}: a key column must be selected and not nullable"
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
    return f"SELECT * FROM ({sql}) AS rows {where} ORDER BY {key}"  # noqa: S608  # column names
