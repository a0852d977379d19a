"""Repository of listening sessions and of their playlists."""

import builtins
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, Unpack, overload

from pydantic import AfterValidator, Field, TypeAdapter

from learner_app.content.rows import Content
from learner_app.content.tables import ContentTable
from learner_app.errors import StaleVersion
from learner_app.listening import playlist_sql as playlist
from learner_app.listening.clock import MAX_TIMESTAMP, TOO_FAR_AHEAD
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
from learner_app.repository.batches import lock_oldest_keys_sql
from learner_app.repository.filters import Filters, at_least, before
from learner_app.repository.inputs import invalid_field, require_list, validate
from learner_app.repository.locks import require_read_committed_level
from learner_app.repository.paging import DEFAULT_LIMIT, Order, Page, Total, check_limit
from learner_app.repository.rows import RowMapper, StoredRow
from learner_app.repository.sql import NOW, SqlNames, Statement
from learner_app.repository.values import DEFERRED, NUMBER, STRICT_BOOL, UTC_DATETIME

MAX_LISTENING_TIME = 2**31 - 1
"""Maximum of the INTEGER column, in seconds."""

NOT_IN_LIST = "is not in the session's list"
CONTENT = RowMapper(ContentTable, Content)


def _require_whole(seconds: Decimal) -> Decimal:
    if seconds != int(seconds):
        raise ValueError("must be a whole number of seconds")
    return seconds


WHOLE_SECONDS = TypeAdapter(
    Annotated[Decimal, Field(ge=0, le=1800), NUMBER, AfterValidator(_require_whole)],
    config=DEFERRED,
)

s = SqlNames(ListeningSessionTable)
unqualified = s.unqualified
ROW = s.fields(ListeningSession)
TOUCH = Statement(
    "sessions.touch",
    f"""
    UPDATE {s} SET {unqualified.last_activity_at} = COALESCE($2, {NOW})
    WHERE {s.id} = $1 AND {s.last_activity_at} < COALESCE($2, {NOW})
      AND ($2 <= {MAX_TIMESTAMP}) IS NOT FALSE RETURNING {ROW}
    """,
)
IS_TOO_FAR_AHEAD = Statement(
    "sessions.is_too_far_ahead", f"SELECT $1::timestamptz > {MAX_TIMESTAMP}"
)
ADD_LISTENING_TIME = Statement(
    "sessions.add_listening_time",
    f"""
    UPDATE {s} SET {unqualified.total_listening_time} = {s.total_listening_time} + $2
    WHERE {s.id} = $1 AND {s.total_listening_time} <= {MAX_LISTENING_TIME} - $2 RETURNING {ROW}
    """,
)


class ListeningSessionRepository(
    DeletingRepository[ListeningSession, str, ListeningSessionCreate, ListeningSessionUpdate]
):
    """Repository of listening sessions, each with an ordered list of distinct content items.

    At most one item of the list is the current one. Deleting a session also deletes its events,
    likes, learner state and jobs. The content remains.
    """

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

    orders = {  # noqa: RUF012  # typed in the base class
        "key": Order(ListeningSessionTable.id),
        "newest": Order(
            ListeningSessionTable.started_at, ListeningSessionTable.id, descending=True
        ),
        "least_recently_active": Order(
            ListeningSessionTable.last_activity_at, ListeningSessionTable.id
        ),
    }

    # typed methods: written by `python -m learner_app.repository.typed_methods`
    if TYPE_CHECKING:

        async def list(
            self,
            *,
            limit: int = 100,
            order: Literal["key", "newest", "least_recently_active"] = "key",
            **filters: Unpack[ListeningSessionFilters],
        ) -> builtins.list[ListeningSession]: ...

        async def page(
            self,
            *,
            limit: int = 100,
            after: str | None = None,
            total: Total | None = None,
            order: Literal["key", "newest", "least_recently_active"] = "key",
            **filters: Unpack[ListeningSessionFilters],
        ) -> Page[ListeningSession]: ...

        def stream(
            self,
            *,
            order: Literal["key", "newest", "least_recently_active"] = "key",
            **filters: Unpack[ListeningSessionFilters],
        ) -> AsyncGenerator[ListeningSession, None]: ...

        async def count(self, **filters: Unpack[ListeningSessionFilters]) -> int: ...

        @overload
        async def exists(self, key: str) -> bool: ...

        @overload
        async def exists(self, **filters: Unpack[ListeningSessionFilters]) -> bool: ...

        async def exists(self, *args: Any, **kwargs: Any) -> bool: ...

        async def update_where(
            self,
            changes: ListeningSessionUpdate,
            *,
            all_rows: bool = False,
            batch: int = 1000,
            **filters: Unpack[ListeningSessionFilters],
        ) -> int: ...

        async def delete_where(
            self,
            *,
            all_rows: bool = False,
            batch: int = 1000,
            **filters: Unpack[ListeningSessionFilters],
        ) -> int: ...
    # end of typed methods

    async def get_or_create(self, session_id: str) -> StoredRow[ListeningSession]:
        """Return a session, created by this call if it does not exist.

        Exactly one of several concurrent callers creates it.

        Raises:
            InvalidValue: the id is malformed.
        """
        new = ListeningSessionCreate(id=session_id)
        # A read finds the session at nearly every call, and costs less than an insert that fails.
        if (session := await self.find(new.id)) is not None:
            return StoredRow(session, created=False)
        return await self.get_or_create_row(new)

    async def touch(self, session_id: str, *, at: datetime | None = None) -> ListeningSession:
        """Set the time of the last activity unless the stored one is later.

        Args:
            session_id: the session.
            at: time of the activity, the current time of the database if omitted.

        Raises:
            NotFound: the session does not exist.
            InvalidValue: ``at`` is more than a day ahead of the database's clock.
        """
        time = None if at is None else validate(UTC_DATETIME, at, "at", self.table)
        if (changed := await self.fetch_row_by_key(session_id, TOUCH, time)) is not None:
            return changed
        session = await self.get(session_id)
        if time is not None and await self.fetch_value(IS_TOO_FAR_AHEAD, time):
            raise invalid_field(self.table, "at", TOO_FAR_AHEAD)
        return session

    async def add_listening_time(
        self, session_id: str, seconds: Decimal | float
    ) -> ListeningSession:
        """Add whole seconds to the total listening time.

        The database computes the sum, so that no concurrent addition is lost.

        Args:
            session_id: the session.
            seconds: 0 to 1,800, a whole number of any numeric type.

        Raises:
            NotFound: the session does not exist.
            InvalidValue: ``seconds`` is out of range or has a fraction, which the column cannot
                store, or the total would be out of range.
        """
        whole = int(validate(WHOLE_SECONDS, seconds, "seconds", self.table))
        # It repeats only if, between the two statements, the session was created again or the total
        # was reduced.
        while True:
            changed = await self.fetch_row_by_key(session_id, ADD_LISTENING_TIME, whole)
            if changed is not None:
                return changed
            session = await self.get(session_id)
            if session.total_listening_time > MAX_LISTENING_TIME - whole:
                raise invalid_field(self.table, "total_listening_time", "would be out of range")

    async def append_content(
        self, session_id: str, content_id: str, *, make_current: bool = False
    ) -> Appended:
        """Append a content item to the list, unless the list contains it.

        Raises:
            NotFound: the session does not exist.
            MissingReference: the content does not exist.
        """
        return (await self.append_many(session_id, [content_id], make_current=make_current))[0]

    async def append_many(
        self, session_id: str, content_ids: Sequence[str], *, make_current: bool = False
    ) -> builtins.list[Appended]:
        """Append several content items, all or none.

        Args:
            session_id: the session.
            content_ids: ids in the order of the list. Items of the list keep their position.
            make_current: make the first of the items the current one.

        Raises:
            NotFound: the session does not exist.
            MissingReference: a content item does not exist.
        """
        ids = require_list(content_ids, "content_ids", self.table)
        validate(STRICT_BOOL, make_current, "make_current", self.table)
        if not ids:
            return []
        if None in map(self.key.params, ids):
            raise self.missing_reference("content_id")
        async with self.joined_transaction():
            existing = await self.fetch_records(playlist.LOCK_CONTENTS, list(set(ids)))
            session = await self.get(session_id, lock="no key update")
            if len(existing) < len(set(ids)):
                raise self.missing_reference("content_id")
            return await self._append(session, ids, ids[0] if make_current else None)

    async def remove_content(self, session_id: str, content_id: str) -> ListeningSession:
        """Remove a content item from the list, if the list contains it.

        If it was current, the previous existing item becomes current, or the next one if none
        precedes it, or none if there is no other.

        Raises:
            NotFound: the session does not exist.
        """
        key, content_key = self.key.params(session_id), self.key.params(content_id)
        if key is None or content_key is None:
            return await self.get(session_id)
        changed = await self.fetch_row(playlist.REMOVE, *key, *content_key)
        return changed or await self.get(session_id)

    async def clear(self, session_id: str) -> ListeningSession:
        """Remove all content items from the list.

        Raises:
            NotFound: the session does not exist.
        """
        return self.require_row(await self.fetch_row_by_key(session_id, playlist.CLEAR))

    async def set_current(self, session_id: str, content_id: str) -> ListeningSession:
        """Make a content item of the list the current one.

        Raises:
            NotFound: the session does not exist.
            InvalidValue: the content is not in the list.
            MissingReference: the content is in the list but was deleted.
        """
        if (content_key := self.key.params(content_id)) is None:
            raise invalid_field(self.table, "content_id", NOT_IN_LIST)
        changed = await self.fetch_row_by_key(session_id, playlist.SET_CURRENT, *content_key)
        if changed is not None:
            return changed
        if content_id in (await self.get(session_id)).content_ids:
            raise self.missing_reference("content_id")
        raise invalid_field(self.table, "content_id", NOT_IN_LIST)

    async def move_next(self, session_id: str, *, expect: str | None = None) -> Content | None:
        """Make the next existing content item current, or the first one if none is current.

        Args:
            session_id: the session.
            expect: id of the current content that the caller has read. Exactly one of several
                concurrent callers that expect the same id succeeds.

        Returns:
            The new current content. None at the end of the list, where nothing changes.

        Raises:
            NotFound: the session does not exist.
            StaleVersion: the current content is not the expected one.
        """
        return await self._move(session_id, playlist.MOVE_NEXT, expect)

    async def move_previous(self, session_id: str, *, expect: str | None = None) -> Content | None:
        """Make the previous existing content item current, otherwise as :meth:`move_next`."""
        return await self._move(session_id, playlist.MOVE_PREVIOUS, expect)

    async def next_content(self, session_id: str) -> Content | None:
        """Return the content that :meth:`move_next` would make current."""
        return await self._fetch_content(session_id, playlist.NEXT)

    async def previous_content(self, session_id: str) -> Content | None:
        """Return the content that :meth:`move_previous` would make current."""
        return await self._fetch_content(session_id, playlist.PREVIOUS)

    async def position(self, session_id: str) -> Position:
        """Return the position of the current content, and the number of content items.

        Items that were deleted by other means than :meth:`delete_content` are not counted.
        """
        record = await self._fetch_record(session_id, playlist.POSITION)
        index, total, has_current = record or (0, 0, False)
        return Position(index if has_current else None, total)

    async def list_content(
        self, session_id: str, *, limit: int = DEFAULT_LIMIT, after: str | None = None
    ) -> builtins.list[Content]:
        """Return existing content items of the session's list, in its order.

        Args:
            session_id: the session. If it does not exist, the result is empty.
            limit: maximum number of items, 1 to 1,000. A shorter result is the last page.
            after: id of the last item of the previous page. If omitted, the first page is returned.

        Raises:
            InvalidValue: the list does not contain ``after``, which may have been removed. Start
                again without it.
        """
        check_limit(limit, self.table)
        start = (None,) if after is None else self.key.params(after)
        key = self.key.params(session_id)
        if key is None:
            return []
        records = await self.fetch_records(playlist.LIST, *key, *start, limit) if start else []
        if not records and after is not None:
            session = await self.find(session_id)
            if session is not None and after not in session.content_ids:
                raise invalid_field(self.table, "after", NOT_IN_LIST)
        return list(map(CONTENT.to_row, records))

    async def list_inactive(
        self, before: datetime, *, limit: int = DEFAULT_LIMIT
    ) -> builtins.list[ListeningSession]:
        """Return sessions whose last activity is before a time, least recently active first."""
        time = validate(UTC_DATETIME, before, "before", self.table)
        filters: ListeningSessionFilters = {"active_until": time}
        order = "least_recently_active"
        return await self.list_rows(filters, limit, order, operation="list_inactive")

    async def delete(self, key: str) -> bool:
        """Delete a session with its events, likes, learner state and jobs.

        Outside a transaction it is retried after a deadlock with a deletion of the same events.

        Returns:
            False if the session does not exist.
        """
        delete = super().delete
        return await self.engine.run_transaction(lambda: delete(key))

    async def delete_inactive(self, before: datetime, *, batch: int = DEFAULT_LIMIT) -> int:
        """Delete a batch of the sessions that :meth:`list_inactive` returns, and return how many.

        Call it until it returns 0. It skips sessions that another transaction has locked, but waits
        for locked rows that are deleted with a session, such as jobs of ``claim_webhooks``.
        """
        time = validate(UTC_DATETIME, before, "before", self.table)
        condition = f"{s.last_activity_at} < $1"
        keys = lock_oldest_keys_sql(s, s.id, condition, s.last_activity_at, batch)
        delete = Statement(
            "sessions.delete_inactive", f"DELETE FROM {s} WHERE {s.id} = ANY({keys})"
        )
        return await self.engine.run_transaction(lambda: self.execute(delete, time))

    async def delete_content(self, content_id: str) -> bool:
        """Delete a content item with its events and likes, and remove it from all lists.

        Where it is current, another item becomes current as in :meth:`remove_content`.
        Outside a transaction it is retried after a deadlock.

        Returns:
            False if the content does not exist.

        Raises:
            TransactionError: the transaction is ``repeatable read`` or ``serializable``. Its
                snapshot may lack sessions that have the content in their lists.
        """
        if (key := self.key.params(content_id)) is None:
            return False

        async def unit() -> bool:
            [(isolation, exists)] = await self.fetch_records(playlist.LOCK_CONTENT, *key)
            require_read_committed_level(isolation)
            if not exists:
                return False
            await self.fetch_value(playlist.LOCK_SESSIONS_WITH_EVENTS, *key)
            locked = await self.fetch_records(playlist.LOCK_SESSIONS_WITH_CONTENT, *key, list(key))
            session_ids = [record["id"] for record in locked]
            await self.execute(playlist.REMOVE_FROM_MANY, session_ids, *key)
            await self.execute(playlist.DELETE_CONTENT, *key)
            return True

        return await self.engine.run_transaction(unit)

    async def _append(
        self, session: ListeningSession, ids: builtins.list[str], current: str | None
    ) -> builtins.list[Appended]:
        """Append the ids that a locked session lacks, and return the result for each of the ids."""
        positions: dict[str, int] = {}
        for position, content_id in enumerate(session.content_ids):
            positions.setdefault(content_id, position)
        missing = [content_id for content_id in dict.fromkeys(ids) if content_id not in positions]
        if missing or current not in (None, session.current_content_id):
            await self.execute(playlist.APPEND, session.id, missing, current)
        positions |= {item: number for number, item in enumerate(missing, len(session.content_ids))}
        results, added = [], set(missing)
        for content_id in ids:
            results.append(Appended(positions[content_id], content_id in added))
            added.discard(content_id)  # the first occurrence of a repeated id added it
        return results

    async def _move(
        self, session_id: str, statement: Statement, expect: str | None
    ) -> Content | None:
        expected_key = (None,) if expect is None else self.key.params(expect)
        if expected_key is not None:
            moved_to = await self._fetch_content(session_id, statement, *expected_key)
            if moved_to is not None:
                return moved_to
        current = (await self.get(session_id)).current_content_id
        if expect is not None and current != expect:
            message = "the current content is not the expected one: read the session again"
            raise self.error(StaleVersion, message, "current_content_id")
        return None

    async def _fetch_content(
        self, session_id: str, statement: Statement, *args: Any
    ) -> Content | None:
        record = await self._fetch_record(session_id, statement, *args)
        return None if record is None else CONTENT.to_row(record)

    async def _fetch_record(self, session_id: str, statement: Statement, *args: Any) -> Any:
        key = self.key.params(session_id)
        return None if key is None else await statement.fetchrow(self.engine, *key, *args)
