"""Batches and streams of events: what is good is stored, and nothing twice."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue
from learner_app.listening.repositories import BehavioralEventRepository
from tests.content.factories import add_contents
from tests.listening.factories import TRAITS, event, minute, new_event

events = BehavioralEventRepository()


async def test_batch_stores_what_is_good(heard: None):
    await events.record(new_event("old"))
    batch: list[Any] = [
        event("e1"),
        event("e2", playback_position="NaN"),
        new_event("e3", event_type="skip-forward"),
        event("e4", content_id="nothing"),
        event("e5", session_id="nobody"),
        event("e1", event_type="pause"),
        event("old", event_type="pause"),
        event("e6", timestamp=(datetime.now(UTC) + timedelta(days=2)).isoformat()),
        event("e7", secret="x"),
        "no event",
        event("e8", timestamp="2026-09-01T10:00:00"),
        event("e9\0"),
        event("e4"),
        event("e10", context={"at": float("inf")}),
    ]
    result = await events.record_batch(batch)
    assert (result.recorded, result.duplicates) == (3, 2)
    told = {failure.index: (failure.id, failure.reason.split(":")[0]) for failure in result.failed}
    assert told == {
        1: ("e2", "playback_position"),
        3: ("e4", "content_id"),
        4: ("e5", "session_id"),
        7: ("e6", "timestamp"),
        8: ("e7", "secret"),
        9: (None, "is not an event"),
        10: ("e8", "timestamp"),
        11: ("e9\0", "id"),
        13: ("e10", "context"),
    }
    assert [failure.index for failure in result.failed] == sorted(told)
    assert (await events.get("e1")).event_type == "play", "the first payload"
    assert (await events.get("e4")).content_id == "c1", "the one that could be stored"
    again = await events.record_batch(batch)
    assert (again.recorded, again.duplicates) == (0, 5)
    assert again.failed == result.failed
    assert await events.count() == 4


async def test_all_ways_in_store_the_same(heard: None, db: DatabaseEngine):
    """One row by bound values, a batch by a JSON document, a stream by COPY."""
    await db.execute("SET LOCAL datestyle = 'SQL, DMY'")
    text = '"a" \\u0000 \\\\ \t\n\x01 \u2028 ü 🎧 {} $1'
    deep: Any = []
    for _ in range(98):
        deep = [deep]
    odd: list[dict[str, Any]] = [
        {"event_type": text[:50], "network_type": "null"},
        {"timestamp": datetime(2, 1, 3, tzinfo=UTC), "duration": Decimal("1E+2")},
        {"timestamp": datetime(2026, 3, 2, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=-9)))},
        {"playback_position": 99999999.99, "playback_position_percent": Decimal("0.005")},
        {"device_info": {}, "context": {"deep": deep, "": None, text: text}},
        {"context": {"numbers": [10**30, -0.0, 1e300, 1.5e-7, 2**63, True]}},
    ]

    async def source() -> AsyncIterator[dict[str, Any]]:
        for number, fields in enumerate(odd):
            yield event(f"stream {number}", **fields)

    for number, fields in enumerate(odd):
        await events.record(new_event(f"single {number}", **fields))
    batch = [event(f"batch {number}", **fields) for number, fields in enumerate(odd)]
    assert (await events.record_batch(batch)).recorded == len(odd)
    assert (await events.ingest(source())).recorded == len(odd)
    stored = """
        SELECT (to_jsonb(e) - 'id')::text, extract(epoch FROM timestamp), event_type
        FROM behavioral_events AS e WHERE id LIKE $1 ORDER BY id
    """
    single, whole, stream = [
        await db.fetch(stored, f"{way} %") for way in ("single", "batch", "stream")
    ]
    assert len(single) == len(odd)
    assert single == whole == stream


async def test_empty_and_too_large_batches(heard: None):
    result = await events.record_batch([])
    assert (result.recorded, result.duplicates, result.failed) == (0, 0, [])
    with pytest.raises(InvalidValue) as caught:
        await events.record_batch([event(f"e{n}") for n in range(5001)])
    assert caught.value.fields == ("events",)


async def test_batch_of_5000_with_duplicates_and_bad_rows(heard: None):
    batch = [event(f"e{n % 4500}", context={"n": n}) for n in range(5000)]
    for index in range(0, 5000, 100):
        batch[index] = event(f"bad{index}", content_id="nothing")
    result = await events.record_batch(batch)
    assert len(result.failed) == 50
    assert result.recorded == len({one["id"] for one in batch if one["content_id"] == "c1"})
    assert result.recorded + result.duplicates + 50 == 5000
    assert await events.count() == result.recorded


async def test_batch_makes_sessions_only_for_good_events(heard: None, db: DatabaseEngine):
    batch = [
        event("e1", session_id="new"),
        event("e2", session_id="none", content_id="nothing"),
        event("e3", session_id="far", timestamp=datetime.now(UTC) + timedelta(days=2)),
    ]
    result = await events.record_batch(batch, ensure_sessions=True)
    assert (result.recorded, len(result.failed)) == (1, 2)
    assert await db.fetchval("SELECT count(*) FROM sessions") == 3


async def test_overlapping_batches_at_once_store_each_event_once(clone: DatabaseEngine):
    await add_contents("c1", "c2")

    async def send(worker: int) -> int:
        names = [f"e{(n * 37 + worker * 50) % 600}" for n in range(400)]
        batch = [
            event(name, session_id=f"s{n % 40}", content_id=f"c{1 + n % 2}")
            for n, name in enumerate(names)
        ]
        result = await events.record_batch(batch, ensure_sessions=worker % 2 == 0)
        assert result.recorded + result.duplicates + len(result.failed) == 400
        return result.recorded

    recorded = await asyncio.gather(*(send(worker) for worker in range(20)))
    assert sum(recorded) == await events.count()
    again = await asyncio.gather(*(send(worker) for worker in range(0, 20, 2)))
    assert sum(again) + sum(recorded) == await events.count() == 600


async def test_ingest_takes_streams_of_any_length(heard: None):
    async def source() -> AsyncIterator[dict[str, Any]]:
        for n in range(12_000):
            good = n % 1000
            yield event(
                f"e{n % 11_000}", content_id="c1" if good else "nothing", timestamp=minute(n)
            )

    result = await events.ingest(source())
    assert result.failed == len(result.failures) == 12
    assert [failure.index for failure in result.failures] == list(range(0, 12_000, 1000))
    assert (result.recorded, result.duplicates) == (10_989, 999)
    again = await events.ingest(source())
    assert (again.recorded, again.duplicates, again.failed) == (0, 11_988, 12)
    assert (await events.get("e1")).content_characteristics == TRAITS


async def test_ingest_tells_of_the_first_failures_only(heard: None):
    async def source() -> AsyncIterator[object]:
        for n in range(6000):
            yield {"id": f"e{n}"}

    result = await events.ingest(source())
    assert (result.failed, len(result.failures)) == (6000, 1000)
    assert result.failures[-1].index == 999


async def test_ingest_keeps_what_came_before_an_error(clone: DatabaseEngine):
    await add_contents("c1")

    async def source() -> AsyncIterator[dict[str, Any]]:
        for n in range(7000):
            yield event(f"e{n}")
        raise ConnectionError("the client left")

    with pytest.raises(ConnectionError):
        await events.ingest(source(), ensure_sessions=True)
    assert await events.count() == 5000
