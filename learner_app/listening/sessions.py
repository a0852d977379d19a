"""The repository of listening sessions."""

from collections.abc import AsyncGenerator
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Unpack

from pydantic import AfterValidator, Field, TypeAdapter

from learner_app.listening.clock import LATEST, TOO_LATE
from learner_app.listening.playlist import PlaylistRepository
from learner_app.listening.rows import (
    Ensured,
    ListeningSession,
    ListeningSessionCreate,
    ListeningSessionFilters,
)
from learner_app.listening.tables import ListeningSessionTable
from learner_app.repository.batches import affected_rows, lock_oldest_keys_sql
from learner_app.repository.inputs import invalid_field, validate
from learner_app.repository.paging import DEFAULT_LIMIT, Order, Page, Total
from learner_app.repository.sql import NOW, SqlNames
from learner_app.repository.values import NUMBER, UTC_DATETIME

LONGEST_TIME = 2**31 - 1


def _whole(seconds: Decimal) -> Decimal:
    if seconds != int(seconds):
        raise ValueError("must be a whole number of seconds")
    return seconds


WHOLE_SECONDS = TypeAdapter(
    Annotated[Decimal, Field(ge=0, le=1800), NUMBER, AfterValidator(_whole)]
)

s = SqlNames(ListeningSessionTable)
bare = s.unqualified
ROW = s.fields(ListeningSession)
TOUCH = f"""
UPDATE {s} SET {bare.last_activity_at} = COALESCE($2, {NOW})
WHERE {s.id} = $1 AND {s.last_activity_at} < COALESCE($2, {NOW})
  AND ($2 <= {LATEST}) IS NOT FALSE RETURNING {ROW}
"""
IS_TOO_LATE = f"SELECT $1::timestamptz > {LATEST}"
ADD_TIME = f"""
UPDATE {s} SET {bare.total_listening_time} = {s.total_listening_time} + $2
WHERE {s.id} = $1 AND {s.total_listening_time} <= {LONGEST_TIME} - $2 RETURNING {ROW}
"""
BY_ACTIVITY = Order(ListeningSessionTable.last_activity_at, ListeningSessionTable.id)


class ListeningSessionRepository(PlaylistRepository):
    """Sessions with their list of pieces.

    ``delete`` takes events, likes, learner state and generations of the session along and keeps
    the content.
    """

    async def count(self, **filters: Unpack[ListeningSessionFilters]) -> int:
        """How many sessions the filters let through."""
        return await self.count_rows(filters)

    async def page(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        after: str | None = None,
        total: Total | None = None,
        **filters: Unpack[ListeningSessionFilters],
    ) -> Page[ListeningSession]:
        """A page by id."""
        return await self.page_rows(filters, limit, after, total)

    def stream(
        self, **filters: Unpack[ListeningSessionFilters]
    ) -> AsyncGenerator[ListeningSession, None]:
        """All of them by id, in constant memory."""
        return self.stream_rows(filters)

    async def delete(self, key: str) -> bool:
        """Delete a session with what is its own; whether it was there.

        Run again, outside a transaction, where another one deletes the same events.
        """
        delete = super().delete
        return await self.engine.run_transaction(lambda: delete(key))

    async def ensure(self, session_id: str) -> Ensured:
        """The session of that id, created at the first call; of many at once by one of them.

        Raises:
            InvalidValue: the id cannot be one.
        """
        new = ListeningSessionCreate(id=session_id)
        known = await self.find(new.id)  # as nearly always
        return Ensured(known, created=False) if known else Ensured(*await self.get_or_add(new))

    async def touch(self, session_id: str, at: datetime | None = None) -> ListeningSession:
        """Move the time of the latest activity forward, never back.

        Args:
            session_id: the session.
            at: time of the activity, the current one of the database if omitted.

        Raises:
            NotFound: there is no such session.
            InvalidValue: ``at`` is more than a day ahead of the database's clock.
        """
        moment = None if at is None else validate(UTC_DATETIME, at, "at", self.table)
        if (moved := await self.fetch_row_by_key(session_id, TOUCH, moment)) is not None:
            return moved
        session = await self.get(session_id)
        if moment is not None and await self.engine.fetchval(IS_TOO_LATE, moment):
            raise invalid_field(self.table, "at", TOO_LATE)
        return session

    async def add_listening_time(
        self, session_id: str, seconds: Decimal | float
    ) -> ListeningSession:
        """Add whole seconds to the time listened.

        The sum is computed by the database, so that no concurrent addition is lost.

        Args:
            session_id: the session.
            seconds: 0 to 1,800; a whole number of any numeric type.

        Raises:
            NotFound: there is no such session.
            InvalidValue: ``seconds`` has a fraction, which the column cannot store, or is out of
                range; or the sum would be.
        """
        whole = int(validate(WHOLE_SECONDS, seconds, "seconds", self.table))
        while True:  # again only when the session is deleted and made anew in between
            changed = await self.fetch_row_by_key(session_id, ADD_TIME, whole)
            if changed is not None:
                return changed
            if (await self.get(session_id)).total_listening_time > LONGEST_TIME - whole:
                raise invalid_field(self.table, "total_listening_time", "would be out of range")

    async def list_inactive(
        self, before: datetime, *, limit: int = DEFAULT_LIMIT
    ) -> list[ListeningSession]:
        """Sessions without activity since then, the longest inactive first."""
        moment = validate(UTC_DATETIME, before, "before", self.table)
        return await self.list_rows({"active_until": moment}, limit, BY_ACTIVITY)

    async def delete_inactive(self, before: datetime, *, batch: int = DEFAULT_LIMIT) -> int:
        """Delete some of these, with all that is theirs, and say how many; call it until 0.

        Sessions that somebody has locked are passed over; where only something of theirs is locked,
        such as a claimed webhook, it is waited for.
        """
        moment = validate(UTC_DATETIME, before, "before", self.table)
        keys = lock_oldest_keys_sql(
            s, s.id, f"{s.last_activity_at} < $1", s.last_activity_at, batch
        )
        delete, execute = f"DELETE FROM {s} WHERE {s.id} = ANY({keys})", self.engine.execute
        return affected_rows(await self.engine.run_transaction(lambda: execute(delete, moment)))
