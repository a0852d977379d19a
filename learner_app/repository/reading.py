"""What every repository offers of its rows without changing any."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypeVar, get_args

import msgspec
from piccolo.table import Table

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import DatabaseError, MissingReference, NotFound, TransactionRequired
from learner_app.repository.filters import Filters
from learner_app.repository.inputs import require_list, invalid_field
from learner_app.repository.keys import TableKey
from learner_app.repository.paging import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Order,
    Page,
    Total,
    check_limit,
    make_page,
    check_total,
    rounded_limit,
)
from learner_app.repository.queries import OF_KEY, Expression, StatementCache
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
"""As PostgreSQL's ``FOR ...``; ``no key update`` leaves others free to refer to the row."""


class ReadOnlyRepository(Generic[R, K]):
    """Typed reading of one table, for repositories whose writes are all operations of their own.

    The parameters are the row and the key. Else as ``Repository``.

    Args:
        engine: the configured one (``learner_app.conf.DB``) when left out.
    """

    table: ClassVar[type[Table]]
    row: type[R]
    filters: ClassVar[Filters]
    order: ClassVar[Order]
    """Of pages and streams; by the key when left out."""

    key_type: ClassVar[type[TableKey]] = TableKey
    """Conversion of the keys that callers pass."""

    stored_as: ClassVar[Mapping[str, Expression]] = {}
    """Expressions for columns that ``add`` stores otherwise than given."""

    _shape: RowMapper[R]
    _key: ClassVar[TableKey]
    _queries: ClassVar[StatementCache]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "table" not in vars(cls):
            return
        cls._shape = RowMapper(cls.table, cls.row)
        cls._key = cls.key_type(cls.table)
        cls._queries = StatementCache(cls.table, cls._shape.columns, cls._key, cls.stored_as)
        if "order" not in vars(cls):
            cls.order = Order(*cls._key.columns)

    def __init__(self, engine: DatabaseEngine | None = None) -> None:
        self._given_engine = engine

    @property
    def engine(self) -> DatabaseEngine:
        """What the statements run on."""
        configured: Any = self._given_engine or self.table._meta.db
        engine: DatabaseEngine = configured
        return engine

    async def get(self, key: K, *, lock: Lock | None = None) -> R:
        """The row.

        Args:
            key: one that cannot be a key is not there.
            lock: held until the end of the transaction.

        Raises:
            NotFound: there is none.
            TransactionRequired: ``lock`` outside a transaction.
            LockTimeout: the row is locked; with ``nowait`` at once.
        """
        return self._found(await self.find(key, lock=lock))

    async def find(self, key: K, *, lock: Lock | None = None) -> R | None:
        """The row or None; None also where it is locked and ``lock`` says to skip it."""
        if lock is not None:
            self._require_lockable(lock)
        parts = self._key.params(key)
        if parts is None:
            return None
        return await self._one(self._queries.find(lock).sql, *parts)

    async def get_many(self, keys: Sequence[K]) -> list[R]:
        """The rows of those keys that are there, in the order of the keys, by one query."""
        given = map(self._key.params, require_list(keys, "keys", self.table))
        wanted = [parts for parts in given if parts is not None]
        if not wanted:
            return []
        arrays = map(list, zip(*wanted, strict=True))
        rows = await self._many(self._queries.among().sql, *arrays)
        by_key = {tuple(getattr(row, name) for name in self._key.names): row for row in rows}
        return [by_key[parts] for parts in wanted if parts in by_key]

    async def exists(self, key: K) -> bool:
        """Whether there is such a row."""
        parts = self._key.params(key)
        if parts is None:
            return False
        return bool(await self.engine.fetchval(self._queries.exists().sql, *parts))

    # What repositories build their own operations of.

    def _together(self) -> AbstractAsyncContextManager[Any]:
        """All of the block or nothing: in the caller's transaction, or in one of its own."""
        if self.engine.enclosing_transaction() is not None:
            return nullcontext()
        return self.engine.transaction()

    async def _one(self, sql: str, *args: Any, idempotent: bool = False) -> R | None:
        record = await self.engine.fetchrow(sql, *args, idempotent=idempotent)
        return None if record is None else self._shape.to_row(record)

    async def _of_key(self, key: K, sql: str, *args: Any) -> R | None:
        """What a statement about one row gives; it takes the parts of the key first."""
        parts = self._key.params(key)
        return None if parts is None else await self._one(sql, *parts, *args)

    async def _many(self, sql: str, *args: Any) -> list[R]:
        return list(map(self._shape.to_row, await self.engine.fetch(sql, *args)))

    async def _update_one(
        self, statement: Statement, key: K, given: Mapping[str, Any], **more: Any
    ) -> R | None:
        parts = self._key.params(key)
        if parts is None:
            return None
        values = self._shape.to_params(given)
        of_key = {OF_KEY + name: part for name, part in zip(self._key.names, parts, strict=True)}
        return await self._one(statement.sql, *statement.args(values | of_key | more))

    async def _count(self, given: Mapping[str, Any]) -> int:
        values = self.filters.validate(given)
        return 0 if values is None else await self._total("exact", values)

    async def _page(
        self,
        given: Mapping[str, Any],
        limit: int = DEFAULT_LIMIT,
        after: str | None = None,
        total: Total | None = None,
        order: Order | None = None,
    ) -> Page[R]:
        order = order or self.order
        limit = check_limit(limit, self.table)
        total = check_total(total, self.table)
        values = self.filters.validate(given)
        position = {} if after is None else order.position(after, self.row, self.table)
        if values is None:
            return Page([], None, None if total is None else 0)
        rows = await self._behind(order, values, position, limit)
        return make_page(rows, limit, order, total and await self._total(total, values))

    async def _list(self, given: Mapping[str, Any], limit: int, order: Order) -> list[R]:
        limit = check_limit(limit, self.table)
        values = self.filters.validate(given)
        return [] if values is None else (await self._behind(order, values, {}, limit))[:limit]

    async def _stream(
        self, given: Mapping[str, Any], order: Order | None = None
    ) -> AsyncGenerator[R, None]:
        """By pages of their own, so that nothing is held while the caller works."""
        order = order or self.order
        values = self.filters.validate(given)
        position: Mapping[str, Any] = {}
        while values is not None:
            rows = await self._behind(order, values, position, MAX_LIMIT)
            for row in rows[:MAX_LIMIT]:
                yield row
            if len(rows) <= MAX_LIMIT:
                return
            position = order.values(rows[MAX_LIMIT - 1])

    async def _behind(
        self, order: Order, values: Mapping[str, Any], position: Mapping[str, Any], limit: int
    ) -> list[R]:
        """The rows behind a position, up to one more than the limit at least."""
        statement = self._queries.page(
            self.filters, values, order, rounded_limit(limit) + 1, behind=bool(position)
        )
        return await self._many(statement.sql, *statement.args({**values, **position}))

    async def _total(self, total: Total, values: Mapping[str, Any]) -> int:
        if total == "exact":
            statement = self._queries.count(self.filters, values)
            return int(await self.engine.fetchval(statement.sql, *statement.args(values)))
        statement = self._queries.matching(self.filters, values)
        explain = f"EXPLAIN (FORMAT JSON) {statement.sql}"
        plan = await self.engine.fetchval(explain, *statement.args(values), idempotent=True)
        return int(msgspec.json.decode(plan)[0]["Plan"]["Plan Rows"])

    def _found(self, row: R | None) -> R:
        if row is None:
            raise self._not_found()
        return row

    def _not_found(self) -> NotFound:
        return self._error(NotFound, "there is no such row", *self._key.names)

    def _missing(self, field: str) -> MissingReference:
        says = f"the row that {field} points to does not exist"
        return self._error(MissingReference, says, field)

    def _error(self, kind: type[E], says: str, *fields: str, constraint: str | None = None) -> E:
        """An error that the database itself does not raise."""
        name = self.table._meta.tablename
        return kind(f"{name}: {says}", table=name, fields=fields, constraint=constraint)

    def _require_lockable(self, lock: Lock) -> None:
        if lock not in get_args(Lock):
            raise invalid_field(self.table, "lock", f"is one of {', '.join(get_args(Lock))}")
        self._require_transaction("a lock")

    def _require_transaction(self, what: str) -> None:
        if self.engine.enclosing_transaction() is None:
            raise TransactionRequired(f"{what} makes sense inside a transaction() only")
