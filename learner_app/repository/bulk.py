"""Update and deletion of all rows that match filters, in batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, Protocol

from piccolo.columns import Column
from piccolo.columns.combination import WhereRaw
from piccolo.query import Delete, Update
from piccolo.querystring import QueryString
from piccolo.table import Table

from learner_app.database.engine import DatabaseEngine
from learner_app.repository.conflict_targets import declared_targets
from learner_app.repository.filters import Filters
from learner_app.repository.paging import Order
from learner_app.repository.queries import StatementCache
from learner_app.repository.sql import Param, Statement

DEFAULT_BATCH = 1000
"""Maximum number of rows of a batch, unless the caller passes another one."""

CHANGE_PREFIX = "new "
"""Prefix of the parameters for changed fields, which could otherwise be those of filters."""

RowLock = Literal["UPDATE", "NO KEY UPDATE"]


class MakeBatchStatement(Protocol):
    """Function that returns the statement for the first batch, or for a batch after a key."""

    def __call__(self, *, after: bool) -> Statement: ...


def update_batch(
    statements: StatementCache,
    filters: Filters,
    filter_names: Sequence[str],
    changed_names: Sequence[str],
    batch: int,
    *,
    after: bool,
) -> Statement:
    """Return the statement that updates a batch of matching rows.

    Parameters: the filters, the changed fields after :data:`CHANGE_PREFIX`, and with ``after``
    those of :meth:`Order.after` for the order of the keys.
    """
    wanted, changed = tuple(filter_names), tuple(changed_names)

    def make() -> Statement:
        columns = statements.table._meta.get_column_by_name
        values: dict[Column, Any] = {columns(name): Param(CHANGE_PREFIX + name) for name in changed}
        query = statements.table.update({**values, **statements.on_update})  # type: ignore[dict-item]  # Piccolo accepts more than it declares
        lock = _lock_of_update(statements.table, changed)
        select = _locked_keys(statements, filters, wanted, lock, batch, after=after)
        return statements.compile("update_where", _batch_query(statements, select, query))

    return statements.cached(("update_where", wanted, changed, batch, after), make)


def delete_batch(
    statements: StatementCache,
    filters: Filters,
    filter_names: Sequence[str],
    batch: int,
    *,
    after: bool,
) -> Statement:
    """Return the statement that deletes a batch of matching rows.

    Parameters: the filters, and with ``after`` those of :meth:`Order.after` for the order of the
    keys.
    """
    wanted = tuple(filter_names)

    def make() -> Statement:
        select = _locked_keys(statements, filters, wanted, "UPDATE", batch, after=after)
        query = _batch_query(statements, select, statements.table.delete(force=True))
        return statements.compile("delete_where", query)

    return statements.cached(("delete_where", wanted, batch, after), make)


async def run_batches(
    engine: DatabaseEngine,
    make_statement: MakeBatchStatement,
    values: Mapping[str, Any],
    key: Sequence[Column],
    batch: int,
) -> int:
    """Run a statement for each batch in key order and return the number of affected rows.

    Inside a transaction, all batches belong to it. Otherwise each batch is a transaction of its
    own, which is retried after a deadlock.
    """
    run = _run_here if engine.enclosing_transaction() is not None else engine.run_transaction
    order = Order(*key)
    total = 0
    position: dict[str, Any] = {}
    while True:
        statement = make_statement(after=bool(position))
        args = statement.args({**values, **position})
        record = await run(partial(statement.fetchrow, engine, *args))
        if record is None:
            return total
        affected, locked, *last_key = record
        total += int(affected)
        if locked < batch:
            return total
        position = dict(zip(order.cursor_params(), last_key, strict=True))


async def _run_here(unit: Callable[[], Awaitable[Any]]) -> Any:
    return await unit()


def _locked_keys(
    statements: StatementCache,
    filters: Filters,
    names: tuple[str, ...],
    lock: RowLock,
    batch: int,
    *,
    after: bool,
) -> QueryString:
    """Return the query that locks the rows of a batch, in key order.

    Every call locks in the same order, so that concurrent calls do not deadlock. PostgreSQL waits
    for a row that another transaction has locked, and then evaluates the filters on it again.
    """
    columns = statements.key.columns
    query = statements.table.select(*columns).order_by(*columns).limit(batch)
    for condition in (filters.condition(names), Order(*columns).after() if after else None):
        query = query if condition is None else query.where(condition)
    return query.lock_rows(lock).querystrings[0]


def _batch_query(
    statements: StatementCache, locked: QueryString, write: Update[Any] | Delete
) -> QueryString:
    """Return the query that locks and writes a batch.

    Its record has the number of affected rows, the number of locked rows and the last key. Fewer
    rows than the locked ones may be affected, for instance because of a trigger. No record is
    returned if no row matches.
    """
    columns = statements.key.columns
    names = ", ".join("{}" for _ in columns)
    write = write.where(WhereRaw(f"({names}) IN (SELECT * FROM locked)", *columns))
    descending = ", ".join(f"{place} DESC" for place in range(1, len(columns) + 1))
    return QueryString(
        "WITH locked AS MATERIALIZED ({}), affected AS ({} RETURNING 1) "
        "SELECT (SELECT count(*) FROM affected), (SELECT count(*) FROM locked), last.* "
        f"FROM (SELECT * FROM locked ORDER BY {descending} LIMIT 1) AS last",
        locked,
        write.querystrings[0],
    )


def _lock_of_update(table: type[Table], changed: Sequence[str]) -> RowLock:
    """Return the row lock that the UPDATE itself acquires.

    A weaker lock would be upgraded by the UPDATE, after the other rows of the batch were locked,
    which can deadlock.
    """
    unique = {name for target in declared_targets(table) for name in target.names}
    return "NO KEY UPDATE" if unique.isdisjoint(changed) else "UPDATE"
