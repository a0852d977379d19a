"""SQL of lists of events by a value that a few events have, or millions of them.

PostgreSQL can find the first events with a value in two ways. Along the index on the timestamp it
reads events until enough of them have the value: fast for a common value, slow for a rare one. By
the index on the value it reads all events that have it and sorts them: fast for a rare one. Its
choice depends on statistics that are wrong for new values and unknown in generic plans, and a wrong
one reads millions of events for a hundred. The statements of this module read a limited number of
events along the timestamp, and use the other index only if these did not suffice.
"""

from collections.abc import Collection
from functools import cache
from typing import Any

from piccolo.columns import Column
from piccolo.columns.combination import WhereRaw
from piccolo.query.base import Query
from piccolo.querystring import QueryString

from learner_app.listening.rows import BehavioralEvent
from learner_app.listening.tables import BehavioralEventTable
from learner_app.repository.filters import Condition, Filters
from learner_app.repository.paging import Order
from learner_app.repository.queries import StatementCache
from learner_app.repository.sql import Param, SqlNames, Statement

e = SqlNames(BehavioralEventTable, "e")
b = SqlNames(BehavioralEventTable).unqualified

SCANS = (1000, 20_000)
"""Numbers of events that are read along the timestamp: a sample, then more if it contains some.

The second one takes about 10 ms. It finds 100 events with a value of one event in 200.
"""

POPULAR = 5_000
"""Minimum number of events of a popular session or content item, which is searched by time."""

SHARE = 150
"""Number of events in the table per event of a popular value up to which it is searched by time.

With a smaller share of the events, the scan would not find the usual 100 of them.
"""

TIME_RANGE = {"since", "until"}


@cache
def scan_by_characteristics(events: int, limit: int) -> Statement:
    """Return the statement for those of the oldest events whose characteristics contain an object.

    Parameter: the JSON object.

    Args:
        events: number of events that are read.
        limit: maximum number of events that are returned.
    """
    sql = f"""
    SELECT {e.fields(BehavioralEvent)} FROM (
        SELECT {e.fields(BehavioralEvent)} FROM {e} ORDER BY {e.timestamp}, {e.id} LIMIT {events:d}
    ) AS e WHERE {e.content_characteristics} @> $1::jsonb
    ORDER BY {e.timestamp}, {e.id} LIMIT {limit:d}
    """
    return Statement("behavioral_events.scan_by_characteristics", sql)


@cache
def select_by_characteristics(limit: int) -> Statement:
    """Return the statement for events whose characteristics contain a JSON object, by time.

    Parameter: the JSON object. ``OFFSET 0`` keeps the planner from a scan of the index on the
    timestamp, to which the limit might lead it and which for a rare characteristic reads the whole
    table. Read from a subquery, the value has no statistics, which might lead to a sequential
    scan, and no parallel plan, which takes ten times as long for a rare characteristic. What
    remains is the GIN index on the characteristics.
    """
    sql = f"""
    SELECT {e.fields(BehavioralEvent)} FROM {e} WHERE {e.id} IN (
        SELECT id FROM (SELECT $1::jsonb AS subset OFFSET 0) AS given CROSS JOIN LATERAL (
            SELECT {e.id} AS id, {e.timestamp} AS at FROM {e}
            WHERE {e.content_characteristics} @> given.subset OFFSET 0
        ) AS matching ORDER BY at, id LIMIT {limit:d}
    ) ORDER BY {e.timestamp}, {e.id}
    """
    return Statement("behavioral_events.find_by_characteristics", sql)


def is_likely_sufficient(found: int, limit: int) -> bool:
    """Return whether the second of :data:`SCANS` is likely to find ``limit`` events.

    Args:
        found: number of events that the first one found.
        limit: number of events that are wanted.
    """
    sample, events = SCANS
    return found * events >= limit * sample


def unless_popular(column: Column) -> Condition:
    """Return the condition that a column has a value, which no row meets for a popular value.

    The index counts the rows of the value, up to :data:`POPULAR`. The comparison with the result of
    a subquery remains a condition of the index scan. A separate condition would make PostgreSQL
    copy every row before the sort, which doubles the time.
    """
    sql = f"""
    {{}} = (SELECT CASE WHEN EXISTS (
        SELECT FROM {b} WHERE {{}} = {{}} OFFSET {POPULAR - 1}
    ) THEN NULL ELSE {{}}::text END)
    """
    return lambda value: WhereRaw(sql, column, column, value, value)


def select_popular(
    statements: StatementCache,
    filters: Filters,
    names: Collection[str],
    searched: str,
    order: Order,
    limit: int,
    *,
    after: bool,
    operation: str,
) -> Statement:
    """Return the statement for the events of a popular session or content item, in order of time.

    The result is right for any other one, too.

    Parameters: the filters, and with ``after`` those of :meth:`Order.after`.

    Args:
        statements: the statements of the repository.
        filters: its filters.
        names: the filters that are used.
        searched: the one of them that is the session or content item.
        order: order of the repository.
        limit: maximum number of events.
        after: whether the events are those after a position.
        operation: name of the statement, after the name of the table.
    """

    def make() -> Statement:
        times = tuple(name for name in names if name in TIME_RANGE)
        others = filters.condition(tuple(name for name in names if name not in TIME_RANGE))
        bounds = [filters.condition(times), order.after() if after else None]
        in_range = statements.select(bounds)
        matching = statements.select([*bounds, others, WhereRaw("NOT (SELECT yes FROM complete)")])
        direction = "DESC" if order.descending else "ASC"
        by_time = f"{b.timestamp} {direction}, {b.id} {direction}"
        sql = f"""
        WITH popular AS (
            SELECT EXISTS (
                SELECT FROM {b} WHERE {getattr(b, searched)} = {{}} OFFSET (
                    SELECT GREATEST({POPULAR - 1}, reltuples / {SHARE})::bigint
                    FROM pg_class WHERE oid = '{b}'::regclass
                )
            ) AS yes
        ), scanned AS (
            SELECT * FROM ({{}} ORDER BY {by_time} LIMIT {SCANS[-1]}) AS {b}
            WHERE {{}} AND (SELECT yes FROM popular) ORDER BY {by_time} LIMIT {limit:d}
        ), complete AS (
            SELECT (SELECT count(*) = {limit:d} FROM scanned)
                OR (SELECT yes FROM popular) AND NOT EXISTS ({{}} OFFSET {SCANS[-1] - 1}) AS yes
        )
        SELECT * FROM (
            SELECT * FROM scanned WHERE (SELECT yes FROM complete)
            UNION ALL SELECT * FROM ({{}} OFFSET 0) AS matching
        ) AS found ORDER BY {by_time} LIMIT {limit:d}
        """
        parts = map(_querystring, (in_range, others, in_range, matching))
        return statements.compile(operation, QueryString(sql, Param(searched), *parts))

    shape = (operation, "popular", tuple(names), searched, order.tag, limit, after)
    return statements.cached(shape, make)


def _querystring(query: Any) -> QueryString:
    """Return the SQL of a condition or of a query."""
    if isinstance(query, Query):
        return query.querystrings[0]
    result: QueryString = query.querystring
    return result
