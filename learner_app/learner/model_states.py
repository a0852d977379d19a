"""Repository of the states of the adaptive model."""

import builtins
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from math import isclose
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Unpack, overload

import msgspec
from piccolo.columns import Column, Numeric
from piccolo.querystring import QueryString

from learner_app.errors import StaleVersion
from learner_app.learner.rows import (
    LearnerModelState,
    LearnerModelStateCreate,
    LearnerModelStateFilters,
    LearnerModelStateUpdate,
)
from learner_app.learner.tables import LearnerModelStateTable
from learner_app.learner.timestamps import INSERT_EXPRESSIONS, strictly_after
from learner_app.repository.base import DeletingRepository
from learner_app.repository.filters import Filters, at_least, before
from learner_app.repository.inputs import invalid_field, validate
from learner_app.repository.json_values import copied_json, is_same_json
from learner_app.repository.paging import DEFAULT_LIMIT, Order, Page, Total
from learner_app.repository.rows import StoredRow
from learner_app.repository.sql import Param
from learner_app.repository.values import UTC_DATETIME

LEARNED = tuple(LearnerModelStateUpdate.model_fields)
"""Fields that the adaptive model learns, and that ``fold`` and ``reset`` write."""

READ_ONLY = tuple(name for name in LearnerModelState.__struct_fields__ if name not in LEARNED)

SCALES = {
    column._meta.name: column.scale
    for column in LearnerModelStateTable._meta.columns
    if isinstance(column, Numeric)
}
"""Number of decimal places of each NUMERIC column."""

EXPECTED = Param("expected")
IS_EXPECTED = LearnerModelStateTable.last_updated == EXPECTED


def _defaults() -> dict[str, Any]:
    """Return the learned fields of an untrained model, in new dicts."""
    fields = LearnerModelStateCreate.model_fields
    return {name: fields[name].get_default(call_default_factory=True) for name in LEARNED}


UNTRAINED = LearnerModelStateUpdate.model_validate(_defaults())


class LearnerModelStateRepository(
    DeletingRepository[LearnerModelState, str, LearnerModelStateCreate, LearnerModelStateUpdate]
):
    """Repository of the states of the adaptive model, one per listening session.

    Every write changes ``last_updated``, which serves as the version of a state.
    """

    table = LearnerModelStateTable
    row = LearnerModelState
    filters = Filters(
        LearnerModelStateTable,
        LearnerModelStateFilters,
        {
            "learned_since": at_least(LearnerModelStateTable.last_updated),
            "learned_until": before(LearnerModelStateTable.last_updated),
            "min_data_points": at_least(LearnerModelStateTable.data_points),
        },
    )
    orders = {  # noqa: RUF012  # typed in the base class
        "key": Order(LearnerModelStateTable.session_id),
        "least_recently_updated": Order(
            LearnerModelStateTable.last_updated, LearnerModelStateTable.session_id
        ),
    }
    stored_as = INSERT_EXPRESSIONS
    on_update: ClassVar[Mapping[Column, QueryString]] = {
        LearnerModelStateTable.last_updated: strictly_after(LearnerModelStateTable.last_updated)
    }

    # typed methods: written by `python -m learner_app.repository.typed_methods`
    if TYPE_CHECKING:

        async def list(
            self,
            *,
            limit: int = 100,
            order: Literal["key", "least_recently_updated"] = "key",
            **filters: Unpack[LearnerModelStateFilters],
        ) -> builtins.list[LearnerModelState]: ...

        async def page(
            self,
            *,
            limit: int = 100,
            after: str | None = None,
            total: Total | None = None,
            order: Literal["key", "least_recently_updated"] = "key",
            **filters: Unpack[LearnerModelStateFilters],
        ) -> Page[LearnerModelState]: ...

        def stream(
            self,
            *,
            order: Literal["key", "least_recently_updated"] = "key",
            **filters: Unpack[LearnerModelStateFilters],
        ) -> AsyncGenerator[LearnerModelState, None]: ...

        async def count(self, **filters: Unpack[LearnerModelStateFilters]) -> int: ...

        @overload
        async def exists(self, key: str) -> bool: ...

        @overload
        async def exists(self, **filters: Unpack[LearnerModelStateFilters]) -> bool: ...

        async def exists(self, *args: Any, **kwargs: Any) -> bool: ...

        async def update_where(
            self,
            changes: LearnerModelStateUpdate,
            *,
            all_rows: bool = False,
            batch: int = 1000,
            **filters: Unpack[LearnerModelStateFilters],
        ) -> int: ...

        async def delete_where(
            self,
            *,
            all_rows: bool = False,
            batch: int = 1000,
            **filters: Unpack[LearnerModelStateFilters],
        ) -> int: ...
    # end of typed methods

    async def get_or_default(self, session_id: str) -> LearnerModelState:
        """Return the stored state, or that of an untrained model, which is not stored."""
        return await self.find(session_id) or _untrained_state(session_id)

    async def get_or_create(self, session_id: str) -> StoredRow[LearnerModelState]:
        """Return the state of a session, created by this call if it does not exist.

        Exactly one of several concurrent callers creates it.

        Raises:
            MissingReference: the session does not exist.
            InvalidValue: the id is malformed.
        """
        return await self.get_or_create_row(LearnerModelStateCreate(session_id=session_id))

    async def fold(
        self, session_id: str, fn: Callable[[LearnerModelState], LearnerModelState]
    ) -> LearnerModelState:
        """Replace the learned fields by the result of a function, under a row lock.

        Nothing is written if ``fn`` changes nothing.

        Args:
            session_id: the session, whose state is created if it does not exist.
            fn: function that returns a changed copy of the state, for instance
                ``msgspec.structs.replace(state, data_points=...)``. It runs while the row is
                locked, so it should be fast. If it raises, nothing is changed.

        Returns:
            The stored state. NUMERIC fields are rounded to hundredths.

        Raises:
            InvalidValue: a value is out of range, a read-only field was changed, or the change of a
                NUMERIC field is so small that rounding removes it: repeated small changes would
                have no effect. Accumulate them in ``content_type_preferences``, which stores every
                digit. Nothing is changed.
            MissingReference: the session does not exist.
            SerializationFailure: the transaction is ``repeatable read`` and began before another
                transaction changed the state.
        """
        if not callable(fn):
            raise invalid_field(self.table, "fn", "must be a function")
        async with self.engine.transaction():
            old = await self._lock_or_create(LearnerModelStateCreate(session_id=session_id))
            new = fn(_copy(old))  # a copy, since the function may change the dicts of its row
            learned = self._validate_learned(old, new).set_fields()
            if all(is_same_json(value, getattr(old, name)) for name, value in learned.items()):
                return old
            return self.require_row(await self.update_row(old.session_id, learned))

    async def update(
        self, key: str, changes: LearnerModelStateUpdate, *, expect: datetime | None = None
    ) -> LearnerModelState:
        """Change the passed fields and return the row. Without any field nothing is written.

        Args:
            key: the session.
            changes: the fields to change.
            expect: the ``last_updated`` that the caller has read.

        Raises:
            NotFound: the session has no state.
            StaleVersion: ``last_updated`` is not the expected one.
        """
        fields = self.changed_fields(changes)
        if expect is not None:
            time = validate(UTC_DATETIME, expect, "expect", self.table)
            return await self._update_expected(key, fields, time)
        if not fields:
            return await self.get(key)
        return self.require_row(await self.update_row(key, fields))

    async def reset(self, session_id: str) -> LearnerModelState:
        """Set the learned fields to those of an untrained model.

        Raises:
            NotFound: the session has no state.
        """
        return await self.update(session_id, UNTRAINED)

    async def list_stale(
        self, before: datetime, *, limit: int = DEFAULT_LIMIT
    ) -> builtins.list[LearnerModelState]:
        """Return the states whose last write is before a time, least recently updated first."""
        time = validate(UTC_DATETIME, before, "before", self.table)
        filters: LearnerModelStateFilters = {"learned_until": time}
        order = "least_recently_updated"
        return await self.list_rows(filters, limit, order, operation="list_stale")

    async def _lock_or_create(self, new: LearnerModelStateCreate) -> LearnerModelState:
        """Return the row, which no other transaction can change until this one ends."""
        # It repeats only if another transaction inserts or deletes the row between the statements.
        while True:
            row = await self.find(new.session_id, lock="no key update")
            if row is not None:
                return row
            row, created = await self.get_or_create_row(new)
            if created:  # no other transaction sees an uncommitted row, so it needs no lock
                return row

    def _validate_learned(
        self, old: LearnerModelState, new: LearnerModelState
    ) -> LearnerModelStateUpdate:
        """Return the learned fields of a state that ``fn`` made from the old one.

        Raises:
            InvalidValue: as for :meth:`fold`.
        """
        if not isinstance(new, LearnerModelState):
            raise invalid_field(self.table, "fn", "must return a LearnerModelState")
        for name in READ_ONLY:
            if getattr(new, name) != getattr(old, name):
                raise invalid_field(self.table, name, "must not be changed by fn")
        learned = LearnerModelStateUpdate.model_validate(
            {name: getattr(new, name) for name in LEARNED}
        )
        for name, scale in SCALES.items():
            stored = getattr(old, name)
            if getattr(learned, name) == stored and _differs(getattr(new, name), stored):
                reason = (
                    f"the change is lost by rounding to {scale} decimal places: accumulate small "
                    "changes in content_type_preferences"
                )
                raise invalid_field(self.table, name, reason)
        return learned

    async def _update_expected(
        self, key: str, fields: dict[str, Any], expect: datetime
    ) -> LearnerModelState:
        if fields:
            changed = await self.update_row(key, fields, IS_EXPECTED, **{EXPECTED: expect})
            if changed is not None:
                return changed
        stored = await self.get(key)
        if fields or stored.last_updated != expect:
            message = "the state was changed after the expected last_updated: read the row again"
            raise self.error(StaleVersion, message, "last_updated")
        return stored


def _copy(state: LearnerModelState) -> LearnerModelState:
    return msgspec.structs.replace(
        state,
        preference_weights=copied_json(state.preference_weights),
        content_type_preferences=copied_json(state.content_type_preferences),
    )


def _differs(new: Decimal | float, old: Decimal) -> bool:
    """Return True if two values differ by more than the rounding error of floats."""
    return not isclose(new, old, rel_tol=1e-9) if isinstance(new, float) else new != old


def _untrained_state(session_id: str) -> LearnerModelState:
    now = datetime.now(UTC)
    return LearnerModelState(
        session_id=session_id, **_defaults(), last_updated=now, created_at=now, updated_at=now
    )
