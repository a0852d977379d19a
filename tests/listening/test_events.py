"""Behavioral events are recorded once, listed by time, counted and archived."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue, MissingReference
from learner_app.listening.repositories import BehavioralEventRepository
from learner_app.listening.rows import BehavioralEvent
from tests.content.factories import add_contents
from tests.listening.factories import START, TRAITS, event, minute, new_event

events = BehavioralEventRepository()


async def test_record_fills_omitted_fields(references: None, db: DatabaseEngine):
    before = await db.fetchval("SELECT statement_timestamp()")
    row, created = await events.record(new_event("e1"))
    assert created
    assert row.content_characteristics == TRAITS
    assert before < row.timestamp < await db.fetchval("SELECT statement_timestamp()")
    custom = new_event("e2", content_characteristics={"a": 1}, timestamp=START)
    own, _ = await events.record(custom)
    assert (own.content_characteristics, own.timestamp) == ({"a": 1}, START)
    assert (await events.record(new_event("e3").model_copy()))[0].id == "e3"


async def test_a_repeated_record_returns_the_stored_event(references: None):
    first, _ = await events.record(new_event("e1"))
    assert await events.record(new_event("e1", event_type="pause")) == (first, False)
    assert await events.count() == 1


async def test_errors_of_record_name_the_field(references: None, db: DatabaseEngine):
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
    for store in (events.add, lambda one: events.add_many([one])):
        with pytest.raises(InvalidValue, match="ahead"):
            async with db.transaction():
                await store(new_event("e1", timestamp=wrong["timestamp"]))
    await events.record(new_event("e1", timestamp=datetime.now(UTC) + timedelta(hours=23)))


@pytest.fixture
async def timeline(references: None) -> None:
    """Ten events, one per minute, the even ones in session s1."""
    kinds = ["play", "pause", "skip-forward", "complete", "replay"]
    batch = [
        event(f"e{n}", session_id=f"s{1 + n % 2}", timestamp=minute(n), event_type=kinds[n % 5])
        for n in range(10)
    ]
    assert (await events.record_batch(batch)).recorded == 10


def ids(rows: list[BehavioralEvent]) -> list[str]:
    return [row.id for row in rows]


async def test_lists_are_in_the_order_of_time(timeline: None):
    assert ids(await events.list_for_session("s1")) == ["e0", "e2", "e4", "e6", "e8"]
    ranged = await events.list_for_session("s1", since=minute(2), until=minute(8))
    assert ids(ranged) == ["e2", "e4", "e6"]
    assert ids(await events.list_for_session("s1", types=["play", "pause"])) == ["e0", "e6"]
    assert await events.list_for_session("s1", types=[]) == []
    assert ids(await events.list_for_content("c1", limit=3)) == ["e0", "e1", "e2"]
    assert ids(await events.list_for_content("c1", types=["replay", "x\0"])) == ["e4", "e9"]
    assert ids(await events.recent_for_session("s2", limit=2)) == ["e7", "e9"]
    assert await events.list_for_session("s1\0") == await events.list_for_content("") == []
    with pytest.raises(InvalidValue):
        await events.recent_for_session("s2", limit=0)


async def test_count_by_type_counts_one_session_or_content(timeline: None):
    assert await events.count_by_type(content_id="c1") == dict.fromkeys(
        ["complete", "pause", "play", "replay", "skip-forward"], 2
    )
    assert await events.count_by_type(session_id="nobody") == {}
    assert await events.count_by_type(session_id="s\0") == {}
    for wrong in ({}, {"session_id": "s1", "content_id": "c1"}):
        with pytest.raises(InvalidValue):
            await events.count_by_type(**wrong)


async def test_find_by_characteristics_returns_events_that_contain_the_subset(timeline: None):
    await events.record(new_event("x", content_characteristics={"genre": "x", "n": [1, 2]}))
    assert ids(await events.find_by_characteristics({"genre": "x"})) == ["x"]
    assert ids(await events.find_by_characteristics({"n": [2]})) == ["x"]
    assert len(await events.find_by_characteristics({"format": "narrative"}, limit=4)) == 4
    assert await events.find_by_characteristics({"genre": "x", "format": "narrative"}) == []


async def test_delete_before_deletes_batches(timeline: None):
    counts = [await events.delete_before(minute(5), batch=2) for _ in range(4)]
    assert counts == [2, 2, 1, 0]
    assert await events.count() == 5


async def test_archive_deletes_only_what_the_sink_received(timeline: None):
    archived: list[BehavioralEvent] = []

    async def sink(batch: list[BehavioralEvent]) -> None:
        archived.extend(batch)

    async def broken(batch: list[BehavioralEvent]) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await events.archive_before(minute(5), broken)
    assert await events.count() == 10
    assert [await events.archive_before(minute(5), sink, batch=3) for _ in range(3)] == [3, 2, 0]
    assert ids(archived) == [f"e{n}" for n in range(5)]
    assert await events.count() == 5


async def test_export_yields_a_session_or_a_range_of_time(timeline: None):
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


async def test_export_holds_no_connection_between_rows(clone: DatabaseEngine):
    await add_contents("c1")
    batch = [event(f"e{n:04}", timestamp=minute(n)) for n in range(2500)]
    await events.record_batch(batch, ensure_sessions=True)
    assert clone.pool is not None
    seen = []
    async for row in events.export(session_id="s1"):
        seen.append(row.id)
        assert not clone.pool.in_use
    assert seen == [one["id"] for one in batch]
