"""Bulk events: any number of events, none of them in the future."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.operations.seed import bulk
from learner_app.operations.seed.data import SeedSession, load_contents

CONTENTS = load_contents()
HOUR = timedelta(hours=1)
MISFITS = """
SELECT count(*) FROM sessions s JOIN LATERAL (
    SELECT min(timestamp) AS first, max(timestamp) AS last, sum(duration) AS listened,
           array_agg(DISTINCT content_id::text) AS contents
    FROM behavioral_events WHERE session_id = s.id
) e ON true
WHERE s.id LIKE 'bulk-%' AND NOT (
    s.started_at <= e.first AND e.last <= s.last_activity_at
    AND abs(s.total_listening_time - e.listened) < 2
    AND s.content_ids @> e.contents AND s.content_ids <@ e.contents
    AND s.current_content_id = s.content_ids[cardinality(s.content_ids)]
)
"""


def seeded(now: datetime, after: int, number: int) -> list[SeedSession]:
    """Return that number of sessions, none of them truncated."""
    sessions = bulk.next_sessions(CONTENTS, after, 30 * number, now)
    assert len(sessions) > number
    return sessions[:number]


async def facts(engine: DatabaseEngine) -> Any:
    sql = """
    SELECT count(*) AS events, max(e.timestamp) AS newest, max(s.last_activity_at) AS active,
           min(s.started_at) AS oldest, count(DISTINCT s.id) AS sessions
    FROM sessions s LEFT JOIN behavioral_events e ON e.session_id = s.id
    WHERE s.id LIKE 'bulk-%'
    """
    return await engine.fetchrow(sql)


@pytest.mark.parametrize("after", [0, 417_000, 418_060, 530_000, 1_000_000, 5_000_000])
def test_no_session_of_any_number_ends_in_the_future(after: int):
    now = datetime.now(UTC)
    sessions = seeded(now, after, 300)
    end = bulk.PERIOD_START + bulk.PERIOD + bulk.MAX_SESSION_LENGTH
    assert max(session.new.last_activity_at for session in sessions) <= min(now, end)
    assert min(session.new.started_at for session in sessions) >= bulk.PERIOD_START
    assert len({session.new.started_at for session in sessions}) == len(sessions)


def test_a_session_is_the_same_at_every_call_and_starts_apart_from_the_others():
    now = datetime.now(UTC)
    first, again = seeded(now, 7, 50), seeded(now + HOUR, 7, 50)
    assert [session.events for session in first] == [session.events for session in again]
    laps = [seeded(now, lap * bulk.PERIOD // bulk.TIME_BETWEEN_SESSIONS, 5) for lap in range(5)]
    starts = {session.new.started_at for lap in laps for session in lap}
    assert len(starts) == 25


@pytest.fixture
def recent(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """The period begins three hours ago."""
    begin = datetime.now(UTC) - 3 * HOUR
    monkeypatch.setattr(bulk, "PERIOD_START", begin)
    return begin


@pytest.mark.slow
@pytest.mark.long
async def test_events_stop_at_the_current_time(clone: DatabaseEngine, recent: datetime):
    reported: list[int] = []
    report: Callable[[int], None] = reported.append
    assert await bulk.insert_bulk_events(clone, 4000, report) == 4000
    found = await facts(clone)
    assert found["events"] == reported[-1] == 4000
    assert found["newest"] <= found["active"] <= datetime.now(UTC)
    assert recent <= found["oldest"]
    assert found["sessions"] * bulk.TIME_BETWEEN_SESSIONS > HOUR, "denser than the period"
    assert await clone.fetchval(MISFITS) == 0

    assert await bulk.insert_bulk_events(clone, 4000, report) == 0
    assert await bulk.insert_bulk_events(clone, 5000, report) == 1000
    found = await facts(clone)
    assert found["events"] == 5000
    assert found["active"] <= datetime.now(UTC)
    assert await clone.fetchval(MISFITS) == 0


async def test_before_the_period_there_are_no_events(
    clone: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bulk, "PERIOD_START", datetime.now(UTC) - HOUR)
    assert await bulk.insert_bulk_events(clone, 100, lambda _: None) == 0
    assert (await facts(clone))["sessions"] == 0
