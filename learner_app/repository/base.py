"""The base class of the repositories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from learner_app.repository.inputs import Input
from learner_app.repository.reading import K, Lock, R, ReadingRepository
from learner_app.repository.sql import Statement

__all__ = ["DeletingRepository", "Lock", "Repository"]

C = TypeVar("C", bound=Input)
U = TypeVar("U", bound=Input)


class Repository(ReadingRepository[R, K], Generic[R, K, C, U]):
    """Typed operations on one table: ``class ContentRepository(Repository[Content, str, ...])``.

    The parameters are the row, the key, and the inputs of add and update. Every operation works
    alone or inside the caller's ``transaction()``, and none commits. Errors are those of
    :mod:`learner_app.errors`.

    Args:
        engine: the configured one (``learner_app.conf.DB``) when left out.
    """

    async def add(self, new: C) -> R:
        """Insert a row.

        Raises:
            Conflict: another row has its key, or another value that is unique.
            MissingReference: a row that it refers to does not exist.
        """
        statement = self._queries.insert(type(new))
        return self._found(await self._one(statement.sql, *self._stored(statement, new)))

    async def add_many(self, new: Sequence[C]) -> list[R]:
        """Insert rows, all or none of them; returned in the order given. Else as :meth:`add`."""
        if not new:
            return []
        statement = self._queries.insert(type(new[0]))
        # in the order of their keys, so that two overlapping calls cannot wait for each other
        order = sorted(range(len(new)), key=lambda at: self._key_of(new[at]))
        values = [self._stored(statement, new[at]) for at in order]
        records = await self.engine.perform(
            lambda it: it.fetchmany(statement.sql, values), statement.sql
        )
        rows = dict(zip(order, map(self._shape.make, records), strict=True))
        return [rows[at] for at in range(len(new))]

    async def update(self, key: K, changes: U) -> R:
        """Change the fields that were given and no others; without any, the row is as it was.

        Raises:
            NotFound: there is no such row.
        """
        if not (given := changes.given()):
            return await self.get(key)
        statement = self._queries.update(list(given))
        return self._found(await self._update_one(statement, key, given))

    async def _ensure(self, new: C) -> tuple[R, bool]:
        """The row of that key, and whether it was inserted; of many callers at once by one."""
        statement = self._queries.insert(type(new), if_absent=True)
        key = self._key.of(self._key_of(new))
        while True:  # again only when the row is deleted between the two statements
            row = await self._one(statement.sql, *self._stored(statement, new))
            if row is not None:
                return row, True
            row = await self.find(key)
            if row is not None:
                return row, False

    def _stored(self, statement: Statement, new: C) -> list[Any]:
        return statement.args(self._shape.encoded(vars(new)))

    def _key_of(self, new: C) -> tuple[Any, ...]:
        return tuple(getattr(new, name) for name in self._key.names)


class DeletingRepository(Repository[R, K, C, U]):
    """A repository whose rows may be deleted one by one."""

    async def delete(self, key: K) -> bool:
        """Delete the row, and what the schema says goes with it; whether it was there.

        Raises:
            StillReferenced: other rows point to it.
        """
        parts = self._key.parts(key)
        if parts is None:
            return False
        return await self.engine.execute(self._queries.delete().sql, *parts) == "DELETE 1"
