"""The repository of listening sessions."""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any, Unpack

from pydantic import Field, TypeAdapter

from learner_app.content.rows import Content
from learner_app.content.tables import ContentTable
from learner_app.errors import MissingReference, StaleVersion
from learner_app.listening import playlist
from learner_app.listening.rows import (
    Appended,
    Ensured,
    ListeningSession,
    ListeningSessionCreate,
    ListeningSessionFilters,
    ListeningSessionUpdate,
    Position,
)
from learner_app.listening.tables import ListeningSessionTable
from learner_app.repository.base import DeletingRepository
from learner_app.repository.batches import affected, oldest
from learner_app.repository.filters import Filters, at_least, before
from learner_app.repository.inputs import checked, refused
from learner_app.repository.paging import DEFAULT_LIMIT, Order, Page, Total, bounded
from learner_app.repository.rows import Shape
from learner_app.repository.sql import Names
from learner_app.repository.values import Moment

CONTENT = Shape(ContentTable, Content)
MOMENT = TypeAdapter(Moment)
LISTENED = TypeAdapter(Annotated[Decimal, Field(ge=0, le=1800)])
LONGEST_TIME = 2**31 - 1

s = Names(ListeningSessionTable)
ROW = s.fields(ListeningSession)
TOUCH = f"""
UPDATE {s} SET {s.last_activity_at} = COALESCE($2, now())
WHERE {s.id} = $1 AND {s.last_activity_at} < COALESCE($2, now()) RETURNING {ROW}
"""
ADD_TIME = f"""
UPDATE {s} SET {s.total_listening_time} = {s.total_listening_time} + $2
WHERE {s.id} = $1 AND {s.total_listening_time} <= {LONGEST_TIME} - $2 RETURNING {ROW}
"""
BY_ACTIVITY = Order(ListeningSessionTable.last_activity_at, ListeningSessionTable.id)


class ListeningSessionRepository(
    DeletingRepository[ListeningSession, str, ListeningSessionCreate, ListeningSessionUpdate]
):
    """Sessions with their list of pieces.

    ``delete`` takes events, likes, learner state and generations of the session along and keeps
    the content.
    """

    table = ListeningSessionTable
    row = ListeningSession
    filters = Filters(
        ListeningSessionTable,
        ListeningSessionFilters,
        {
            "started_from": at_least(ListeningSessionTable.started_at),
            "started_to": before(ListeningSessionTable.started_at),
            "active_from": at_least(ListeningSessionTable.last_activity_at),
            "active_to": before(ListeningSessionTable.last_activity_at),
        },
    )

    async def count(self, **filters: Unpack[ListeningSessionFilters]) -> int:
        """How many sessions the filters let through."""
        return await self._count(filters)

    async def page(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        after: str | None = None,
        total: Total | None = None,
        **filters: Unpack[ListeningSessionFilters],
    ) -> Page[ListeningSession]:
        """A page by id."""
        return await self._page(filters, limit, after, total)

    def stream(
        self, **filters: Unpack[ListeningSessionFilters]
    ) -> AsyncGenerator[ListeningSession, None]:
        """All of them by id, in constant memory."""
        return self._stream(filters)

    async def ensure(self, session_id: str) -> Ensured:
        """The session of that id, created at the first call; of many at once by one of them.

        Raises:
            InvalidValue: the id cannot be one.
        """
        new = ListeningSessionCreate(id=session_id)
        known = await self.find(new.id)  # as nearly always
        return Ensured(known, created=False) if known else Ensured(*await self._ensure(new))

    async def touch(self, session_id: str, at: datetime | None = None) -> ListeningSession:
        """Note activity, now by the database's clock if left out; it never moves back."""
        moment = None if at is None else checked(MOMENT, at, "at", self.table)
        return await self._change(session_id, TOUCH, moment) or await self.get(session_id)

    async def append_content(
        self, session_id: str, content_id: str, *, make_current: bool = False
    ) -> Appended:
        """Put a piece at the end of the list, where it is not in it.

        Raises:
            NotFound: there is no such session.
            MissingReference: there is no such piece.
        """
        return (await self.append_many(session_id, [content_id], make_current=make_current))[0]

    async def append_many(
        self, session_id: str, content_ids: Sequence[str], *, make_current: bool = False
    ) -> list[Appended]:
        """The same for several, all or none; ``make_current`` is about the first of them."""
        if not content_ids:
            return []
        if None in map(self._key.parts, content_ids):
            raise _missing_content()
        record = await self._playlist(session_id, playlist.APPEND, list(content_ids), make_current)
        if record is None:
            raise self._not_found()
        if record["lacks"]:
            raise _missing_content()
        places = {item: place for place, item in enumerate(record["items"])}
        appended = []
        for item in content_ids:
            is_new = item not in places
            appended.append(Appended(places.setdefault(item, len(places)), is_new))
        return appended

    async def set_current(self, session_id: str, content_id: str) -> ListeningSession:
        """Make a piece of the list the current one.

        Raises:
            NotFound: there is no such session.
            InvalidValue: the piece is not in its list.
            MissingReference: the piece was deleted.
        """
        if (piece := self._key.parts(content_id)) is None:
            raise refused(self.table, "content_id", "is not in the session's list")
        changed = await self._change(session_id, playlist.SET_CURRENT, *piece)
        if changed is None and content_id in (await self.get(session_id)).content_ids:
            raise _missing_content()
        if changed is None:
            raise refused(self.table, "content_id", "is not in the session's list")
        return changed

    async def move_next(
        self, session_id: str, *, expected_current: str | None = None
    ) -> Content | None:
        """Go to the next piece, or to the first one where none is current.

        Args:
            session_id: the session.
            expected_current: the piece that the caller moves on from; so that of two who do at
                the same time one moves.

        Returns:
            The piece that is current now; None at the end of the list, where nothing moves.

        Raises:
            NotFound: there is no such session.
            StaleVersion: another piece than the expected one is current.
        """
        return await self._move(session_id, playlist.MOVE_NEXT, expected_current)

    async def move_previous(
        self, session_id: str, *, expected_current: str | None = None
    ) -> Content | None:
        """Go to the previous piece; else as :meth:`move_next`."""
        return await self._move(session_id, playlist.MOVE_PREVIOUS, expected_current)

    async def next_content(self, session_id: str) -> Content | None:
        """The piece that :meth:`move_next` would go to."""
        record = await self._playlist(session_id, playlist.NEXT)
        return None if record is None else CONTENT.make(record)

    async def previous_content(self, session_id: str) -> Content | None:
        """The piece that :meth:`move_previous` would go to."""
        record = await self._playlist(session_id, playlist.PREVIOUS)
        return None if record is None else CONTENT.make(record)

    async def position(self, session_id: str) -> Position:
        """Where the session stands in its list; deleted pieces do not count."""
        record = await self._playlist(session_id, playlist.POSITION)
        index, total, has_current = record or (0, 0, False)
        return Position(index if has_current else None, total)

    async def list_content(self, session_id: str, *, limit: int = DEFAULT_LIMIT) -> list[Content]:
        """The pieces in the session's own order; deleted ones are left out."""
        bounded(limit, self.table)
        if (key := self._key.parts(session_id)) is None:
            return []
        return list(map(CONTENT.make, await self.engine.fetch(playlist.LIST, *key, limit)))

    async def remove_content(self, session_id: str, content_id: str) -> ListeningSession:
        """Take a piece off the list, where it is on it.

        Was it the current one, its previous neighbour is now, else the next one, else none.

        Raises:
            NotFound: there is no such session.
        """
        key, piece = self._key.parts(session_id), self._key.parts(content_id)
        if key is None or piece is None:
            return await self.get(session_id)
        removed = await self._one(playlist.REMOVE, *key, *piece)
        return removed or await self.get(session_id)

    async def add_listening_time(
        self, session_id: str, seconds: Decimal | float
    ) -> ListeningSession:
        """Add to the time listened; rounded to whole seconds.

        Raises:
            NotFound: there is no such session.
            InvalidValue: negative, not a number, or over 1,800 s.
        """
        given = checked(LISTENED, seconds, "seconds", self.table)
        whole = int(given.quantize(Decimal(1), ROUND_HALF_UP))
        changed = await self._change(session_id, ADD_TIME, whole)
        if changed is None and await self.exists(session_id):
            raise refused(self.table, "total_listening_time", "would be out of range")
        return self._found(changed)

    async def clear(self, session_id: str) -> ListeningSession:
        """Empty the list."""
        return self._found(await self._change(session_id, playlist.CLEAR))

    async def list_inactive(
        self, before: datetime, *, limit: int = DEFAULT_LIMIT
    ) -> list[ListeningSession]:
        """Sessions without activity since then, the longest inactive first."""
        return await self._list({"active_to": before}, limit, BY_ACTIVITY)

    async def delete_inactive(self, before: datetime, *, batch: int = DEFAULT_LIMIT) -> int:
        """Delete some of these, with all that is theirs, and say how many; call it until 0.

        Sessions that somebody is at work on are passed over.
        """
        moment = checked(MOMENT, before, "before", self.table)
        keys = oldest(s, s.id, f"{s.last_activity_at} < $1", s.last_activity_at, batch)
        return affected(
            await self.engine.execute(f"DELETE FROM {s} WHERE {s.id} = ANY({keys})", moment)
        )

    async def delete_content(self, content_id: str) -> bool:
        """Delete a piece with its events and likes, and take it off all lists.

        A session whose current piece it was goes to the neighbour, as in :meth:`remove_content`.
        Whether it was there.
        """
        if (key := self._key.parts(content_id)) is None:
            return False
        async with self.engine.transaction():
            if await self.engine.fetchval(playlist.LOCK_CONTENT, *key) is None:
                return False
            await self.engine.execute(playlist.REMOVE_EVERYWHERE, list(key), *key)
            await self.engine.execute(playlist.DELETE_CONTENT, *key)
        return True

    async def _move(self, session_id: str, sql: str, expected: str | None) -> Content | None:
        known = (None,) if expected is None else self._key.parts(expected)
        record = await self._playlist(session_id, sql, *(known or ("",)))
        if record is None:
            raise self._not_found()
        current, target_id, *_ = record
        if expected is not None and current != expected:
            raise StaleVersion(
                "sessions: another piece is current",
                table="sessions",
                fields=["current_content_id"],
            )
        return None if target_id is None else CONTENT.make(record[1:])

    async def _playlist(self, session_id: str, sql: str, *args: Any) -> Any:
        key = self._key.parts(session_id)
        return None if key is None else await self.engine.fetchrow(sql, *key, *args)

    async def _change(self, session_id: str, sql: str, *args: Any) -> ListeningSession | None:
        key = self._key.parts(session_id)
        return None if key is None else await self._one(sql, *key, *args)


def _missing_content() -> MissingReference:
    return MissingReference(
        "sessions: the piece that content_id points to does not exist",
        table="sessions",
        fields=["content_id"],
    )
