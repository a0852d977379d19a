"""Reading behavioural events: lists in time, counts, engagement."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Unpack

from piccolo.query.functions.aggregate import Count
from piccolo.querystring import QueryString
from pydantic import TypeAdapter

from learner_app.listening.clock import LATEST
from learner_app.listening.engagement import (
    FOR_CONTENTS,
    NONE,
    characteristics,
    engagement,
    engagement_by,
)
from learner_app.listening.rows import (
    BehavioralEvent,
    BehavioralEventCreate,
    BehavioralEventFilters,
    BehavioralEventUpdate,
    Dimension,
    Engagement,
)
from learner_app.listening.tables import BehavioralEventTable
from learner_app.repository.base import DeletingRepository
from learner_app.repository.filters import Filters, at_least, before, one_of
from learner_app.repository.inputs import invalid_field, require_list, validate
from learner_app.repository.paging import (
    DEFAULT_LIMIT,
    Order,
    Page,
    Total,
    check_limit,
    rounded_limit,
)
from learner_app.repository.queries import Expression
from learner_app.repository.rows import json_text
from learner_app.repository.sql import NOW, Param, SqlNames, Statement
from learner_app.repository.values import JSON_OBJECT, OPTIONAL_UTC_DATETIME

DIMENSION: TypeAdapter[Dimension] = TypeAdapter(Dimension)

TIME = (BehavioralEventTable.timestamp, BehavioralEventTable.id)
IN_TIME = Order(*TIME)
SORTED_IN_TIME = Order(*TIME, sorts=True)
"""For the events of a session or a piece.

Along the index on time, those of one that is new would be looked for among all that is older.
"""

NEWEST_FIRST = Order(*TIME, descending=True, sorts=True)

e = SqlNames(BehavioralEventTable, "e")
WITH_CHARACTERISTICS = f"""
SELECT {e.fields(BehavioralEvent)} FROM {e} WHERE {e.id} IN (
    SELECT id FROM (
        SELECT {e.id} AS id, {e.timestamp} AS at FROM {e}
        WHERE {e.content_characteristics} @> $1::jsonb OFFSET 0
    ) AS found ORDER BY at, id LIMIT {{}}
) ORDER BY {e.timestamp}, {e.id}
"""
"""OFFSET 0 has the index on characteristics used: along the one on time, for the sake of the limit,
what is rare would be looked for in the whole table."""


def not_ahead(given: Param) -> QueryString:
    """Return SQL for the given time or else the current one, NULL if it is over a day ahead.

    The column rejects NULL. The current time is that of the statement: several events of one
    transaction keep their order.
    """
    sql = f"CASE WHEN {{}} > {LATEST} THEN NULL ELSE COALESCE({{}}, {NOW}) END"
    return QueryString(sql, given, given)


class EventReader(
    DeletingRepository[BehavioralEvent, str, BehavioralEventCreate, BehavioralEventUpdate]
):
    """What can be asked of events; ranges of time begin with ``since`` and end before ``until``."""

    table = BehavioralEventTable
    row = BehavioralEvent
    filters = Filters(
        BehavioralEventTable,
        BehavioralEventFilters,
        {
            "types": one_of(BehavioralEventTable.event_type),
            "since": at_least(BehavioralEventTable.timestamp),
            "until": before(BehavioralEventTable.timestamp),
        },
    )
    stored_as: ClassVar[Mapping[str, Expression]] = {
        "timestamp": not_ahead,
        "content_characteristics": characteristics,
    }

    async def count(self, **filters: Unpack[BehavioralEventFilters]) -> int:
        """How many events the filters let through; without any it reads the whole table."""
        return await self.count_rows(filters)

    async def page(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        after: str | None = None,
        total: Total | None = None,
        **filters: Unpack[BehavioralEventFilters],
    ) -> Page[BehavioralEvent]:
        """A page by time."""
        narrow = {"session_id", "content_id"} & filters.keys()
        order = SORTED_IN_TIME if narrow else IN_TIME
        return await self.page_rows(filters, limit, after, total, order)

    def stream(
        self, **filters: Unpack[BehavioralEventFilters]
    ) -> AsyncGenerator[BehavioralEvent, None]:
        """All of them by time, in constant memory."""
        return self.stream_rows(filters, IN_TIME)

    async def list_for_session(
        self,
        session_id: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        types: Sequence[str] | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> list[BehavioralEvent]:
        """Events of a session in order of time; of all types unless some are given."""
        given = {"session_id": session_id} | _given(since=since, until=until, types=types)
        return await self.list_rows(given, limit, SORTED_IN_TIME)

    async def list_for_content(
        self,
        content_id: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        types: Sequence[str] | None = None,
        limit: int = DEFAULT_LIMIT,
    ) -> list[BehavioralEvent]:
        """Events of a piece in order of time; of all types unless some are given."""
        given = {"content_id": content_id} | _given(since=since, until=until, types=types)
        return await self.list_rows(given, limit, SORTED_IN_TIME)

    async def recent_for_session(
        self, session_id: str, n: int = DEFAULT_LIMIT
    ) -> list[BehavioralEvent]:
        """The newest events of a session, in order of time."""
        count = check_limit(n, self.table, field="n")
        newest = await self.list_rows({"session_id": session_id}, count, NEWEST_FIRST)
        return newest[::-1]

    async def count_by_type(
        self, *, session_id: str | None = None, content_id: str | None = None
    ) -> dict[str, int]:
        """How many events of each type a session or a piece has, the most first.

        Raises:
            InvalidValue: not exactly one of the two is given.
        """
        given = _given(session_id=session_id, content_id=content_id)
        if len(given) != 1:
            raise invalid_field(self.table, "session_id", "or content_id must be given, not both")
        values = self.filters.validate(given)
        if values is None:
            return {}
        ((name, value),) = values.items()
        statement = self.statements.cached(("count_by_type", name), lambda: self._by_type(name))
        records = await self.engine.fetch(statement.sql, value)
        return dict(sorted(records, key=lambda record: (-record[1], record[0])))

    async def find_by_characteristics(
        self, subset: dict[str, Any], *, limit: int = DEFAULT_LIMIT
    ) -> list[BehavioralEvent]:
        """Events in order of time whose characteristics contain these."""
        subset = validate(JSON_OBJECT, subset, "subset", self.table)
        if not subset:
            return await self.list_rows({}, limit, IN_TIME)
        sql = WITH_CHARACTERISTICS.format(rounded_limit(check_limit(limit, self.table)))
        return (await self.fetch_rows(sql, json_text(subset)))[:limit]

    async def engagement_for_content(self, content_id: str) -> Engagement:
        """How learners took to a piece; all zero where nothing happened."""
        if self.key.params(content_id) is None:
            return NONE
        return (await self.engagement_for_contents([content_id]))[content_id]

    async def engagement_for_contents(self, content_ids: Sequence[str]) -> dict[str, Engagement]:
        """The same for several, in their order, by one query."""
        given = require_list(content_ids, "content_ids", self.table)
        given = [one for one in given if isinstance(one, str)]
        ids = [one for one in dict.fromkeys(given) if self.key.params(one) is not None]
        records = await self.engine.fetch(FOR_CONTENTS, ids) if ids else []
        found = {record["kind"]: engagement(record) for record in records}
        return {one: found.get(one, NONE) for one in given}

    async def engagement_by(
        self, dimension: Dimension, *, since: datetime | None = None, until: datetime | None = None
    ) -> dict[str | None, Engagement]:
        """How learners took to pieces by a characteristic, the most events first, 1,000 at most.

        Without a range it reads all events.

        Args:
            dimension: which one; what has none is under None.
            since: events, and likes first given, then or later.
            until: before then.
        """
        validate(DIMENSION, dimension, "dimension", self.table)
        bounds = [
            validate(OPTIONAL_UTC_DATETIME, since, "since", self.table),
            validate(OPTIONAL_UTC_DATETIME, until, "until", self.table),
        ]
        sql = engagement_by(dimension, since=since is not None, until=until is not None)
        records = await self.engine.fetch(sql, *bounds)
        return {record["kind"]: engagement(record) for record in records}

    def _by_type(self, name: str) -> Statement:
        kind = BehavioralEventTable.event_type
        query = self.table.select(kind, Count(alias="events")).group_by(kind)
        return self.statements.compile(
            "count_by_type", query.where(self.filters.conditions[name](Param(name)))
        )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
