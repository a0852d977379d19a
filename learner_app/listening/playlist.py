"""The part of the repository of listening sessions that is about their lists of pieces."""

from collections.abc import Sequence
from typing import Any

from learner_app.content.rows import Content
from learner_app.content.tables import ContentTable
from learner_app.errors import StaleVersion
from learner_app.listening import playlist_sql as sql
from learner_app.listening.rows import (
    Appended,
    ListeningSession,
    ListeningSessionCreate,
    ListeningSessionFilters,
    ListeningSessionUpdate,
    Position,
)
from learner_app.listening.tables import ListeningSessionTable
from learner_app.repository.base import DeletingRepository
from learner_app.repository.filters import Filters, at_least, before
from learner_app.repository.inputs import invalid_field, require_list, validate
from learner_app.repository.locks import require_read_committed_level
from learner_app.repository.paging import DEFAULT_LIMIT, check_limit
from learner_app.repository.rows import RowMapper
from learner_app.repository.values import STRICT_BOOL

CONTENT = RowMapper(ContentTable, Content)
NOT_IN_LIST = "is not in the session's list"


class PlaylistRepository(
    DeletingRepository[ListeningSession, str, ListeningSessionCreate, ListeningSessionUpdate]
):
    """What can be done with the pieces of a session: in order, none twice, one of them current."""

    table = ListeningSessionTable
    row = ListeningSession
    filters = Filters(
        ListeningSessionTable,
        ListeningSessionFilters,
        {
            "started_since": at_least(ListeningSessionTable.started_at),
            "started_until": before(ListeningSessionTable.started_at),
            "active_since": at_least(ListeningSessionTable.last_activity_at),
            "active_until": before(ListeningSessionTable.last_activity_at),
        },
    )

    async def append_content(
        self, session_id: str, content_id: str, *, make_current: bool = False
    ) -> Appended:
        """Append a content to the list unless it is in the list.

        Raises:
            NotFound: there is no such session.
            MissingReference: there is no such piece.
        """
        return (await self.append_many(session_id, [content_id], make_current=make_current))[0]

    async def append_many(
        self, session_id: str, content_ids: Sequence[str], *, make_current: bool = False
    ) -> list[Appended]:
        """Append several contents, all or none.

        Otherwise as :meth:`append_content`. ``make_current`` makes the first of them current.
        """
        ids = require_list(content_ids, "content_ids", self.table)
        validate(STRICT_BOOL, make_current, "make_current", self.table)
        if not ids:
            return []
        if None in map(self.key.params, ids):
            raise self.missing_reference("content_id")
        async with self.joined_transaction():
            there = await self.engine.fetch(sql.LOCK_PIECES, list(set(ids)))
            session = await self.get(session_id, lock="no key update")
            if len(there) < len(set(ids)):
                raise self.missing_reference("content_id")
            return await self._append(session, ids, ids[0] if make_current else None)

    async def set_current(self, session_id: str, content_id: str) -> ListeningSession:
        """Make a piece of the list the current one.

        Raises:
            NotFound: there is no such session.
            InvalidValue: the piece is not in its list.
            MissingReference: the piece was deleted.
        """
        if (piece := self.key.params(content_id)) is None:
            raise invalid_field(self.table, "content_id", NOT_IN_LIST)
        changed = await self.fetch_row_by_key(session_id, sql.SET_CURRENT, *piece)
        if changed is None and content_id in (await self.get(session_id)).content_ids:
            raise self.missing_reference("content_id")
        if changed is None:
            raise invalid_field(self.table, "content_id", NOT_IN_LIST)
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
        return await self._move(session_id, sql.MOVE_NEXT, expected_current)

    async def move_previous(
        self, session_id: str, *, expected_current: str | None = None
    ) -> Content | None:
        """Go to the previous piece; else as :meth:`move_next`."""
        return await self._move(session_id, sql.MOVE_PREVIOUS, expected_current)

    async def next_content(self, session_id: str) -> Content | None:
        """The piece that :meth:`move_next` would go to."""
        record = await self._playlist(session_id, sql.NEXT)
        return None if record is None else CONTENT.to_row(record)

    async def previous_content(self, session_id: str) -> Content | None:
        """The piece that :meth:`move_previous` would go to."""
        record = await self._playlist(session_id, sql.PREVIOUS)
        return None if record is None else CONTENT.to_row(record)

    async def position(self, session_id: str) -> Position:
        """Return the place of the current content, and the number of contents.

        Contents deleted by other means than :meth:`delete_content` are not counted.
        """
        record = await self._playlist(session_id, sql.POSITION)
        index, total, has_current = record or (0, 0, False)
        return Position(index if has_current else None, total)

    async def list_content(
        self, session_id: str, *, limit: int = DEFAULT_LIMIT, after: str | None = None
    ) -> list[Content]:
        """Return existing contents of the session's list, in its order.

        Args:
            session_id: empty list if there is no such session.
            limit: maximum number of contents, 1 to 1,000; a shorter result is the last page.
            after: id of the last content of the previous page; the first page if omitted.

        Raises:
            InvalidValue: ``after`` is not in the list, or no longer; start again without it.
        """
        check_limit(limit, self.table)
        start = (None,) if after is None else self.key.params(after)
        key = self.key.params(session_id)
        records = await self.engine.fetch(sql.LIST, *key, *start, limit) if key and start else []
        if not records and after is not None:
            session = await self.find(session_id)
            if session is not None and after not in session.content_ids:
                raise invalid_field(self.table, "after", NOT_IN_LIST)
        return list(map(CONTENT.to_row, records))

    async def remove_content(self, session_id: str, content_id: str) -> ListeningSession:
        """Remove a content from the list if it is in the list.

        If it was current, the previous neighbour becomes current, else the next one, else none.

        Raises:
            NotFound: there is no such session.
        """
        key, piece = self.key.params(session_id), self.key.params(content_id)
        if key is None or piece is None:
            return await self.get(session_id)
        removed = await self.fetch_row(sql.REMOVE, *key, *piece)
        return removed or await self.get(session_id)

    async def clear(self, session_id: str) -> ListeningSession:
        """Empty the list."""
        return self.require_row(await self.fetch_row_by_key(session_id, sql.CLEAR))

    async def delete_content(self, content_id: str) -> bool:
        """Delete a piece with its events and likes, and take it off all lists.

        A session whose current piece it was goes to the neighbour, as in :meth:`remove_content`.
        Run again, outside a transaction, where concurrency was against it.

        Returns:
            Whether it was there.

        Raises:
            TransactionError: in a ``repeatable read`` or ``serializable`` transaction, which would
                not see who has it in a list.
        """
        if (key := self.key.params(content_id)) is None:
            return False

        async def unit() -> bool:
            [(isolation, exists)] = await self.engine.fetch(sql.LOCK_CONTENT, *key)
            require_read_committed_level(isolation)
            if not exists:
                return False
            await self.engine.fetchval(sql.LOCK_LISTENERS, *key)
            holders = await self.engine.fetch(sql.LOCK_HOLDERS, *key, list(key))
            ids = [holder["id"] for holder in holders]
            await self.engine.execute(sql.REMOVE_FROM_MANY, ids, *key)
            await self.engine.execute(sql.DELETE_CONTENT, *key)
            return True

        return await self.engine.run_transaction(unit)

    async def _append(
        self, session: ListeningSession, ids: list[str], current: str | None
    ) -> list[Appended]:
        places: dict[str, int] = {}
        for place, item in enumerate(session.content_ids):
            places.setdefault(item, place)
        first: dict[str, int] = {}
        for at, item in enumerate(ids):
            first.setdefault(item, at)
        lacking = [item for item in first if item not in places]
        if lacking or current not in (None, session.current_content_id):
            await self.engine.execute(sql.APPEND, session.id, lacking, current)
        length = len(session.content_ids)
        places |= {item: place for place, item in enumerate(lacking, length)}
        return [
            Appended(places[item], places[item] >= length and first[item] == at)
            for at, item in enumerate(ids)
        ]

    async def _move(self, session_id: str, statement: str, expected: str | None) -> Content | None:
        known = (None,) if expected is None else self.key.params(expected)
        record = known and await self._playlist(session_id, statement, *known)
        if record:
            return CONTENT.to_row(record)
        current = (await self.get(session_id)).current_content_id
        if expected is not None and current != expected:
            raise self.error(StaleVersion, "another piece is current", "current_content_id")
        return None

    async def _playlist(self, session_id: str, statement: str, *args: Any) -> Any:
        key = self.key.params(session_id)
        return None if key is None else await self.engine.fetchrow(statement, *key, *args)
