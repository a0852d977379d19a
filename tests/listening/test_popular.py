"""Lists of sessions and content with thousands of events are those that a plain query returns."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.listening.event_scans import POPULAR, SCANS
from learner_app.listening.events import CONDITIONS
from learner_app.listening.repositories import BehavioralEventRepository
from learner_app.listening.rows import BehavioralEventFilters
from learner_app.listening.tables import BehavioralEventTable
from learner_app.repository.filters import Filters
from learner_app.repository.paging import Order
from tests.content.factories import add_contents
from tests.listening.factories import ensure_sessions

events = BehavioralEventRepository()
START = datetime(2026, 1, 1, tzinfo=UTC)
LATE = SCANS[-1] + 1000
"""Number of the first event of the content and session that start late."""

LAST = LATE + POPULAR + 500

NAMES = ["often", "late", "rare", "other"]
FILL = f"""
INSERT INTO behavioral_events (id, content_id, session_id, event_type, timestamp,
                               playback_position, content_characteristics)
SELECT 'e' || lpad(n::text, 6, '0'), name, name,
       (ARRAY['play', 'pause', 'skip'])[1 + n % 3],
       timestamptz '2026-01-01+00' + n / 3 * interval '1 second', 0,
       CASE WHEN name = 'late' THEN '{{"late": true}}' ELSE jsonb_build_object('name', name) END
FROM (
    SELECT n, CASE WHEN n % 4 = 0 THEN 'often' WHEN n % 2999 = 1 THEN 'rare'
                   WHEN n >= {LATE} THEN 'late' ELSE 'other' END AS name
    FROM generate_series(0, {LAST + (LAST - LATE) // 3}) AS n
) AS numbered
"""
"""Three events have the same timestamp. A quarter is of ``often``, nine are of ``rare``."""


@pytest.fixture
async def many(db: DatabaseEngine) -> DatabaseEngine:
    await add_contents(*NAMES)
    await ensure_sessions(*NAMES)
    await db.run_ddl(FILL)
    await db.run_ddl("ANALYZE behavioral_events")
    return db


async def expected(db: DatabaseEngine, column: str, value: str, **options: Any) -> list[str]:
    """Return the ids by a query without any cleverness."""
    direction = "DESC" if options.get("order") == "newest" else "ASC"
    rows = await db.fetch(
        f"""
        SELECT id FROM behavioral_events WHERE {column} = $1
          AND ($2::timestamptz IS NULL OR timestamp >= $2)
          AND ($3::timestamptz IS NULL OR timestamp < $3)
          AND ($4::text[] IS NULL OR event_type = ANY($4))
        ORDER BY timestamp {direction}, id {direction} LIMIT {options.get("limit", 100)}
        """,
        value,
        options.get("since"),
        options.get("until"),
        options.get("types"),
    )
    return [row["id"] for row in rows]


MIDDLE = START + timedelta(seconds=LATE // 3)
OPTIONS: list[dict[str, Any]] = [
    {},
    {"order": "newest"},
    {"limit": 1},
    {"limit": 1000},
    {"types": ["skip"], "order": "newest"},
    {"types": ["none"]},
    {"since": MIDDLE},
    {"since": MIDDLE, "until": MIDDLE + timedelta(seconds=20)},
    {"until": START + timedelta(seconds=30), "order": "newest"},
    {"since": MIDDLE + timedelta(days=1)},
]


@pytest.mark.slow
async def test_lists_of_popular_rows_are_complete_and_in_order(many: DatabaseEngine):
    for column in ("content_id", "session_id"):
        popular = await many.fetchval(
            f"SELECT array_agg({column} ORDER BY 1) FROM (SELECT {column} FROM behavioral_events"
            f" GROUP BY 1 HAVING count(*) >= {POPULAR}) AS counted"
        )
        assert popular == ["late", "often", "other"]
        for value in ("often", "late", "rare", "nobody"):
            for options in OPTIONS:
                found = [row.id for row in await events.list(**{column: value}, **options)]
                assert found == await expected(many, column, value, **options), (value, options)


@pytest.mark.slow
async def test_pages_of_popular_rows_are_the_whole_list(many: DatabaseEngine):
    until = MIDDLE + timedelta(seconds=200)
    for column in ("content_id", "session_id"):
        for order in ("time", "newest"):
            wanted: dict[str, Any] = {column: "late", "until": until, "order": order}
            found, after = [], None
            while True:
                page = await events.page(limit=200, after=after, **wanted)
                found += [row.id for row in page.rows]
                if (after := page.next) is None:
                    break
            assert len(found) > 400
            assert found == await expected(many, column, "late", limit=10_000, **wanted)


@pytest.mark.slow
async def test_common_and_rare_characteristics_are_found_in_order(many: DatabaseEngine):
    subsets = {
        "often": {"name": "often"},
        "rare": {"name": "rare"},
        "late": {"late": True},
        "nobody": {"late": False},
    }
    for content_id, subset in subsets.items():
        for limit in (1, 100, 1000):
            found = await events.find_by_characteristics(subset, limit=limit)
            wanted = await expected(many, "content_id", content_id, limit=limit)
            assert [row.id for row in found] == wanted, (subset, limit)


@pytest.mark.slow
async def test_a_repository_with_another_order_or_further_filters_lists_popular_rows(
    many: DatabaseEngine,
):
    class NetworkFilters(BehavioralEventFilters, total=False):
        network_type: str

    class Events(BehavioralEventRepository):
        filters = Filters(BehavioralEventTable, NetworkFilters, CONDITIONS)

    assert await Events().list_rows({"session_id": "often", "network_type": "wifi"}, 10) == []
    by_creation = Order(BehavioralEventTable.created_at, BehavioralEventTable.id, descending=True)
    found = await events.list_rows({"session_id": "often"}, 10, by_creation)
    ids = await many.fetch("SELECT id FROM behavioral_events WHERE session_id = 'often'")
    assert [row.id for row in found] == sorted((row["id"] for row in ids), reverse=True)[:10]
