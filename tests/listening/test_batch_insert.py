"""Batches and streams of events: valid events are stored once, the others reported."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import Conflict, DatabaseError, InvalidValue, MissingReference
from learner_app.listening import batch_insert
from learner_app.listening.repositories import BehavioralEventRepository
from learner_app.listening.rows import BatchResult, BehavioralEventCreate
from tests.content.factories import add_contents
from tests.listening.factories import TRAITS, ensure_sessions, event, minute, new_event
from tests.listening.waiting import lock_wait

events = BehavioralEventRepository()

REFUSE_COPY = """
    ALTER TABLE behavioral_events ENABLE ROW LEVEL SECURITY;
    ALTER TABLE behavioral_events FORCE ROW LEVEL SECURITY;
    CREATE POLICY everything ON behavioral_events USING (true);
"""
"""Row-level security, with which PostgreSQL does not support COPY."""


@pytest.fixture(params=["document", "copy", "row by row"])
async def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The three ways of an insert, which the size of the batch and COPY's failure select."""
    if request.param != "document":
        monkeypatch.setattr(batch_insert, "MAX_DOCUMENT_EVENTS", 0)
    if request.param == "row by row":
        db: DatabaseEngine = request.getfixturevalue("db")
        await db.execute(REFUSE_COPY)
    return str(request.param)


async def test_a_batch_stores_valid_events_and_reports_the_others(references: None, way: str):
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
        {**event(), "id": None},
    ]
    result = await events.record_batch(batch)
    assert (result.recorded, result.duplicates) == (3, 2)
    reported = {
        failure.index: (failure.id, failure.reason.split(":")[0]) for failure in result.failed
    }
    assert reported == {
        1: ("e2", "playback_position"),
        3: ("e4", "content_id"),
        4: ("e5", "session_id"),
        7: ("e6", "timestamp"),
        8: ("e7", "secret"),
        9: (None, "must be a BehavioralEventCreate or a mapping"),
        10: ("e8", "timestamp"),
        11: ("e9\0", "id"),
        13: ("e10", "context"),
        14: (None, "id"),
    }
    assert [failure.index for failure in result.failed] == sorted(reported)
    assert (await events.get("e1")).event_type == "play", "the first of the duplicates"
    assert (await events.get("e4")).content_id == "c1", "the valid one of the duplicates"
    again = await events.record_batch(batch)
    assert (again.recorded, again.duplicates) == (0, 5)
    assert again.failed == result.failed
    assert await events.count() == 4


async def test_record_batch_and_stream_store_the_same_values(
    references: None, db: DatabaseEngine, way: str
):
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

    odd = [{"timestamp": minute(number), **fields} for number, fields in enumerate(odd)]

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


async def test_empty_and_too_large_batches(references: None):
    result = await events.record_batch([])
    assert (result.recorded, result.duplicates, result.failed) == (0, 0, [])
    with pytest.raises(InvalidValue) as caught:
        await events.record_batch([event(f"e{n}") for n in range(5001)])
    assert caught.value.fields == ("events",)


async def test_batch_of_5000_with_duplicates_and_bad_rows(references: None):
    batch = [event(f"e{n % 4500}", context={"n": n}) for n in range(5000)]
    for index in range(0, 5000, 100):
        batch[index] = event(f"bad{index}", content_id="nothing")
    result = await events.record_batch(batch)
    assert len(result.failed) == 50
    assert result.recorded == len({one["id"] for one in batch if one["content_id"] == "c1"})
    assert result.recorded + result.duplicates + 50 == 5000
    assert await events.count() == result.recorded


async def test_a_batch_creates_sessions_only_for_valid_events(
    references: None, db: DatabaseEngine, way: str
):
    batch = [
        event("e1", session_id="new"),
        event("e2", session_id="none", content_id="nothing"),
        event("e3", session_id="far", timestamp=datetime.now(UTC) + timedelta(days=2)),
    ]
    result = await events.record_batch(batch, ensure_sessions=True)
    assert (result.recorded, len(result.failed)) == (1, 2)
    assert await db.fetchval("SELECT count(*) FROM sessions") == 3


async def test_concurrent_overlapping_batches_store_each_event_once(clone: DatabaseEngine):
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


async def test_statements_with_arrays_are_planned_for_each_batch(
    references: None, db: DatabaseEngine
):
    """A generic plan, made for an empty table, would compare each row with each id."""
    for first in range(0, 1200, 120):
        batch = [event(f"e{first + n}", session_id=f"s{first}") for n in range(120)]
        assert (await events.record_batch(batch, ensure_sessions=True)).recorded == 120
    plans = await db.fetch(
        "SELECT custom_plans, generic_plans FROM pg_prepared_statements "
        "WHERE statement LIKE '%generate_series(%' AND statement NOT LIKE '%pg_prepared%'"
    )
    assert [row["generic_plans"] for row in plans] == [0, 0]
    assert all(row["custom_plans"] >= 10 for row in plans)


@pytest.mark.parametrize("in_transaction", [False, True])
async def test_events_that_another_transaction_commits_meanwhile_are_duplicates(
    clone: DatabaseEngine, direct: Any, in_transaction: bool
):
    """COPY then fails, after the check for stored events."""
    await add_contents("c1")
    await ensure_sessions("s1")
    await events.record(new_event("template"))
    fields = "content_id, event_type, playback_position, session_id, content_characteristics"

    async def send() -> BatchResult:
        async with clone.transaction() if in_transaction else nullcontext():
            await events.record(new_event("first"))
            return await events.record_batch([event(f"e{number}") for number in range(200)])

    async with direct.transaction():
        await direct.execute(
            f"INSERT INTO behavioral_events (id, {fields}) "
            f"SELECT 'e100', {fields} FROM behavioral_events"
        )
        sending = asyncio.create_task(send())
        await lock_wait(direct)
    result = await sending
    assert (result.recorded, result.duplicates, result.failed) == (199, 1, [])
    assert await events.count() == 202


@pytest.mark.slow
async def test_ingest_stores_streams_of_several_chunks(references: None):
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


async def test_ingest_returns_the_first_1000_failures(references: None):
    async def source() -> AsyncIterator[object]:
        for n in range(6000):
            yield {"id": f"e{n}"}

    result = await events.ingest(source())
    assert (result.failed, len(result.failures)) == (6000, 1000)
    assert result.failures[-1].index == 999


async def test_ingest_keeps_the_chunks_before_an_error(clone: DatabaseEngine):
    await add_contents("c1")

    async def source() -> AsyncIterator[dict[str, Any]]:
        for n in range(7000):
            yield event(f"e{n}")
        raise ConnectionError("the client left")

    with pytest.raises(ConnectionError):
        await events.ingest(source(), ensure_sessions=True)
    assert await events.count() == 5000


async def test_an_event_whose_id_is_null_is_invalid(references: None, way: str):
    """Only an omitted id is generated."""
    null = {**event(), "id": None}

    async def source() -> AsyncIterator[dict[str, Any]]:
        yield null
        yield event()

    batch = await events.record_batch([event(), null])
    assert (batch.recorded, [failure.index for failure in batch.failed]) == (1, [1])
    stream = await events.ingest(source())
    assert (stream.recorded, [failure.index for failure in stream.failures]) == (1, [0])
    for failure in (*batch.failed, *stream.failures):
        assert failure.id is None
        assert failure.reason.startswith("id: ")
    with pytest.raises(InvalidValue) as caught:
        BehavioralEventCreate(**null)
    assert caught.value.fields == ("id",)


def backwards(count: int, prefix: str = "e") -> list[str]:
    """Return ids that descend in the order in which the events are recorded."""
    return [f"{prefix}{number:05}" for number in range(count, 0, -1)]


async def ids_in_time() -> list[str]:
    listed = [row.id for row in await events.list_for_session("s1", limit=1000)]
    streamed = [row.id async for row in events.stream(session_id="s1")]
    assert listed == streamed[:1000]
    newest = [row.id for row in await events.recent_for_session("s1", limit=1000)]
    assert newest == streamed[-1000:]
    paged: list[str] = []
    page = await events.page(session_id="s1", limit=300)
    while True:
        paged += [row.id for row in page.rows]
        if page.next is None:
            break
        page = await events.page(session_id="s1", limit=300, after=page.next)
    assert paged == streamed
    return streamed


async def test_a_batch_is_listed_in_its_order(references: None):
    names = backwards(5000)
    await events.record_batch([event(name) for name in names])
    assert await ids_in_time() == names


@pytest.mark.slow
async def test_a_stream_is_listed_in_its_order(references: None):
    names = backwards(12_000)

    async def source() -> AsyncIterator[dict[str, Any]]:
        for name in names:
            yield event(name)

    await events.ingest(source())
    assert await ids_in_time() == names


async def test_events_of_a_transaction_are_listed_in_the_order_of_recording(
    references: None, way: str
):
    """The whole test is one transaction, in which ``now()`` is constant."""
    names = iter(all_names := backwards(700))

    def next_events(count: int) -> list[BehavioralEventCreate]:
        return [new_event(next(names)) for _ in range(count)]

    async def source(count: int) -> AsyncIterator[BehavioralEventCreate]:
        for one in next_events(count):
            yield one

    for _ in range(5):
        await events.record(*next_events(1))
        await events.add(*next_events(1))
        assert (await events.record_batch(next_events(100))).recorded == 100
        await events.record(*next_events(1))
        await events.add_many(next_events(30))
        await events.add(*next_events(1))
        await events.ingest(source(5))
        await events.record(*next_events(1))
    assert await ids_in_time() == all_names


async def test_batches_of_one_caller_are_listed_in_the_order_of_recording(clone: DatabaseEngine):
    """Each batch is a transaction of its own, on any connection of the pool."""
    await add_contents("c1")
    names = backwards(1200)
    for first in range(0, 1200, 100):
        await events.record_batch(
            [event(name) for name in names[first : first + 98]], ensure_sessions=first == 0
        )
        for name in names[first + 98 : first + 100]:
            await events.record(new_event(name))
    assert await ids_in_time() == names


async def test_given_timestamps_are_kept_in_a_batch_with_missing_ones(references: None, way: str):
    names = backwards(10)
    times = [minute(number) if number % 2 else None for number in range(10)]
    for add in (events.record_batch, events.add_many):
        rows = [new_event(one, timestamp=at) for one, at in zip(names, times, strict=True)]
        await add(rows)
        stored = await events.get_many(names)
        assert [row.timestamp for row in stored[1::2]] == [minute(n) for n in range(1, 10, 2)]
        untimed = [row.timestamp for row in stored[::2]]
        assert untimed == sorted(set(untimed))
        assert untimed[-1] - untimed[0] < timedelta(milliseconds=1)
        assert await ids_in_time() == names[1::2] + names[::2]
        for name in names:
            await events.delete(name)


async def test_events_of_one_time_without_ids_are_listed_in_the_order_of_recording(
    references: None,
):
    """Their generated ids ascend and break the tie."""
    places = list(range(1000))
    await events.record_batch([event(timestamp=minute(0), playback_position=n) for n in places])
    rows = await events.list_for_session("s1", limit=1000)
    assert [int(row.playback_position) for row in rows] == places


async def test_add_many_of_many_events_stores_all_or_none(
    references: None, db: DatabaseEngine, way: str
):
    """More than a hundred events are copied, unless COPY is not supported."""
    count = 20 if way == "document" else 150
    new = [new_event(name, context={"at": name}) for name in backwards(count)]
    rows = await events.add_many(new)
    assert [(row.id, row.context) for row in rows] == [(one.id, one.context) for one in new]
    assert rows == await events.get_many([one.id for one in new])
    assert rows[0].content_characteristics == TRAITS
    assert await ids_in_time() == [one.id for one in new]
    bad: list[tuple[type[DatabaseError], str, dict[str, Any]]] = [
        (Conflict, "id", {"event_id": new[3].id}),
        (Conflict, "id", {"event_id": "more00001"}),
        (MissingReference, "content_id", {"content_id": "nothing"}),
        (MissingReference, "session_id", {"session_id": "nobody"}),
        (InvalidValue, "timestamp", {"timestamp": datetime.now(UTC) + timedelta(days=2)}),
    ]
    for error, field, fields in bad:
        wrong = new_event(**{"event_id": "wrong", **fields})
        with pytest.raises(error) as caught:
            async with db.transaction():
                await events.add_many([*map(new_event, backwards(count, "more")), wrong])
        assert caught.value.fields == (field,)
    with pytest.raises(InvalidValue, match="must be a BehavioralEventCreate"):
        await events.add_many([*new, event()])  # type: ignore[list-item]
    assert await events.count() == count
