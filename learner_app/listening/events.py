"""Repository of behavioral events."""

import builtins
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Unpack, overload

from piccolo.query.functions.aggregate import Count
from piccolo.querystring import QueryString

from learner_app.errors import InvalidValue, StatementRefused
from learner_app.listening.batch_insert import MAX_DOCUMENT_EVENTS, insert_all, insert_batch
from learner_app.listening.batch_parsing import EventInput, input_params, parse_batch
from learner_app.listening.clock import MAX_TIMESTAMP, TOO_FAR_AHEAD
from learner_app.listening.engagement import (
    DIMENSION,
    ENGAGEMENT_FOR_CONTENTS,
    NO_ENGAGEMENT,
    characteristics_or_stored,
    engagement_by,
    to_engagement,
)
from learner_app.listening.event_scans import (
    SCANS,
    is_likely_sufficient,
    scan_by_characteristics,
    select_by_characteristics,
    select_popular,
    unless_popular,
)
from learner_app.listening.ingest import ingest_stream
from learner_app.listening.rows import (
    BatchResult,
    BehavioralEvent,
    BehavioralEventCreate,
    BehavioralEventFilters,
    BehavioralEventUpdate,
    Dimension,
    Engagement,
    IngestResult,
)
from learner_app.listening.tables import BehavioralEventTable
from learner_app.repository.base import DeletingRepository
from learner_app.repository.batches import lock_oldest_keys_sql
from learner_app.repository.filters import Condition, Filters, at_least, before, one_of
from learner_app.repository.inputs import invalid_field, require_instance, require_list, validate
from learner_app.repository.json_values import json_text
from learner_app.repository.paging import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    Order,
    Page,
    Total,
    check_limit,
    rounded_limit,
)
from learner_app.repository.queries import Expression, IfNone
from learner_app.repository.rows import StoredRow
from learner_app.repository.sql import NOW, Param, SqlNames, Statement
from learner_app.repository.values import (
    JSON_OBJECT,
    OPTIONAL_UTC_DATETIME,
    STRICT_BOOL,
    UTC_DATETIME,
)

Sink = Callable[[list[BehavioralEvent]], Awaitable[None]]
"""Function that stores archived events elsewhere, or raises if it did not store them all."""

MAX_EVENTS = 5000
"""Maximum size of a batch, and size of the chunks of a stream."""

NOT_NULL_VIOLATION = "23502"

TIME_AND_ID = (BehavioralEventTable.timestamp, BehavioralEventTable.id)
SELECTIVE = ("session_id", "content_id")
"""Filters whose matching events PostgreSQL selects first and then sorts, see :class:`Order`.

Because of the limit, the planner might otherwise scan the index on the timestamp to avoid the sort.
For new sessions and content it would read all older events of the table before the first match.
"""

CONDITIONS: dict[str, Condition] = {
    "types": one_of(BehavioralEventTable.event_type),
    "since": at_least(BehavioralEventTable.timestamp),
    "until": before(BehavioralEventTable.timestamp),
}
UNLESS_POPULAR = {
    name: Filters(
        BehavioralEventTable,
        BehavioralEventFilters,
        CONDITIONS | {name: unless_popular(getattr(BehavioralEventTable, name))},
    )
    for name in SELECTIVE
}
"""Filters by which lists select no events if the session or content item is popular."""

MAX_SEARCHED_OF_SESSION = 201
"""Maximum limit up to which popular sessions are searched: a page of 200 events and one more."""

e = SqlNames(BehavioralEventTable, "e")
DELETE_BY_IDS = Statement(
    "behavioral_events.archive_before",
    f"DELETE FROM {SqlNames(BehavioralEventTable)} WHERE {e.unqualified.id} = ANY($1::text[])",
)
SELECT_NOW = Statement("behavioral_events.now", f"SELECT {NOW}")


def _timestamp_or_now(value: Param) -> QueryString:
    """Return SQL for the passed time or the current one, NULL if it is over a day ahead.

    The column rejects NULL, see :func:`_timestamp_errors`. The current time is that of the
    statement, so that the events of one transaction keep their order.
    """
    sql = f"CASE WHEN {{}} > {MAX_TIMESTAMP} THEN NULL ELSE COALESCE({{}}, {NOW}) END"
    return QueryString(sql, value, value)


class BehavioralEventRepository(
    DeletingRepository[BehavioralEvent, str, BehavioralEventCreate, BehavioralEventUpdate]
):
    """Repository of behavioral events, a table of millions of rows.

    ``since`` is inclusive and ``until`` exclusive in all time ranges. An event without
    characteristics gets those of its content.
    """

    table = BehavioralEventTable
    row = BehavioralEvent
    filters = Filters(BehavioralEventTable, BehavioralEventFilters, CONDITIONS)
    orders = {  # noqa: RUF012  # typed in the base class
        "time": Order(*TIME_AND_ID, sorts=SELECTIVE),
        "newest": Order(*TIME_AND_ID, descending=True, sorts=SELECTIVE),
    }
    stored_as: ClassVar[Mapping[str, Expression]] = {
        "timestamp": _timestamp_or_now,
        "content_characteristics": IfNone(characteristics_or_stored),
    }

    # typed methods: written by `python -m learner_app.repository.typed_methods`
    if TYPE_CHECKING:

        async def list(
            self,
            *,
            limit: int = 100,
            order: Literal["time", "newest"] = "time",
            **filters: Unpack[BehavioralEventFilters],
        ) -> builtins.list[BehavioralEvent]: ...

        async def page(
            self,
            *,
            limit: int = 100,
            after: str | None = None,
            total: Total | None = None,
            order: Literal["time", "newest"] = "time",
            **filters: Unpack[BehavioralEventFilters],
        ) -> Page[BehavioralEvent]: ...

        def stream(
            self,
            *,
            order: Literal["time", "newest"] = "time",
            **filters: Unpack[BehavioralEventFilters],
        ) -> AsyncGenerator[BehavioralEvent, None]: ...

        async def count(self, **filters: Unpack[BehavioralEventFilters]) -> int: ...

        @overload
        async def exists(self, key: str) -> bool: ...

        @overload
        async def exists(self, **filters: Unpack[BehavioralEventFilters]) -> bool: ...

        async def exists(self, *args: Any, **kwargs: Any) -> bool: ...

        async def update_where(
            self,
            changes: BehavioralEventUpdate,
            *,
            all_rows: bool = False,
            batch: int = 1000,
            **filters: Unpack[BehavioralEventFilters],
        ) -> int: ...

        async def delete_where(
            self,
            *,
            all_rows: bool = False,
            batch: int = 1000,
            **filters: Unpack[BehavioralEventFilters],
        ) -> int: ...
    # end of typed methods

    async def add(self, new: BehavioralEventCreate) -> BehavioralEvent:
        """Insert a new event.

        Raises:
            Conflict: an event with its id exists.
            MissingReference: the content or the session does not exist.
            InvalidValue: the timestamp is more than a day ahead of the database's clock.
        """
        with _timestamp_errors():
            return await super().add(new)

    async def add_many(
        self, new: Sequence[BehavioralEventCreate]
    ) -> builtins.list[BehavioralEvent]:
        """Insert new events, all or none.

        Events without a timestamp get the current time of the database, one microsecond apart, so
        that lists return them in the given order.

        Raises:
            Conflict: an event with one of the ids exists.
            MissingReference: the content or the session of an event does not exist.
            InvalidValue: a timestamp is more than a day ahead of the database's clock.
        """
        events = require_list(new, "new", self.table)
        if len(events) > MAX_DOCUMENT_EVENTS:
            with suppress(StatementRefused):  # COPY is not supported, as with row-level security
                return await self._copy_many(events)
        with _timestamp_errors():
            return await super().add_many(await self._with_timestamps(events))

    async def upsert(
        self, new: BehavioralEventCreate, *, on: str | Sequence[str] | None = None
    ) -> StoredRow[BehavioralEvent]:
        """Insert an event, or correct the device, network and context of the stored one.

        Raises:
            InvalidValue: no unique constraint on the fields of ``on`` is declared, or the timestamp
                is more than a day ahead of the database's clock.
            MissingReference: the content or the session does not exist.
        """
        with _timestamp_errors():
            return await super().upsert(new, on=on)

    async def record(self, event: BehavioralEventCreate) -> StoredRow[BehavioralEvent]:
        """Insert an event, or return the stored event with its id unchanged.

        A client may therefore send an event again. ``created`` is also False if the connection was
        lost after the insert and the engine repeated the statement.

        Raises:
            MissingReference: the content or the session does not exist.
            InvalidValue: the timestamp is more than a day ahead of the database's clock.
        """
        with _timestamp_errors():
            return await self.get_or_create_row(event)

    async def record_batch(
        self, events: Sequence[EventInput], *, ensure_sessions: bool = False
    ) -> BatchResult:
        """Store the valid events of a batch and report the others.

        A repeated batch stores no event twice if the events have ids. Of several events with the
        same id the first valid one is stored.

        Args:
            events: up to 5,000 events, as inputs or as mappings from a client's JSON.
            ensure_sessions: create the sessions that do not exist.

        Raises:
            InvalidValue: the batch has more than 5,000 events.
        """
        if len(require_list(events, "events", self.table)) > MAX_EVENTS:
            raise invalid_field(self.table, "events", f"must have at most {MAX_EVENTS:,} items")
        validate(STRICT_BOOL, ensure_sessions, "ensure_sessions", self.table)
        batch = await parse_batch(events, self.mapper.to_params)
        return await insert_batch(self.engine, batch, ensure_sessions=ensure_sessions)

    async def ingest(
        self, events: AsyncIterable[EventInput], *, ensure_sessions: bool = False
    ) -> IngestResult:
        """Store a stream of events in constant memory, otherwise as :meth:`record_batch`.

        Outside a transaction each chunk of 5,000 events is committed on its own, while the next one
        is read. After an error the previous chunks remain, and a repetition of the stream stores
        the rest.
        """
        if not isinstance(events, AsyncIterable):
            raise invalid_field(self.table, "events", "must be an async iterable")
        validate(STRICT_BOOL, ensure_sessions, "ensure_sessions", self.table)
        return await ingest_stream(
            self.engine,
            events,
            self.mapper.to_params,
            size=MAX_EVENTS,
            ensure_sessions=ensure_sessions,
        )

    async def list_for_session(
        self,
        session_id: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        types: Sequence[str] | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> builtins.list[BehavioralEvent]:
        """Return events of a session, oldest first, of all types if ``types`` is omitted."""
        filters = {"session_id": session_id} | _not_none(since=since, until=until, types=types)
        return await self.list_rows(filters, limit, operation="list_for_session")

    async def list_for_content(
        self,
        content_id: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        types: Sequence[str] | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> builtins.list[BehavioralEvent]:
        """Return events of a content item, oldest first, of all types if ``types`` is omitted."""
        filters = {"content_id": content_id} | _not_none(since=since, until=until, types=types)
        return await self.list_rows(filters, limit, operation="list_for_content")

    async def recent_for_session(
        self, session_id: str, *, limit: int = DEFAULT_LIMIT
    ) -> builtins.list[BehavioralEvent]:
        """Return the newest events of a session, the oldest of them first."""
        filters: BehavioralEventFilters = {"session_id": session_id}
        newest = await self.list_rows(filters, limit, "newest", operation="recent_for_session")
        return newest[::-1]

    async def count_by_type(
        self, *, session_id: str | None = None, content_id: str | None = None
    ) -> dict[str, int]:
        """Return the number of events per type of a session or a content item, highest first.

        Raises:
            InvalidValue: both arguments were passed, or neither.
        """
        filters = _not_none(session_id=session_id, content_id=content_id)
        if len(filters) != 1:
            raise invalid_field(self.table, "session_id", "pass either session_id or content_id")
        values = self.filters.validate(filters)
        if values is None:
            return {}
        ((name, value),) = values.items()
        statement = self.statements.cached(
            ("count_by_type", name), lambda: self._count_by_type(name)
        )
        records = await self.fetch_records(statement, value)
        return dict(sorted(records, key=lambda record: (-record[1], record[0])))

    async def find_by_characteristics(
        self, subset: dict[str, Any], *, limit: int = DEFAULT_LIMIT
    ) -> builtins.list[BehavioralEvent]:
        """Return events whose characteristics contain a JSON object, oldest first."""
        subset = validate(JSON_OBJECT, subset, "subset", self.table)
        if not subset:
            return await self.list_rows({}, limit, operation="find_by_characteristics")
        size, params = rounded_limit(check_limit(limit, self.table)), json_text(subset)
        for events in SCANS:
            rows = await self.fetch_rows(scan_by_characteristics(events, size), params)
            if len(rows) == size:
                return rows[:limit]
            if not is_likely_sufficient(len(rows), size):
                break
        return (await self.fetch_rows(select_by_characteristics(size), params))[:limit]

    async def engagement_for_content(self, content_id: str) -> Engagement:
        """Return the engagement with a content item, all zero if it has no events."""
        if self.key.params(content_id) is None:
            return NO_ENGAGEMENT
        return (await self.engagement_for_contents([content_id]))[content_id]

    async def engagement_for_contents(self, content_ids: Sequence[str]) -> dict[str, Engagement]:
        """Return the engagement with several content items, by id in the given order."""
        given_ids = require_list(content_ids, "content_ids", self.table)
        ids = [content_id for content_id in given_ids if isinstance(content_id, str)]
        valid_ids = [id_ for id_ in dict.fromkeys(ids) if self.key.params(id_) is not None]
        records = await self.fetch_records(ENGAGEMENT_FOR_CONTENTS, valid_ids) if valid_ids else []
        by_id = {record["content_id"]: to_engagement(record) for record in records}
        return {content_id: by_id.get(content_id, NO_ENGAGEMENT) for content_id in ids}

    async def engagement_by(
        self, dimension: Dimension, *, since: datetime | None = None, until: datetime | None = None
    ) -> dict[str | None, Engagement]:
        """Return the engagement per value of a characteristic, most events first.

        Events without a value are aggregated under None. At most 1,000 values are returned. Without
        a time range the whole table is read.

        Args:
            dimension: the characteristic.
            since: minimum time of events and of first likes, inclusive.
            until: maximum time of events and of first likes, exclusive.
        """
        validate(DIMENSION, dimension, "dimension", self.table)
        bounds = [
            validate(OPTIONAL_UTC_DATETIME, since, "since", self.table),
            validate(OPTIONAL_UTC_DATETIME, until, "until", self.table),
        ]
        statement = engagement_by(
            dimension, has_since=since is not None, has_until=until is not None
        )
        records = await self.fetch_records(statement, *bounds)
        return {record["value"]: to_engagement(record) for record in records}

    async def delete_before(self, before: datetime, *, batch: int = MAX_LIMIT) -> int:
        """Delete a batch of the oldest events before a time and return their number.

        Call it until it returns 0. Rows that another transaction has locked are skipped.
        """
        time = validate(UTC_DATETIME, before, "before", self.table)
        keys = lock_oldest_keys_sql(e, e.id, f"{e.timestamp} < $1", e.timestamp, batch)
        delete = Statement(
            "behavioral_events.delete_before", f"DELETE FROM {e} WHERE {e.id} = ANY({keys})"
        )
        return await self.execute(delete, time)

    async def archive_before(self, before: datetime, sink: Sink, *, batch: int = MAX_LIMIT) -> int:
        """Pass a batch of the oldest events before a time to a sink, then delete them.

        Events are deleted only after the sink has returned. After a failure it may receive them
        again, but none is lost. No transaction is open while it runs.

        Args:
            before: exclusive maximum of ``timestamp``.
            sink: stores the events elsewhere.
            batch: maximum number of events, 1 to 1,000.

        Returns:
            The number of these events. Call it until 0, and from one task at a time, because two
            tasks would pass the same events.
        """
        time = validate(UTC_DATETIME, before, "before", self.table)
        max_events = check_limit(batch, self.table, field="batch")
        if not callable(sink):
            raise invalid_field(self.table, "sink", "must be a function")
        filters: BehavioralEventFilters = {"until": time}
        events = await self.list_rows(filters, max_events, operation="archive_before")
        if events:
            await sink(events)
            await self.engine.run_transaction(lambda: self._delete_all(events))
        return len(events)

    def export(
        self,
        *,
        session_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncGenerator[BehavioralEvent, None]:
        """Yield all events of a session, of a time range, or of both, oldest first.

        It uses constant memory, and no transaction is open between the rows.

        Raises:
            InvalidValue: all arguments are omitted.
        """
        filters = _not_none(session_id=session_id, since=since, until=until)
        if not filters:
            raise invalid_field(self.table, "session_id", "pass session_id, since or until")
        return self.stream_rows(filters, operation="export")

    async def _copy_many(
        self, events: builtins.list[BehavioralEventCreate]
    ) -> builtins.list[BehavioralEvent]:
        params = [
            input_params(
                require_instance(BehavioralEventCreate, event, "new", self.table),
                self.mapper.to_params,
            )
            for event in events
        ]
        async with self.engine.transaction():
            await insert_all(self.engine, params)
            return await self.get_many([event.id for event in params])

    async def _rows_after(
        self,
        order: Order,
        values: Mapping[str, Any],
        position: Mapping[str, Any],
        limit: int,
        operation: str,
    ) -> builtins.list[BehavioralEvent]:
        """Return the rows after a position, without reading all events of a popular session."""
        searched = _searched_filter(values, limit)
        is_by_time = order.names == ("timestamp", "id")
        has_own_filters = self.filters is not BehavioralEventRepository.filters  # of a subclass
        if searched is None or not is_by_time or has_own_filters:
            return await super()._rows_after(order, values, position, limit, operation)
        params, after = {**values, **position}, bool(position)
        page = self.statements.page(
            UNLESS_POPULAR[searched], values, order, limit, after=after, operation=operation
        )
        if rows := await self.fetch_rows(page, *page.args(params)):
            return rows
        popular = select_popular(
            self.statements,
            self.filters,
            values,
            searched,
            order,
            limit,
            after=after,
            operation=operation,
        )
        return await self.fetch_rows(popular, *popular.args(params))

    async def _with_timestamps(
        self, events: builtins.list[BehavioralEventCreate]
    ) -> builtins.list[BehavioralEventCreate]:
        """Set the missing timestamps if there are several, one microsecond apart."""
        indexes = [index for index, event in enumerate(events) if _has_no_timestamp(event)]
        if len(indexes) > 1:
            now = await self.fetch_value(SELECT_NOW)
            for microseconds, index in enumerate(indexes):
                timestamp = now + timedelta(microseconds=microseconds)
                events[index] = events[index].model_copy(update={"timestamp": timestamp})
        return events

    async def _delete_all(self, events: builtins.list[BehavioralEvent]) -> None:
        await self.execute(DELETE_BY_IDS, [event.id for event in events])

    def _count_by_type(self, filter_name: str) -> Statement:
        event_type = BehavioralEventTable.event_type
        query = self.table.select(event_type, Count(alias="events")).group_by(event_type)
        condition = self.filters.conditions[filter_name](Param(filter_name))
        return self.statements.compile("count_by_type", query.where(condition))


def _searched_filter(filters: Collection[str], limit: int) -> str | None:
    """Return the filter whose value may be popular, None if it makes no difference.

    A session rarely has so many of all events that a scan along the timestamp finds a long list.
    """
    if "session_id" in filters:
        return "session_id" if limit <= MAX_SEARCHED_OF_SESSION else None
    return "content_id" if "content_id" in filters else None


def _not_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _has_no_timestamp(event: Any) -> bool:
    return isinstance(event, BehavioralEventCreate) and event.timestamp is None


@contextmanager
def _timestamp_errors() -> Iterator[None]:
    """Replace the error about the NULL of :func:`_timestamp_or_now` by one that has the reason."""
    try:
        yield
    except InvalidValue as error:
        if error.sqlstate != NOT_NULL_VIOLATION or error.fields != ("timestamp",):
            raise
        raise invalid_field(BehavioralEventTable, "timestamp", TOO_FAR_AHEAD) from error.__cause__
