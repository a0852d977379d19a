"""The repository of what the adaptive model has learned."""

from collections.abc import AsyncGenerator, Callable
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from math import isclose
from typing import Any, Unpack

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
from learner_app.learner.timestamps import STORED_AT_ONCE, later
from learner_app.repository.base import DeletingRepository
from learner_app.repository.filters import Filters, at_least, before
from learner_app.repository.inputs import invalid_field, validate
from learner_app.repository.paging import DEFAULT_LIMIT, Order, Page, Total
from learner_app.repository.rows import is_same_json
from learner_app.repository.sql import Param
from learner_app.repository.values import UTC_DATETIME

SCALES = {
    column._meta.name: column.scale
    for column in LearnerModelStateTable._meta.columns
    if isinstance(column, Numeric)
}
LEARNED = tuple(LearnerModelStateUpdate.model_fields)
KEPT = tuple(name for name in LearnerModelState.__struct_fields__ if name not in LEARNED)

BLANK = LearnerModelStateCreate(session_id="nobody's")
FORGOTTEN = LearnerModelStateUpdate.model_validate({name: getattr(BLANK, name) for name in LEARNED})

LEARNS: dict[Column, QueryString] = {
    LearnerModelStateTable.last_updated: later(LearnerModelStateTable.last_updated)
}
EXPECTED = Param("expected")
IS_EXPECTED = LearnerModelStateTable.last_updated == EXPECTED
LONGEST_AGO = Order(LearnerModelStateTable.last_updated, LearnerModelStateTable.session_id)


class LearnerModelStateRepository(
    DeletingRepository[LearnerModelState, str, LearnerModelStateCreate, LearnerModelStateUpdate]
):
    """The state of the adaptive model, one for each listening session.

    Every write moves ``last_updated``, which therefore tells two versions of a state apart.
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
    stored_as = STORED_AT_ONCE
    on_update = LEARNS

    async def count(self, **filters: Unpack[LearnerModelStateFilters]) -> int:
        """How many states the filters let through."""
        return await self.count_rows(filters)

    async def page(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        after: str | None = None,
        total: Total | None = None,
        **filters: Unpack[LearnerModelStateFilters],
    ) -> Page[LearnerModelState]:
        """A page by session."""
        return await self.page_rows(filters, limit, after, total)

    def stream(
        self, **filters: Unpack[LearnerModelStateFilters]
    ) -> AsyncGenerator[LearnerModelState, None]:
        """All of them by session, in constant memory."""
        return self.stream_rows(filters)

    async def get_or_default(self, session_id: str) -> LearnerModelState:
        """The state, or the one to begin with where none is stored; writes nothing."""
        return await self.find(session_id) or _blank(session_id)

    async def initialise(self, session_id: str) -> LearnerModelState:
        """The state, stored now where there was none; of many calls at once by one of them.

        Raises:
            MissingReference: there is no such session.
            InvalidValue: the id cannot be one.
        """
        row, _ = await self.get_or_add(LearnerModelStateCreate(session_id=session_id))
        return row

    async def fold(
        self, session_id: str, fn: Callable[[LearnerModelState], LearnerModelState]
    ) -> LearnerModelState:
        """Learn: store what ``fn`` makes of the state, while nobody else can change it.

        If ``fn`` changes nothing, nothing is written.

        Args:
            session_id: the session; its state is created if there was none.
            fn: returns a changed copy, by ``msgspec.structs.replace(state, data_points=...)``.
                Called under the row's lock, so it should be quick. If it raises, nothing changes.

        Returns:
            The stored state; NUMERIC fields are rounded to hundredths.

        Raises:
            InvalidValue: a value is out of range, a field changed that is not learned, or a change
                of a NUMERIC field is so small that rounding undoes it: such steps would be lost at
                every call. Accumulate them in ``content_type_preferences``, which is exact.
                Nothing changed.
            MissingReference: there is no such session.
            SerializationFailure: in a ``repeatable read`` transaction that began before somebody
                else's change.
        """
        if not callable(fn):
            raise invalid_field(self.table, "fn", "must be a function")
        async with self.engine.transaction():
            old = await self._locked(LearnerModelStateCreate(session_id=session_id))
            learned = self._learned(old, fn(deepcopy(old))).set_fields()  # fn may change its dicts
            if all(is_same_json(value, getattr(old, name)) for name, value in learned.items()):
                return old
            return self.require_row(await self.update_row(old.session_id, learned))

    async def update(
        self, key: str, changes: LearnerModelStateUpdate, *, expect: datetime | None = None
    ) -> LearnerModelState:
        """Change the fields that were given and no others; without any, the row is as it was.

        Args:
            key: the session.
            changes: the fields.
            expect: the ``last_updated`` that the caller knows.

        Raises:
            NotFound: there is no state of that session.
            StaleVersion: somebody else was faster, ``last_updated`` is no longer the expected.
        """
        given = self.changed_fields(changes)
        if expect is not None:
            moment = validate(UTC_DATETIME, expect, "expect", self.table)
            return await self._update_expected(key, given, moment)
        if not given:
            return await self.get(key)
        return self.require_row(await self.update_row(key, given))

    async def reset(self, session_id: str) -> LearnerModelState:
        """Forget what was learned.

        Raises:
            NotFound: there is no state of that session.
        """
        return await self.update(session_id, FORGOTTEN)

    async def list_stale(
        self, before: datetime, *, limit: int = DEFAULT_LIMIT
    ) -> list[LearnerModelState]:
        """States that have not learned since then, the longest ago first."""
        moment = validate(UTC_DATETIME, before, "before", self.table)
        return await self.list_rows({"learned_until": moment}, limit, LONGEST_AGO)

    async def _locked(self, new: LearnerModelStateCreate) -> LearnerModelState:
        """The row, which nobody else can change until the transaction ends."""
        while True:  # again only when another task creates it, or deletes it, at the same time
            row = await self.find(new.session_id, lock="no key update")
            if row is not None:
                return row
            row, is_new = await self.get_or_add(new)
            if is_new:  # and unseen by others until then
                return row

    def _learned(self, old: LearnerModelState, new: LearnerModelState) -> LearnerModelStateUpdate:
        if not isinstance(new, LearnerModelState):
            raise invalid_field(self.table, "fn", "must return a LearnerModelState")
        for name in KEPT:
            if getattr(new, name) != getattr(old, name):
                raise invalid_field(self.table, name, "is not a field that can be set")
        learned = LearnerModelStateUpdate.model_validate(
            {name: getattr(new, name) for name in LEARNED}
        )
        for name, scale in SCALES.items():
            known = getattr(old, name)
            if getattr(learned, name) == known and _differs(getattr(new, name), known):
                says = f"the change is lost by rounding to {scale} decimal places"
                raise invalid_field(self.table, name, says)
        return learned

    async def _update_expected(
        self, key: str, given: dict[str, Any], expect: datetime
    ) -> LearnerModelState:
        if given:
            changed = await self.update_row(key, given, IS_EXPECTED, **{EXPECTED: expect})
            if changed is not None:
                return changed
        known = await self.get(key)
        if given or known.last_updated != expect:
            raise self.error(StaleVersion, "it has learned since", "last_updated")
        return known


def _differs(new: Decimal | float, old: Decimal) -> bool:
    """Return whether a value was changed, by more than the error of float arithmetic."""
    return not isclose(new, old, rel_tol=1e-9) if isinstance(new, float) else new != old


def _blank(session_id: str) -> LearnerModelState:
    now = datetime.now(UTC)
    beginning = FORGOTTEN.model_copy(
        deep=True
    ).set_fields()  # rows hold dicts, which are the caller's
    return LearnerModelState(
        session_id=session_id, **beginning, last_updated=now, created_at=now, updated_at=now
    )
