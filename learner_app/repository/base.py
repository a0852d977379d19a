"""Base classes of the repositories."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, get_args

from piccolo.columns import ForeignKey
from piccolo.table import Table

from learner_app.errors import Conflict
from learner_app.repository.batches import MAX_BATCH
from learner_app.repository.bulk import (
    CHANGE_PREFIX,
    DEFAULT_BATCH,
    BatchStatement,
    delete_batch,
    run_batches,
    update_batch,
)
from learner_app.repository.conflict_targets import ConflictTarget, find_target
from learner_app.repository.inputs import (
    Input,
    invalid_field,
    require_instance,
    require_list,
    validate,
)
from learner_app.repository.paging import Order, check_limit
from learner_app.repository.read_only import K, Lock, R, ReadOnlyRepository
from learner_app.repository.rows import StoredRow
from learner_app.repository.sql import Statement
from learner_app.repository.upsert import find_conflicting, insert_if_absent, insert_or_update
from learner_app.repository.values import STRICT_BOOL

__all__ = ["DeletingRepository", "KeyedRepository", "Lock", "ReadOnlyRepository", "Repository"]

C = TypeVar("C", bound=Input)
U = TypeVar("U", bound=Input)

MAX_ROUNDS = 10
"""Attempts of an insert-or-find, each of which fails only if the row was deleted in between."""


class KeyedRepository(ReadOnlyRepository[R, K], Generic[R, K, C, U]):
    """Base class of a repository that writes rows by their key only.

    The type parameters are the row, the key, and the inputs of add and update. Tables whose rows
    change under a protocol of their own, such as claimed jobs, inherit from this class. All others
    inherit from :class:`Repository` or :class:`DeletingRepository`.
    """

    create_type: type[C]
    update_type: type[U]
    _references: ClassVar[builtins.list[ForeignKey[Any]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in vars(cls).get("__orig_bases__", ()):
            parameters = get_args(base)
            if len(parameters) == len(("R", "K", "C", "U")) and "table" in vars(cls):
                *_, cls.create_type, cls.update_type = parameters
                cls._references = references(cls.table)

    async def add(self, new: C) -> R:
        """Insert a row and return it.

        Raises:
            Conflict: another row has the same key, or the same value of a unique field.
            MissingReference: a row that it refers to does not exist.
        """
        statement = self.statements.insert(self.create_type)
        return self.require_row(await self.fetch_row(statement, *self._insert_args(statement, new)))

    async def add_many(self, new: Sequence[C]) -> builtins.list[R]:
        """Insert all rows or none, and return them in the given order.

        Raises:
            Conflict, MissingReference: as for :meth:`add`.
        """
        if not require_list(new, "new", self.table):
            return []
        statement = self.statements.insert(self.create_type)
        args_in_order = [self._insert_args(statement, one) for one in new]
        # Inserts run in key order: two calls with the same keys in another order would each wait
        # for a row that the other one has inserted, a deadlock.
        places = sorted(range(len(new)), key=lambda place: self._key_values(new[place]))
        args = [args_in_order[place] for place in places]
        async with self.joined_transaction():
            await self._lock_references(new)
            records = await statement.fetchmany(self.engine, args)
        rows = dict(zip(places, map(self.mapper.to_row, records), strict=True))
        return [rows[place] for place in range(len(new))]

    async def update(self, key: K, changes: U) -> R:
        """Change the fields that were passed and return the row.

        Without any field nothing is written.

        Raises:
            NotFound: the row does not exist.
        """
        if not (fields := self.changed_fields(changes)):
            return await self.get(key)
        return self.require_row(await self.update_row(key, fields))

    # Extension points, as in ReadOnlyRepository.

    async def get_or_add(self, new: C, on: str | Sequence[str] | None = None) -> StoredRow[R]:
        """Insert a row, or return the existing one with the same key.

        Of concurrent calls one inserts the row.

        Args:
            new: the row to insert.
            on: fields of a declared unique constraint to compare; the key if omitted.
        """
        return await self._get_or_add(new, self._find_target(on))

    def changed_fields(self, changes: U) -> dict[str, Any]:
        """Return the fields that were passed.

        Raises:
            InvalidValue: ``changes`` is of another class.
        """
        return require_instance(self.update_type, changes, "changes", self.table).set_fields()

    def invisible_conflict(self) -> Conflict:
        """Return the error for a conflicting row that the transaction cannot see."""
        message = "a row that this transaction cannot see has the same key"
        return self.error(Conflict, message, *self.key.names)

    async def _get_or_add(self, new: C, target: ConflictTarget) -> StoredRow[R]:
        insert = insert_if_absent(self.statements, self.create_type, target)
        args = self._insert_args(insert, new)
        values = {name: getattr(new, name) for name in target.names}
        find = find_conflicting(self.statements, target, values)
        for _ in range(MAX_ROUNDS):
            row = await self.fetch_row(insert, *args, idempotent=True)
            if row is not None:
                return StoredRow(row, created=True)
            row = await self.fetch_row(find, *find.args(values))
            if row is not None:
                return StoredRow(row, created=False)
        raise self.invisible_conflict()

    def _find_target(self, on: str | Sequence[str] | None) -> ConflictTarget:
        target = find_target(self.table, on)
        for name in target.names:
            if name not in self.create_type.model_fields:
                reason = f"{name} is not a field of {self.create_type.__name__}"
                raise invalid_field(self.table, "on", reason)
        return target

    async def _lock_references(self, new: Sequence[C]) -> None:
        """Lock the rows that new rows refer to, table by table and in key order.

        The foreign keys would lock them in the order of the new rows, which alternates between
        tables: two such calls, or one and a delete, could deadlock.
        """
        for column in self._references if len(new) > 1 else ():
            keys = {getattr(one, column._meta.name, None) for one in new} - {None}
            await self.fetch_records(self.statements.lock_referenced(column), [*keys])

    def _insert_args(self, statement: Statement, new: C) -> builtins.list[Any]:
        valid = require_instance(self.create_type, new, "new", self.table)
        return statement.args(self.mapper.to_params(vars(valid)))

    def _key_values(self, new: C) -> tuple[Any, ...]:
        return tuple(getattr(new, name) for name in self.key.names)


class Repository(KeyedRepository[R, K, C, U]):
    """Base class of a repository: ``class ContentRepository(Repository[Content, str, ...])``.

    The type parameters are the row, the key, and the inputs of add and update. Rows are added and
    changed by any caller, but not deleted.
    """

    if TYPE_CHECKING:

        async def update_where(self, changes: U, *args: Any, **kwargs: Any) -> int: ...

    else:

        async def update_where(
            self,
            changes: U,
            *,
            all_rows: bool = False,
            batch: int = DEFAULT_BATCH,
            **filters: Any,
        ) -> int:
            """Change all rows that match the filters and return how many, in batches.

            Outside a transaction each batch is a transaction of its own: after an error the batches
            before it stay changed, and the same call continues. Rows are locked in the order of
            their keys; a locked row is waited for. Without a changed field nothing is written.

            Args:
                changes: the fields to change.
                all_rows: True changes all rows of the table, and allows no filter.
                batch: maximum number of rows of a batch, up to 10,000.
                filters: each narrows the selection.

            Raises:
                InvalidValue: no filter was passed, and not ``all_rows=True``.
            """
            fields = self.changed_fields(changes)
            values = check_selection(self, filters, all_rows, batch, "update_where")
            if values is None or not fields:
                return 0
            params = self.mapper.to_params(fields)
            params = {CHANGE_PREFIX + name: value for name, value in params.items()}
            statement = partial(
                update_batch, self.statements, self.filters, [*values], [*fields], batch
            )
            return await run_in_batches(self, statement, values | params, batch)

    async def upsert(self, new: C, *, on: str | Sequence[str] | None = None) -> StoredRow[R]:
        """Insert a row, or update the one with the same key or other unique fields.

        An update sets the fields that were passed and that :meth:`update` can change, and no
        others. Without such a field the existing row is returned unchanged. Of concurrent calls
        one inserts the row and the others update it.

        Args:
            new: the row.
            on: one or several fields, with a declared primary key, ``Unique`` or unique ``Index``
                on exactly these; the key if omitted.

        Raises:
            InvalidValue: no unique constraint on the fields of ``on`` is declared.
            Conflict: the row conflicts with another one on another unique constraint.
            MissingReference: a row that it refers to does not exist.
        """
        target = self._find_target(on)
        passed = require_instance(self.create_type, new, "new", self.table).model_fields_set
        fixed = {*target.names, *self.key.names}
        names = [name for name in self.update_type.model_fields if name in passed - fixed]
        if not names:
            return await self._get_or_add(new, target)
        statement = insert_or_update(self.statements, self.create_type, target, names)
        record = await statement.fetchrow(self.engine, *self._insert_args(statement, new))
        if record is None:
            raise self.invisible_conflict()
        *columns, created = record
        return StoredRow(self.mapper.to_row(columns), created)


class DeletingRepository(Repository[R, K, C, U]):
    """Base class of a repository whose rows may also be deleted."""

    async def delete(self, key: K) -> bool:
        """Delete a row, and the rows that the schema deletes with it.

        Returns:
            True if the row existed.

        Raises:
            StillReferenced: other rows refer to it.
        """
        params = self.key.params(key)
        return params is not None and await self.execute(self.statements.delete(), *params) == 1

    if TYPE_CHECKING:

        async def delete_where(self, *args: Any, **kwargs: Any) -> int: ...

    else:

        async def delete_where(
            self, *, all_rows: bool = False, batch: int = DEFAULT_BATCH, **filters: Any
        ) -> int:
            """Delete all rows that match the filters and return how many, in batches.

            Transactions, locks and arguments are those of :meth:`update_where`.

            Raises:
                InvalidValue: no filter was passed, and not ``all_rows=True``.
                StillReferenced: other rows refer to one of the rows.
            """
            values = check_selection(self, filters, all_rows, batch, "delete_where")
            if values is None:
                return 0
            statement = partial(delete_batch, self.statements, self.filters, [*values], batch)
            return await run_in_batches(self, statement, values, batch)


def check_selection(
    repository: ReadOnlyRepository[Any, Any],
    filters: Mapping[str, Any],
    all_rows: bool,
    batch: int,
    operation: str,
) -> dict[str, Any] | None:
    """Return the values of the filters of a bulk operation, None if no row can match.

    Raises:
        InvalidValue: there must be filters or ``all_rows=True``, and not both.
    """
    table = repository.table
    check_limit(batch, table, MAX_BATCH, "batch")
    if validate(STRICT_BOOL, all_rows, "all_rows", table) == bool(filters):
        reason = f"{operation}() needs filters, or all_rows=True without filters"
        raise invalid_field(table, "all_rows", reason)
    return repository.filters.validate(filters)


async def run_in_batches(
    repository: ReadOnlyRepository[Any, Any],
    statement: BatchStatement,
    values: Mapping[str, Any],
    batch: int,
) -> int:
    """Run the statements of a bulk operation in the order of the keys."""
    order = Order(*repository.key.columns)
    return await run_batches(repository.engine, statement, values, order, batch)


def references(table: type[Table]) -> list[ForeignKey[Any]]:
    """Return the foreign keys of a table to several others, in the order in which these are locked.

    A single foreign key needs no such order.
    """
    columns = {
        column._foreign_key_meta.resolved_references._meta.tablename: column
        for column in table._meta.foreign_key_columns
    }
    return [columns[name] for name in sorted(columns)] if len(columns) > 1 else []
