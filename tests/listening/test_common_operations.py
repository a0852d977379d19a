"""Lists, upserts and bulk operations on sessions, events and likes."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from learner_app.content.repositories import ContentRepository
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue
from learner_app.learner.repositories import LearnerModelStateRepository
from learner_app.listening.repositories import (
    BehavioralEventRepository,
    LikeRepository,
    ListeningSessionRepository,
)
from learner_app.listening.rows import (
    BehavioralEvent,
    BehavioralEventCreate,
    BehavioralEventUpdate,
    LikeCreate,
    LikeKey,
    LikeUpdate,
    ListeningSessionCreate,
    ListeningSessionUpdate,
)
from tests.content.factories import add_contents
from tests.listening.factories import TRAITS, ensure_sessions, event, minute, new_event

contents, sessions = ContentRepository(), ListeningSessionRepository()
events, likes = BehavioralEventRepository(), LikeRepository()
OLD = datetime(2026, 1, 1, tzinfo=UTC)


def ids(rows: list[BehavioralEvent]) -> list[str]:
    return [row.id for row in rows]


@pytest.fixture
async def timeline(references: None) -> None:
    """Six events, one per minute, the even ones in session s1, each type twice."""
    types = ["play", "pause", "skip"]
    batch = [
        event(f"e{n}", session_id=f"s{1 + n % 2}", timestamp=minute(n), event_type=types[n % 3])
        for n in range(6)
    ]
    assert (await events.record_batch(batch)).recorded == 6


async def test_events_are_listed_by_time_or_newest_first(timeline: None):
    assert ids(await events.list(limit=2)) == ["e0", "e1"]
    assert ids(await events.list(limit=2, order="newest")) == ["e5", "e4"]
    assert ids(await events.list(order="newest", session_id="s1", limit=2)) == ["e4", "e2"]
    assert ids(await events.list(types=["skip"], since=minute(3))) == ["e5"]
    first = await events.page(limit=2, order="newest", session_id="s2")
    second = await events.page(limit=2, order="newest", session_id="s2", after=first.next)
    assert ids(first.rows + second.rows) == ["e5", "e3", "e1"]
    assert [row.id async for row in events.stream(order="newest", session_id="s1")] == [
        "e4",
        "e2",
        "e0",
    ]
    for invalid in ("oldest", "", 1, ["time"]):
        with pytest.raises(InvalidValue) as caught:
            await events.list(order=invalid)
        assert caught.value.fields == ("order",)


async def test_exists_accepts_an_event_id_or_filters(timeline: None):
    assert await events.exists("e1")
    assert not await events.exists("e9")
    assert await events.exists(session_id="s1", event_type="play")
    assert not await events.exists(session_id="s1", until=minute(0))


async def test_delete_where_deletes_matching_events_only(timeline: None):
    assert await events.delete_where(session_id="s1", until=minute(4), batch=1) == 2
    assert ids(await events.list()) == ["e1", "e3", "e4", "e5"]
    assert await events.delete_where(session_id="s1", until=minute(4)) == 0
    with pytest.raises(InvalidValue) as caught:
        await events.delete_where()
    assert caught.value.fields == ("all_rows",)
    assert await events.delete_where(all_rows=True, batch=3) == 4
    assert await sessions.count() == 2


async def test_update_where_corrects_events_and_keeps_what_happened(timeline: None):
    before = await events.list()
    changes = BehavioralEventUpdate(network_type="4g", context=None)
    assert await events.update_where(changes, types=["play", "pause"], batch=2) == 4
    after = await events.list()
    assert [row.network_type for row in after] == ["4g", "4g", None, "4g", "4g", None]
    assert [(row.timestamp, row.event_type) for row in after] == [
        (row.timestamp, row.event_type) for row in before
    ]


async def test_upsert_inserts_an_event_or_corrects_the_stored_one(references: None):
    first, created = await events.upsert(new_event("e1", context={"a": 1}))
    assert created
    changed = new_event("e1", event_type="pause", context={"a": 2}, network_type="wifi")
    second, created_again = await events.upsert(changed)
    assert not created_again
    assert (second.context, second.network_type) == ({"a": 2}, "wifi")
    assert (second.event_type, second.timestamp) == (first.event_type, first.timestamp)
    assert (await events.upsert(new_event("e1", event_type="skip"))).row == second


async def test_upsert_of_an_event_too_far_ahead_is_invalid(references: None, db: DatabaseEngine):
    far = datetime.now(UTC) + timedelta(days=2)
    with pytest.raises(InvalidValue, match="ahead") as caught:
        async with db.transaction():
            await events.upsert(new_event("e1", timestamp=far, network_type="wifi"))
    assert caught.value.fields == ("timestamp",)
    assert not await events.exists("e1")


async def test_bulk_operations_on_likes_change_matching_likes_only(references: None):
    keys = [LikeKey(content, session) for content in ("c1", "c2") for session in ("s1", "s2")]
    for key in keys:
        await likes.like(key)
    removed = await likes.unlike(keys[0])
    assert await likes.update_where(LikeUpdate(reaction_type="love"), liked=True, batch=1) == 3
    assert {like.reaction_type for like in await likes.list(liked=True)} == {"love"}
    assert await likes.get(keys[0]) == removed
    assert await likes.delete_where(session_id="s1") == 2
    assert [LikeKey(like.content_id, like.session_id) for like in await likes.list()] == [
        keys[1],
        keys[3],
    ]


async def test_upsert_of_a_like_does_not_activate_it(references: None):
    key = LikeKey("c1", "s1")
    await likes.like(key)
    removed = await likes.unlike(key)
    imported = LikeCreate(content_id="c1", session_id="s1", liked=True, reaction_type="favorite")
    row, created = await likes.upsert(imported)
    assert not created
    assert (row.liked, row.unliked_at, row.reaction_type) == (False, removed.unliked_at, "favorite")
    row, created = await likes.upsert(LikeCreate(content_id="c2", session_id="s1", liked=True))
    assert created
    assert row.liked_at is not None


@pytest.fixture
async def old_sessions(db: DatabaseEngine) -> None:
    """Sessions s0 to s3, one started and last active per day, the lists of all with content c1."""
    await add_contents("c1")
    for n in range(4):
        day = OLD + timedelta(days=n)
        new = ListeningSessionCreate(id=f"s{n}", started_at=day, last_activity_at=day)
        await sessions.add(new)
        await sessions.append_content(f"s{n}", "c1")


async def test_sessions_are_listed_in_each_order(old_sessions: None):
    await sessions.touch("s0")
    assert [row.id for row in await sessions.list()] == ["s0", "s1", "s2", "s3"]
    newest = await sessions.list(order="newest", limit=2)
    assert [row.id for row in newest] == ["s3", "s2"]
    inactive = await sessions.list(order="least_recently_active", started_since=OLD)
    assert [row.id for row in inactive] == ["s1", "s2", "s3", "s0"]


async def test_delete_where_deletes_sessions_with_their_data_and_keeps_content(old_sessions: None):
    states = LearnerModelStateRepository()
    for n in range(4):
        await events.record(new_event(f"e{n}", session_id=f"s{n}"))
        await likes.like(LikeKey("c1", f"s{n}"))
        await states.get_or_create(f"s{n}")
    assert await sessions.delete_where(active_until=OLD + timedelta(days=3), batch=2) == 3
    assert [row.id for row in await sessions.list()] == ["s3"]
    assert ids(await events.list()) == ["e3"]
    assert [like.session_id for like in await likes.list()] == ["s3"]
    assert [state.session_id for state in await states.list()] == ["s3"]
    assert await contents.exists("c1")


async def test_update_where_changes_sessions_and_keeps_their_lists(old_sessions: None):
    changes = ListeningSessionUpdate(total_listening_time=60)
    assert await sessions.update_where(changes, started_since=OLD + timedelta(days=2)) == 2
    rows = await sessions.list()
    assert [row.total_listening_time for row in rows] == [0, 0, 60, 60]
    assert all(row.content_ids == ["c1"] for row in rows)


async def test_sessions_are_deleted_in_bulk_while_events_are_recorded(clone: DatabaseEngine):
    """Deletes are retried after a deadlock, batches create the deleted sessions again."""
    await add_contents("c1")
    await ensure_sessions(*(f"s{n}" for n in range(10)))
    done = asyncio.Event()

    async def record(worker: int) -> None:
        number = 0
        while not done.is_set():
            number += 1
            batch = [event(f"e{worker} {number} {n}", session_id=f"s{n}") for n in range(10)]
            result = await events.record_batch(batch, ensure_sessions=True)
            assert (result.recorded, result.failed) == (10, [])

    workers = [asyncio.create_task(record(worker)) for worker in range(4)]
    deleted = [await sessions.delete_where(all_rows=True, batch=3) for _ in range(10)]
    done.set()
    await asyncio.gather(*workers)
    assert sum(deleted) >= 10
    assert await sessions.count() <= 10


async def test_20_concurrent_upserts_insert_an_event_once(clone: DatabaseEngine):
    await add_contents("c1")
    await ensure_sessions("s1")

    def version(n: int) -> BehavioralEventCreate:
        return new_event("e1", context={"n": n})

    results = await asyncio.gather(*(events.upsert(version(n)) for n in range(20)))
    assert sum(created for _, created in results) == 1
    assert (await events.get("e1")).context in [{"n": n} for n in range(20)]
    assert await events.count() == 1


async def test_lists_of_a_session_are_sorted_and_streams_follow_the_index(references: None):
    """A sort in every page of a stream would make a long stream quadratic."""
    events.statements._statements.clear()
    await events.list(session_id="s1")
    assert [row async for row in events.stream(session_id="s1")] == []
    sql = {statement.name: statement.sql for statement in events.statements._statements.values()}
    assert "OFFSET 0" in sql["behavioral_events.list"]
    assert "OFFSET 0" not in sql["behavioral_events.stream"]


async def test_the_content_is_read_only_for_events_without_characteristics(references: None):
    """The subquery costs a third of the server's time of an insert, also if it is not needed."""
    events.statements._statements.clear()
    own = {"format": "own"}
    adds = (events.add, events.record, events.upsert)
    for number, add in enumerate(adds):
        for given, stored in ((own, own), (None, TRAITS)):
            new = new_event(f"e{number}{given is None}", content_characteristics=given)
            await add(new)
            assert (await events.get(new.id)).content_characteristics == stored
    statements = [it for it in events.statements._statements.values() if "INSERT" in it.sql]
    assert sorted("SELECT" in statement.sql for statement in statements) == [False] * 2 + [True] * 2
    mixed = [new_event(f"m{n}", content_characteristics=own if n else None) for n in range(3)]
    stored_mixed = await events.add_many(mixed)
    assert [event.content_characteristics for event in stored_mixed] == [TRAITS, own, own]
    assert await events.add_many(mixed[:0]) == []
