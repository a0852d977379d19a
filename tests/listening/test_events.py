"""Behavioural events: recorded once, listed in time, counted, archived."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue, MissingReference
from learner_app.listening.repositories import BehavioralEventRepository
from learner_app.listening.rows import BehavioralEvent
from tests.content.factories import add_contents
from tests.listening.factories import ensure_sessions, event, new_event

events = BehavioralEventRepository()
START = datetime(2026, 9, 1, tzinfo=UTC)
TRAITS = {
    "format": "narrative",
    "genre": "mystery",
    "difficulty": "lexical-heavy",
    "template_id": "t1",
}


@pytest.fixture
async def heard(db: DatabaseEngine) -> None:
    """Two pieces and two sessions."""
    await add_contents("c1", "c2")
    await ensure_sessions("s1", "s2")


def minute(n: int) -> datetime:
    return START + timedelta(minutes=n)


async def test_record_fills_what_is_left_out(heard: None, db: DatabaseEngine):
    row = await events.record(new_event("e1"))
    assert row.content_characteristics == TRAITS
    assert row.timestamp == await db.fetchval("SELECT now()")
    own = await events.record(new_event("e2", content_characteristics={"a": 1}, timestamp=START))
    assert (own.content_characteristics, own.timestamp) == ({"a": 1}, START)
    assert len((await events.record(new_event("e3").model_copy())).id) == 2


async def test_record_again_returns_the_first_payload(heard: None):
    first = await events.record(new_event("e1"))
    assert await events.record(new_event("e1", event_type="pause")) == first
    assert await events.count() == 1


async def test_record_names_what_is_wrong(heard: None, db: DatabaseEngine):
    wrong: dict[str, Any] = {
        "content_id": "nothing",
        "session_id": "nobody",
        "timestamp": datetime.now(UTC) + timedelta(hours=25),
    }
    for field, value in wrong.items():
        with pytest.raises((InvalidValue, MissingReference)) as caught:
            async with db.transaction():
                await events.record(new_event("e1", **{field: value}))
        assert caught.value.fields == (field,)
        assert caught.value.__cause__ is not None
    assert "ahead" in str(caught.value)
    await events.record(new_event("e1", timestamp=datetime.now(UTC) + timedelta(hours=23)))


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


@pytest.fixture
async def timeline(heard: None) -> None:
    """Ten events, one a minute; s1 has the even ones."""
    kinds = ["play", "pause", "skip-forward", "complete", "replay"]
    batch = [
        event(f"e{n}", session_id=f"s{1 + n % 2}", timestamp=minute(n), event_type=kinds[n % 5])
        for n in range(10)
    ]
    assert (await events.record_batch(batch)).recorded == 10


def ids(rows: list[BehavioralEvent]) -> list[str]:
    return [row.id for row in rows]


async def test_lists_in_order_of_time(timeline: None):
    assert ids(await events.list_for_session("s1")) == ["e0", "e2", "e4", "e6", "e8"]
    ranged = await events.list_for_session("s1", since=minute(2), until=minute(8))
    assert ids(ranged) == ["e2", "e4", "e6"]
    assert ids(await events.list_for_session("s1", types=["play", "pause"])) == ["e0", "e6"]
    assert await events.list_for_session("s1", types=[]) == []
    assert ids(await events.list_for_content("c1", limit=3)) == ["e0", "e1", "e2"]
    assert ids(await events.list_for_content("c1", types=["replay", "x\0"])) == ["e4", "e9"]
    assert ids(await events.recent_for_session("s2", 2)) == ["e7", "e9"]
    assert await events.list_for_session("s1\0") == await events.list_for_content("") == []
    with pytest.raises(InvalidValue):
        await events.recent_for_session("s2", 0)


async def test_counts_by_type(timeline: None):
    assert await events.count_by_type(content_id="c1") == dict.fromkeys(
        ["complete", "pause", "play", "replay", "skip-forward"], 2
    )
    assert await events.count_by_type(session_id="nobody") == {}
    assert await events.count_by_type(session_id="s\0") == {}
    for wrong in ({}, {"session_id": "s1", "content_id": "c1"}):
        with pytest.raises(InvalidValue):
            await events.count_by_type(**wrong)


async def test_find_by_characteristics(timeline: None):
    await events.record(new_event("x", content_characteristics={"genre": "x", "n": [1, 2]}))
    assert ids(await events.find_by_characteristics({"genre": "x"})) == ["x"]
    assert ids(await events.find_by_characteristics({"n": [2]})) == ["x"]
    assert len(await events.find_by_characteristics({"format": "narrative"}, limit=4)) == 4
    assert await events.find_by_characteristics({"genre": "x", "format": "narrative"}) == []


async def test_old_events_go_by_batches(timeline: None):
    counts = [await events.delete_before(minute(5), batch=2) for _ in range(4)]
    assert counts == [2, 2, 1, 0]
    assert await events.count() == 5


async def test_archive_hands_over_before_it_deletes(timeline: None):
    kept: list[BehavioralEvent] = []

    async def sink(batch: list[BehavioralEvent]) -> None:
        kept.extend(batch)

    async def broken(batch: list[BehavioralEvent]) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await events.archive_before(minute(5), broken)
    assert await events.count() == 10
    assert [await events.archive_before(minute(5), sink, batch=3) for _ in range(3)] == [3, 2, 0]
    assert ids(kept) == [f"e{n}" for n in range(5)]
    assert await events.count() == 5


async def test_export_of_a_session_or_a_range(timeline: None):
    assert [row.id async for row in events.export(session_id="s2")] == [
        "e1",
        "e3",
        "e5",
        "e7",
        "e9",
    ]
    assert [row.id async for row in events.export(since=minute(8))] == ["e8", "e9"]
    assert [row.id async for row in events.export(session_id="s1", until=minute(1))] == ["e0"]
    with pytest.raises(InvalidValue):
        events.export()


async def test_export_holds_nothing_while_the_caller_works(clone: DatabaseEngine):
    await add_contents("c1")
    batch = [event(f"e{n:04}", timestamp=minute(n)) for n in range(2500)]
    await events.record_batch(batch, ensure_sessions=True)
    assert clone.pool is not None
    seen = []
    async for row in events.export(session_id="s1"):
        seen.append(row.id)
        assert not clone.pool.held
    assert seen == [one["id"] for one in batch]
