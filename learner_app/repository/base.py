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
from learner_app.repository.paging import check_limit
from learner_app.repository.read_only import K, Lock, R, ReadOnlyRepository
from learner_app.repository.rows import StoredRow
from learner_app.repository.sql import Statement
from learner_app.repository.upsert import find_conflicting, insert_if_absent, insert_or_update
from learner_app.repository.values import STRICT_BOOL

__all__ = ["DeletingRepository", "KeyedRepository", "Lock", "ReadOnlyRepository", "Repository"]

C = TypeVar("C", bound=Input)
U = TypeVar("U", bound=Input)

MAX_ROUNDS = 10
"""Attempts to insert or find a row; one fails only if the row is deleted between the two."""


class KeyedRepository(ReadOnlyRepository[R, K], Generic[R, K, C, U]):
    """Base class of repositories that change rows by their key only.

    The type parameters are the row, the key, and the inputs of add and update. It suits tables
    whose rows must not be changed by filters, such as jobs that workers have claimed. Repositories
    of all other tables inherit from :class:`Repository` or :class:`DeletingRepository`.
    """

    create_type: type[C]
    update_type: type[U]
    _locked_references: ClassVar[builtins.list[builtins.list[ForeignKey[Any]]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in vars(cls).get("__orig_bases__", ()):
            parameters = get_args(base)
            if len(parameters) == len(("R", "K", "C", "U")) and "table" in vars(cls):
                *_, cls.create_type, cls.update_type = parameters
                cls._locked_references = locked_references(cls.table)

    async def add(self, new: C) -> R:
        """Insert a row and return it.

        Raises:
            Conflict: another row has the same key, or the same value of a unique field.
            MissingReference: a row that a foreign key refers to does not exist.
        """
        statement = self.statements.insert(self.create_type, self.statements.computed([new]))
        return self.require_row(await self.fetch_row(statement, *self._insert_args(statement, new)))

    async def add_many(self, new: Sequence[C]) -> builtins.list[R]:
        """Insert all rows or none, and return them in the given order.

        Raises:
            Conflict, MissingReference: as for :meth:`add`.
        """
        if not require_list(new, "new", self.table):
            return []
        statement = self.statements.insert(self.create_type, self.statements.computed(new))
        args_in_order = [self._insert_args(statement, one) for one in new]
        # Inserts run in key order. Otherwise two calls with the same keys in different orders could
        # each wait for a row that the other call has inserted: a deadlock.
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

    async def get_or_create_row(
        self, new: C, on: str | Sequence[str] | None = None
    ) -> StoredRow[R]:
        """Insert a row, or return the existing one with the same key.

        Exactly one of several concurrent calls inserts the row.

        Args:
            new: the row to insert.
            on: one or several fields, as for :meth:`Repository.upsert`; the key if omitted.
        """
        return await self._get_or_create(new, self._find_target(on))

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

    async def _get_or_create(self, new: C, target: ConflictTarget) -> StoredRow[R]:
        computed = self.statements.computed([new])
        insert = insert_if_absent(self.statements, self.create_type, target, computed)
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

        Otherwise the check of the foreign keys would lock them in the order of the new rows,
        alternating between tables. Two such calls, or one and a delete, could deadlock.
        """
        for columns in self._locked_references if len(new) > 1 else ():
            names = [column._meta.name for column in columns]
            keys = {getattr(one, name, None) for one in new for name in names} - {None}
            await self.fetch_records(self.statements.lock_referenced(columns[0]), [*keys])

    def _insert_args(self, statement: Statement, new: C) -> builtins.list[Any]:
        valid = require_instance(self.create_type, new, "new", self.table)
        return statement.args(self.mapper.to_params(vars(valid)))

    def _key_values(self, new: C) -> tuple[Any, ...]:
        return tuple(getattr(new, name) for name in self.key.names)


class Repository(KeyedRepository[R, K, C, U]):
    """Base class of repositories that also change rows by filters, but do not delete rows.

    The type parameters are the row, the key, and the inputs of add and update:
    ``class ContentRepository(Repository[Content, str, ContentCreate, ContentUpdate])``.
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

            Outside a transaction, each batch is a transaction of its own: after an error, the
            batches before it remain committed. Repeating the call begins with the first row that
            still matches. Rows are locked in the order of their keys, waiting for rows that other
            transactions have locked. Without any field nothing is written.

            Args:
                changes: the fields to change.
                all_rows: True changes all rows of the table, and allows no filter.
                batch: maximum number of rows of a batch, up to 10,000.
                filters: each narrows the selection.

            Raises:
                InvalidValue: neither a filter nor ``all_rows=True`` was passed, or both were.
            """
            fields = self.changed_fields(changes)
            values = check_selection(self, filters, all_rows, batch, "update_where")
            if values is None or not fields:
                return 0
            params = self.mapper.to_params(fields)
            params = {CHANGE_PREFIX + name: value for name, value in params.items()}
            make_statement = partial(
                update_batch, self.statements, self.filters, [*values], [*fields], batch
            )
            return await run_batches(
                self.engine, make_statement, values | params, self.key.columns, batch
            )

    async def upsert(self, new: C, *, on: str | Sequence[str] | None = None) -> StoredRow[R]:
        """Insert a row, or update the existing row with the same key or other unique fields.

        An update sets the fields that were passed and that :meth:`update` can change, and no
        others. Without such a field the existing row is returned unchanged. Exactly one of several
        concurrent calls inserts the row, and the others update it.

        Args:
            new: the row.
            on: one or several fields; the table must declare a primary key, ``Unique`` or unique
                ``Index`` on exactly these. The key if omitted.

        Raises:
            InvalidValue: the table declares no unique constraint on exactly the fields of ``on``.
            Conflict: the row violates another unique constraint.
            MissingReference: a row that a foreign key refers to does not exist.
        """
        target = self._find_target(on)
        passed = require_instance(self.create_type, new, "new", self.table).model_fields_set
        fixed = {*target.names, *self.key.names}
        names = [name for name in self.update_type.model_fields if name in passed - fixed]
        if not names:
            return await self._get_or_create(new, target)
        computed = self.statements.computed([new])
        statement = insert_or_update(self.statements, self.create_type, target, names, computed)
        record = await statement.fetchrow(self.engine, *self._insert_args(statement, new))
        if record is None:
            raise self.invisible_conflict()
        *columns, created = record
        return StoredRow(self.mapper.to_row(columns), created)


class DeletingRepository(Repository[R, K, C, U]):
    """Base class of repositories that also delete rows."""

    async def delete(self, key: K) -> bool:
        """Delete a row, and the rows that refer to it with ON DELETE CASCADE.

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
                InvalidValue: neither a filter nor ``all_rows=True`` was passed, or both were.
                StillReferenced: other rows refer to one of the rows.
            """
            values = check_selection(self, filters, all_rows, batch, "delete_where")
            if values is None:
                return 0
            make_statement = partial(delete_batch, self.statements, self.filters, [*values], batch)
            return await run_batches(self.engine, make_statement, values, self.key.columns, batch)


def check_selection(
    repository: ReadOnlyRepository[Any, Any],
    filters: Mapping[str, Any],
    all_rows: bool,
    batch: int,
    operation: str,
) -> dict[str, Any] | None:
    """Return the values of the filters of a bulk operation, None if no row can match.

    Raises:
        InvalidValue: neither a filter nor ``all_rows=True`` was passed, or both were.
    """
    table = repository.table
    check_limit(batch, table, MAX_BATCH, "batch")
    if validate(STRICT_BOOL, all_rows, "all_rows", table) == bool(filters):
        reason = f"{operation}() needs filters, or all_rows=True without filters"
        raise invalid_field(table, "all_rows", reason)
    return repository.filters.validate(filters)


def locked_references(table: type[Table]) -> list[list[ForeignKey[Any]]]:
    """Return the foreign keys whose referenced rows ``add_many`` locks, by referenced table.

    There are none if the table refers to a single other table: the order of locks alternates
    between tables only if there are several.
    """
    columns: dict[str, list[ForeignKey[Any]]] = {}
    for column in table._meta.foreign_key_columns:
        target = column._foreign_key_meta.resolved_references._meta.tablename
        columns.setdefault(target, []).append(column)
    return [columns[target] for target in sorted(columns)] if len(columns) > 1 else []
