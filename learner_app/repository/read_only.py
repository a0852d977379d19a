"""Base class of all repositories, with the operations that read."""

from __future__ import annotations

import builtins
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar, get_args

import msgspec
from piccolo.columns import Column
from piccolo.querystring import QueryString
from piccolo.table import Table

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import DatabaseError, MissingReference, NotFound, TransactionRequired
from learner_app.repository.filters import Combinable, Filters
from learner_app.repository.inputs import invalid_field, require_list
from learner_app.repository.keys import TableKey
from learner_app.repository.paging import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Order,
    Page,
    Total,
    check_limit,
    check_total,
    make_page,
    rounded_limit,
)
from learner_app.repository.queries import KEY_PREFIX, Expression, StatementCache
from learner_app.repository.rows import Row, RowMapper
from learner_app.repository.sql import Statement

E = TypeVar("E", bound=DatabaseError)
R = TypeVar("R", bound=Row)
K = TypeVar("K")

Lock: TypeAlias = Literal[
    "update",
    "update nowait",
    "update skip locked",
    "no key update",
    "no key update nowait",
    "no key update skip locked",
    "share",
    "share nowait",
    "share skip locked",
]
"""Row lock as in PostgreSQL's ``FOR ...``; ``no key update`` does not block inserts of rows that
refer to the locked row."""

MISSING: Any = object()
"""Default of a parameter for which None is a value."""


class ReadOnlyRepository(Generic[R, K]):
    """Base class of repositories whose only general operations are reads.

    A repository is for one table; the type parameters are its row and its key. Every operation
    also works inside the caller's ``transaction()``; none commits that transaction. Errors are
    those of :mod:`learner_app.errors`.

    Args:
        engine: engine that runs the statements; ``learner_app.conf.DB`` if omitted.
    """

    table: ClassVar[type[Table]]
    row: type[R]
    filters: ClassVar[Filters]

    orders: ClassVar[Mapping[str, Order]]
    """Orders of lists, pages and streams by name, the default first; by key if omitted."""

    key: ClassVar[TableKey]
    """Conversion of the keys that callers pass; that of the table if omitted."""

    stored_as: ClassVar[Mapping[str, Expression]] = {}
    """Expressions for fields that an insert does not store as passed, by field."""

    on_update: ClassVar[Mapping[Column, QueryString]] = {}
    """Expressions that every update of a row also sets, by column, such as a version."""

    mapper: RowMapper[R]
    statements: ClassVar[StatementCache]
    _default_order: ClassVar[Order]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "table" not in vars(cls):
            return
        cls.mapper = RowMapper(cls.table, cls.row)
        if "key" not in vars(cls):
            cls.key = TableKey(cls.table)
        cls.statements = StatementCache(
            cls.table, cls.mapper.columns, cls.key, cls.stored_as, cls.on_update
        )
        if "orders" not in vars(cls):
            cls.orders = {"key": Order(*cls.key.columns)}
        cls._default_order = next(iter(cls.orders.values()))

    def __init__(self, engine: DatabaseEngine | None = None) -> None:
        self._engine = engine

    @property
    def engine(self) -> DatabaseEngine:
        """Engine that runs the statements."""
        engine: Any = self._engine or self.table._meta.db
        result: DatabaseEngine = engine
        return result

    async def get(self, key: K, *, lock: Lock | None = None) -> R:
        """Return a row.

        Args:
            key: a malformed key counts as not found.
            lock: row lock, held until the end of the transaction.

        Raises:
            NotFound: the row does not exist, or is locked and ``lock`` skips locked rows.
            TransactionRequired: ``lock`` was passed outside a transaction.
            LockTimeout: another transaction has held the lock for longer than DB_LOCK_TIMEOUT; with
                ``nowait``, raised immediately.
        """
        return self.require_row(await self.find(key, lock=lock))

    async def find(self, key: K, *, lock: Lock | None = None) -> R | None:
        """Return a row, or None where :meth:`get` raises ``NotFound``."""
        if lock is not None:
            self._check_lock(lock)
        params = self.key.params(key)
        if params is None:
            return None
        return await self.fetch_row(self.statements.by_key(lock), *params)

    async def get_many(self, keys: Sequence[K]) -> builtins.list[R]:
        """Return the existing rows of the keys, in the order of the keys, by one query."""
        converted = map(self.key.params, require_list(keys, "keys", self.table))
        wanted = [params for params in converted if params is not None]
        if not wanted:
            return []
        arrays = map(list, zip(*wanted, strict=True))
        rows = await self.fetch_rows(self.statements.by_keys(), *arrays)
        by_key = {tuple(getattr(row, name) for name in self.key.names): row for row in rows}
        return [by_key[params] for params in wanted if params in by_key]

    if TYPE_CHECKING:
        # Each repository declares these with its own filters and orders: see typed_methods. The
        # declarations here are compatible with all of those.

        async def list(self, *args: Any, **kwargs: Any) -> builtins.list[R]: ...

        async def page(self, *args: Any, **kwargs: Any) -> Page[R]: ...

        def stream(self, *args: Any, **kwargs: Any) -> AsyncGenerator[R, None]: ...

        async def count(self, *args: Any, **kwargs: Any) -> int: ...

        async def exists(self, *args: Any, **kwargs: Any) -> bool: ...

    else:

        async def list(
            self, *, limit: int = DEFAULT_LIMIT, order: str | None = None, **filters: Any
        ) -> builtins.list[R]:
            """Return the first ``limit`` rows that match the filters, up to 1,000."""
            return await self.list_rows(filters, limit, order)

        async def page(
            self,
            *,
            limit: int = DEFAULT_LIMIT,
            after: str | None = None,
            total: Total | None = None,
            order: str | None = None,
            **filters: Any,
        ) -> Page[R]:
            """Return a page of the rows that match the filters.

            Args:
                limit: maximum number of rows, up to 1,000.
                after: cursor, the ``next`` of the page before, with the same filters and order.
                total: ``exact`` counts the rows of all pages; ``estimated`` asks the planner for
                    an estimate, without reading rows.
                order: name of one of ``orders``.
                filters: each narrows the selection.

            Raises:
                InvalidValue: an argument is invalid, or ``after`` is a cursor of another order.
            """
            return await self.page_rows(filters, limit, after, total, order)

        def stream(self, *, order: str | None = None, **filters: Any) -> AsyncGenerator[R, None]:
            """Yield all rows that match the filters, in constant memory, page by page.

            Outside a transaction, no connection is leased while the caller processes a row.
            """
            return self.stream_rows(filters, order)

        async def count(self, **filters: Any) -> int:
            """Return the number of rows that match the filters."""
            return await self.count_rows(filters)

        async def exists(self, key: K = MISSING, **filters: Any) -> bool:
            """Return whether a row has the key, or whether any row matches the filters.

            Raises:
                InvalidValue: neither a key nor a filter was passed, or both.
            """
            if key is not MISSING and not filters:
                params = self.key.params(key)
                statement = self.statements.exists()
                return params is not None and await statement.fetchval(self.engine, *params)
            if key is not MISSING or not filters:
                raise invalid_field(self.table, "key", "exists() needs either a key or filters")
            values = self.filters.validate(filters)
            if values is None:
                return False
            statement = self.statements.exists_where(self.filters, values)
            return await self.fetch_value(statement, *statement.args(values))

    # Extension points: subclasses build their operations from these methods.

    async def fetch_row(
        self, statement: Statement, *args: Any, idempotent: bool = False
    ) -> R | None:
        """Return the first row of a statement that returns the columns of the row type."""
        record = await statement.fetchrow(self.engine, *args, idempotent=idempotent)
        return None if record is None else self.mapper.to_row(record)

    async def fetch_row_by_key(self, key: K, statement: Statement, *args: Any) -> R | None:
        """Return the first row of a statement whose first parameters are the key columns."""
        params = self.key.params(key)
        return None if params is None else await self.fetch_row(statement, *params, *args)

    async def fetch_rows(
        self, statement: Statement, *args: Any, idempotent: bool = False
    ) -> builtins.list[R]:
        """Return the rows of a statement that returns the columns of the row type."""
        records = await statement.fetch(self.engine, *args, idempotent=idempotent)
        return list(map(self.mapper.constructor_for(records), records))

    async def fetch_records(
        self, statement: Statement, *args: Any, idempotent: bool = False
    ) -> builtins.list[Any]:
        """Return the records of a statement with any columns."""
        return await statement.fetch(self.engine, *args, idempotent=idempotent)

    async def fetch_value(self, statement: Statement, *args: Any, idempotent: bool = False) -> Any:
        """Return the first column of a statement's first record, or None without a record."""
        return await statement.fetchval(self.engine, *args, idempotent=idempotent)

    async def execute(self, statement: Statement, *args: Any, idempotent: bool = False) -> int:
        """Run a statement that returns no records and return the number of affected rows."""
        return await statement.execute(self.engine, *args, idempotent=idempotent)

    async def count_rows(self, filters: Mapping[str, Any], *, operation: str = "count") -> int:
        """Return the number of rows that match the filters.

        Args:
            filters: values by filter.
            operation: the statement's name, after the name of the table.
        """
        values = self.filters.validate(filters)
        return 0 if values is None else await self._exact_total(values, operation)

    async def list_rows(
        self,
        filters: Mapping[str, Any],
        limit: int = DEFAULT_LIMIT,
        order: Order | str | None = None,
        *,
        operation: str = "list",
    ) -> builtins.list[R]:
        """Return the first rows that match the filters.

        Args:
            filters: values by filter.
            limit: maximum number of rows, up to 1,000.
            order: an order, or the name of one of ``orders``; the default one if omitted.
            operation: the statement's name, after the name of the table.
        """
        order = self._resolve_order(order)
        limit = check_limit(limit, self.table)
        values = self.filters.validate(filters)
        if values is None:
            return []
        rows = await self._rows_after(order, values, {}, rounded_limit(limit), operation)
        return rows[:limit]

    async def page_rows(
        self,
        filters: Mapping[str, Any],
        limit: int = DEFAULT_LIMIT,
        after: str | None = None,
        total: Total | None = None,
        order: Order | str | None = None,
        *,
        operation: str = "page",
    ) -> Page[R]:
        """Return a page of the rows that match the filters.

        Arguments and errors are those of :meth:`page`; ``order`` may also be an :class:`Order`.
        """
        order = self._resolve_order(order)
        limit = check_limit(limit, self.table)
        total = check_total(total, self.table)
        values = self.filters.validate(filters)
        position = {} if after is None else order.decode_cursor(after, self.row, self.table)
        if values is None:
            return Page([], None, None if total is None else 0)
        # One row more than the limit shows that there is a next page.
        rows = await self._rows_after(order, values, position, rounded_limit(limit) + 1, operation)
        return make_page(rows, limit, order, total and await self._total(total, values))

    async def stream_rows(
        self,
        filters: Mapping[str, Any],
        order: Order | str | None = None,
        *,
        operation: str = "stream",
    ) -> AsyncGenerator[R, None]:
        """Yield all rows that match the filters, as :meth:`stream` does."""
        order = self._resolve_order(order).along_index()
        values = self.filters.validate(filters)
        position: Mapping[str, Any] = {}
        while values is not None:
            records = await self._records_after(order, values, position, MAX_LIMIT, operation)
            to_row = self.mapper.constructor_for(records)
            # Each row is made when it is needed. Making a whole page first would take a tenth
            # longer, most of it for garbage collections, and more memory.
            for record in records:
                yield (row := to_row(record))
            if len(records) < MAX_LIMIT:
                return
            position = order.position(row)

    async def update_row(
        self, key: K, fields: Mapping[str, Any], only: Combinable | None = None, **params: Any
    ) -> R | None:
        """Update a row by its key, together with ``on_update``, and return it.

        Args:
            key: a malformed key counts as not found.
            fields: values by column, at least one.
            only: further condition on the row. Statements are cached by its identity: create it
                once, with a ``Param`` for each value.
            params: values of the parameters of ``only``.

        Returns:
            The changed row, None if no row has the key and meets the condition.
        """
        key_params = self.key.params(key)
        if key_params is None:
            return None
        statement = self.statements.update(tuple(fields), only)
        values = self.mapper.to_params(fields)
        for name, value in zip(self.key.names, key_params, strict=True):
            values[KEY_PREFIX + name] = value
        return await self.fetch_row(statement, *statement.args(values | params))

    def require_row(self, row: R | None) -> R:
        """Return the row, or raise ``NotFound`` for None."""
        if row is None:
            raise self.not_found()
        return row

    def not_found(self) -> NotFound:
        """Return the error for a key without a row."""
        return self.error(NotFound, "there is no such row", *self.key.names)

    def missing_reference(self, field: str) -> MissingReference:
        """Return the error for a field that refers to a row that does not exist."""
        message = f"the row that {field} refers to does not exist"
        return self.error(MissingReference, message, field)

    def error(self, kind: type[E], message: str, *fields: str, constraint: str | None = None) -> E:
        """Return an error that names the table, for rules that the database does not check."""
        name = self.table._meta.tablename
        return kind(f"{name}: {message}", table=name, fields=fields, constraint=constraint)

    def require_transaction(self, operation: str) -> None:
        """Raise unless the caller has opened a transaction.

        Raises:
            TransactionRequired: there is no transaction.
        """
        if self.engine.enclosing_transaction() is None:
            raise TransactionRequired(
                f"{operation} requires a transaction: call it inside `async with DB.transaction():`"
            )

    def joined_transaction(self) -> AbstractAsyncContextManager[Any]:
        """Return a context manager that joins the caller's transaction, or else opens one.

        Unlike a nested ``transaction()``, it creates no savepoint.
        """
        if self.engine.enclosing_transaction() is not None:
            return nullcontext()
        return self.engine.transaction()

    async def _rows_after(
        self,
        order: Order,
        values: Mapping[str, Any],
        position: Mapping[str, Any],
        limit: int,
        operation: str,
    ) -> builtins.list[R]:
        """Return the rows after a position, at most ``limit``."""
        records = await self._records_after(order, values, position, limit, operation)
        return list(map(self.mapper.constructor_for(records), records))

    async def _records_after(
        self,
        order: Order,
        values: Mapping[str, Any],
        position: Mapping[str, Any],
        limit: int,
        operation: str,
    ) -> builtins.list[Any]:
        """Return the records of :meth:`_rows_after`."""
        statement = self.statements.page(
            self.filters,
            values,
            order,
            limit,
            after=bool(position),
            operation=operation,
        )
        return await self.fetch_records(statement, *statement.args({**values, **position}))

    async def _total(self, total: Total, values: Mapping[str, Any]) -> int:
        if total == "exact":
            return await self._exact_total(values, "count")
        statement = self.statements.estimate(self.filters, values)
        plan = await self.fetch_value(statement, *statement.args(values), idempotent=True)
        return int(msgspec.json.decode(plan)[0]["Plan"]["Plan Rows"])

    async def _exact_total(self, values: Mapping[str, Any], operation: str) -> int:
        statement = self.statements.count(self.filters, values, operation)
        return int(await self.fetch_value(statement, *statement.args(values)))

    def _resolve_order(self, order: Order | str | None) -> Order:
        if order is None:
            return self._default_order
        if isinstance(order, Order):
            return order
        if not isinstance(order, str) or order not in self.orders:
            raise invalid_field(self.table, "order", f"must be one of {', '.join(self.orders)}")
        return self.orders[order]

    def _check_lock(self, lock: Lock) -> None:
        if lock not in get_args(Lock):
            raise invalid_field(self.table, "lock", f"must be one of {', '.join(get_args(Lock))}")
        self.require_transaction("lock=")
