"""The base class of the repositories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar, get_args

from piccolo.columns import ForeignKey
from piccolo.table import Table

from learner_app.errors import Conflict
from learner_app.repository.inputs import Input, require_instance, require_list
from learner_app.repository.base import K, Lock, R, ReadOnlyRepository
from learner_app.repository.sql import Statement

__all__ = ["DeletingRepository", "Lock", "Repository"]

MAX_ROUNDS = 10
"""More than the same row is ever deleted and made again between two statements."""

C = TypeVar("C", bound=Input)
U = TypeVar("U", bound=Input)


class Repository(ReadOnlyRepository[R, K], Generic[R, K, C, U]):
    """Typed operations on one table: ``class ContentRepository(Repository[Content, str, ...])``.

    The parameters are the row, the key, and the inputs of add and update. Every operation works
    alone or inside the caller's ``transaction()``, and none commits. Errors are those of
    :mod:`learner_app.errors`.

    Args:
        engine: the configured one (``learner_app.conf.DB``) when left out.
    """

    _create: type[C]
    _change: type[U]
    _references: ClassVar[list[ForeignKey[Any]]]
    """Columns that refer to other tables, in the order in which rows of these are locked."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in vars(cls).get("__orig_bases__", ()):
            parameters = get_args(base)
            if len(parameters) == len(("R", "K", "C", "U")) and "table" in vars(cls):
                *_, cls._create, cls._change = parameters
                cls._references = references(cls.table)

    async def add(self, new: C) -> R:
        """Insert a row.

        Raises:
            Conflict: another row has its key, or another value that is unique.
            MissingReference: a row that it refers to does not exist.
        """
        statement = self._queries.insert(self._create)
        return self._found(await self._one(statement.sql, *self._stored(statement, new)))

    async def add_many(self, new: Sequence[C]) -> list[R]:
        """Insert rows, all or none of them; returned in the order given. Else as :meth:`add`."""
        if not require_list(new, "new", self.table):
            return []
        statement = self._queries.insert(self._create)
        rows_of_values = [self._stored(statement, one) for one in new]
        # in the order of their keys, so that two overlapping calls cannot wait for each other
        order = sorted(range(len(new)), key=lambda at: self._key_of(new[at]))
        values = [rows_of_values[at] for at in order]
        async with self._together():
            await self._lock_references(new)
            records = await self.engine.perform(
                lambda it: it.fetchmany(statement.sql, values), statement.sql
            )
        rows = dict(zip(order, map(self._shape.to_row, records), strict=True))
        return [rows[at] for at in range(len(new))]

    async def update(self, key: K, changes: U) -> R:
        """Change the fields that were given and no others; without any, the row is as it was.

        Raises:
            NotFound: there is no such row.
        """
        if not (given := self._given(changes)):
            return await self.get(key)
        statement = self._queries.update(list(given))
        return self._found(await self._update_one(statement, key, given))

    async def _ensure(self, new: C) -> tuple[R, bool]:
        """The row of that key, and whether it was inserted; of many callers at once by one."""
        statement = self._queries.insert(self._create, if_absent=True)
        values = self._stored(statement, new)
        for _ in range(MAX_ROUNDS):  # again when the row is deleted between the two statements
            row = await self._one(statement.sql, *values, idempotent=True)
            if row is not None:
                return row, True
            row = await self.find(self._key.of(self._key_of(new)))
            if row is not None:
                return row, False
        raise self._unseen()

    def _unseen(self) -> Conflict:
        says = "its key is taken by a row that is not seen"
        return self._error(Conflict, says, *self._key.names)

    async def _lock_references(self, new: Sequence[C]) -> None:
        """Lock the rows that new ones refer to, table by table and in order.

        Else the foreign keys would, row by row and so table after table again: two such calls and
        one that deletes could wait for each other.
        """
        for column in self._references if len(new) > 1 else ():
            keys = {getattr(one, column._meta.name, None) for one in new} - {None}
            await self.engine.fetch(self._queries.lock_referenced(column).sql, list(keys))

    def _stored(self, statement: Statement, new: C) -> list[Any]:
        given = require_instance(self._create, new, "new", self.table)
        return statement.args(self._shape.to_params(vars(given)))

    def _given(self, changes: U) -> dict[str, Any]:
        return require_instance(self._change, changes, "changes", self.table).set_fields()

    def _key_of(self, new: C) -> tuple[Any, ...]:
        return tuple(getattr(new, name) for name in self._key.names)


class DeletingRepository(Repository[R, K, C, U]):
    """A repository whose rows may be deleted one by one."""

    async def delete(self, key: K) -> bool:
        """Delete the row, and what the schema says goes with it; whether it was there.

        Raises:
            StillReferenced: other rows point to it.
        """
        parts = self._key.params(key)
        if parts is None:
            return False
        return await self.engine.execute(self._queries.delete().sql, *parts) == "DELETE 1"


def references(table: type[Table]) -> list[ForeignKey[Any]]:
    """Where a table refers to several others: its columns that do, by the names of those."""
    columns = {
        column._foreign_key_meta.resolved_references._meta.tablename: column
        for column in table._meta.foreign_key_columns
    }
    return [columns[name] for name in sorted(columns)] if len(columns) > 1 else []
