"""Listening sessions: list of contents, current content, last activity and listening time."""

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from learner_app.content.repositories import ContentRepository
from learner_app.content.tables import ContentTable
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import (
    InvalidValue,
    MissingReference,
    NotFound,
    StaleVersion,
)
from learner_app.listening.repositories import ListeningSessionRepository
from learner_app.listening.rows import (
    Appended,
    ListeningSessionCreate,
    ListeningSessionUpdate,
    Position,
)
from tests.content.factories import add_contents

sessions = ListeningSessionRepository()


@pytest.fixture
async def session(db: DatabaseEngine) -> str:
    """Session with the contents a, b, c and d, none current. Content e exists too."""
    await add_contents("a", "b", "c", "d", "e")
    await sessions.add(ListeningSessionCreate(id="s1"))
    await sessions.append_many("s1", ["a", "b", "c", "d"])
    return "s1"


async def current(session: str = "s1") -> str | None:
    return (await sessions.get(session)).current_content_id


async def test_get_or_create_creates_a_session_once(db: DatabaseEngine):
    first, created = await sessions.get_or_create("s1")
    again, created_again = await sessions.get_or_create("s1")
    assert (created, created_again) == (True, False)
    assert first == again
    with pytest.raises(InvalidValue) as caught:
        await sessions.get_or_create("")
    assert caught.value.fields == ("id",)


async def test_activity_never_moves_back(session: str):
    now = datetime.now(UTC)
    later = await sessions.touch(session, at=now + timedelta(hours=1))
    assert later.last_activity_at == now + timedelta(hours=1)
    assert await sessions.touch(session, at=now) == later
    assert await sessions.touch(session) == later
    with pytest.raises(NotFound):
        await sessions.touch("nobody")
    with pytest.raises(InvalidValue) as caught:
        await sessions.touch(session, at=now.replace(tzinfo=None))
    assert caught.value.fields == ("at",)


async def test_append_keeps_order_without_duplicates(session: str):
    before = await sessions.get(session)
    assert await sessions.append_content(session, "b") == Appended(1, added=False)
    assert await sessions.get(session) == before, "the row was written"
    assert await sessions.append_content(session, "e", make_current=True) == Appended(4, added=True)
    assert await current() == "e"
    assert await sessions.append_content(session, "a", make_current=True) == (0, False)
    assert await current() == "a"
    assert (await sessions.get(session)).content_ids == ["a", "b", "c", "d", "e"]


async def test_append_many_is_all_or_nothing(session: str):
    before = await sessions.get(session)
    with pytest.raises(MissingReference) as caught:
        await sessions.append_many(session, ["e", "nothing"])
    assert caught.value.fields == ("content_id",)
    with pytest.raises(MissingReference):
        await sessions.append_content(session, "e\0")
    assert await sessions.get(session) == before
    assert await sessions.append_many(session, ["e", "b", "e"]) == [
        (4, True),
        (1, False),
        (4, False),
    ]
    assert await sessions.append_many(session, []) == []
    with pytest.raises(NotFound):
        await sessions.append_many("nobody", ["a"])


async def test_moves_stop_at_the_ends(session: str):
    forward = []
    while content := await sessions.move_next(session):
        forward.append(content.id)
        assert await current() == content.id
    assert forward == ["a", "b", "c", "d"]
    assert await current() == "d"
    back = []
    while content := await sessions.move_previous(session):
        back.append(content.id)
    assert back == ["c", "b", "a"]
    assert await current() == "a"


async def test_a_move_from_another_content_than_expected_is_stale(session: str):
    await sessions.set_current(session, "b")
    assert (await sessions.move_next(session, expect="b")).id == "c"
    with pytest.raises(StaleVersion) as caught:
        await sessions.move_next(session, expect="b")
    assert caught.value.fields == ("current_content_id",)
    with pytest.raises(StaleVersion):
        await sessions.move_next(session, expect="b\0")
    assert await current() == "c"


async def test_deleted_contents_are_skipped(session: str):
    await sessions.set_current(session, "b")
    await ContentTable.delete().where(ContentTable.id.is_in(["a", "c"]))
    assert (await sessions.next_content(session)).id == "d"
    assert await sessions.previous_content(session) is None
    assert await sessions.position(session) == Position(0, 2)
    assert [content.id for content in await sessions.list_content(session)] == ["b", "d"]
    assert await current() == "b", "reading changes nothing"
    assert (await sessions.move_next(session)).id == "d"
    with pytest.raises(MissingReference):
        await sessions.set_current(session, "c")
    with pytest.raises(InvalidValue):
        await sessions.set_current(session, "e")
    with pytest.raises(NotFound):
        await sessions.set_current("nobody", "a")


async def test_position_without_a_current_content(session: str):
    assert await sessions.position(session) == (None, 4)
    assert await sessions.position("nobody") == (None, 0)


@pytest.mark.parametrize(
    ("at", "removed", "left"), [("b", "b", "a"), ("a", "a", "b"), ("b", "c", "b"), ("b", "e", "b")]
)
async def test_removing_the_current_content_makes_a_neighbor_current(
    session: str, at: str, removed: str, left: str
):
    await sessions.set_current(session, at)
    row = await sessions.remove_content(session, removed)
    assert row.current_content_id == left
    assert row.content_ids == [item for item in "abcd" if item != removed]
    assert await sessions.get(session) == row


async def test_removing_all_contents_leaves_none_current(session: str):
    await sessions.set_current(session, "a")
    for content_id in "abcd":
        row = await sessions.remove_content(session, content_id)
    assert (row.content_ids, row.current_content_id) == ([], None)
    with pytest.raises(NotFound):
        await sessions.remove_content("nobody", "a")


async def test_listening_time_adds_up(session: str):
    for seconds in (10, 1.0, Decimal("1800.00"), Decimal("1E+2"), 0, -0.0):
        row = await sessions.add_listening_time(session, seconds)
    assert row.total_listening_time == 10 + 1 + 1800 + 100
    with pytest.raises(NotFound):
        await sessions.add_listening_time("nobody", 1)


@pytest.mark.parametrize(
    "seconds",
    [
        *(0.4, 0.5, 1.0000001, Decimal("1799.5"), Decimal("1E-30"), 1e-300, "1", "1.0", b"1", None),
        *(-1, -0.5, float("nan"), float("inf"), 1800.1, 1801, 10**9, Decimal("1E+999999"), True),
        *(Decimal("NaN"), Decimal("sNaN"), timedelta(seconds=1), [1]),
    ],
)
async def test_listening_time_that_cannot_be_stored_exactly_is_invalid(session: str, seconds: Any):
    with pytest.raises(InvalidValue) as caught:
        await sessions.add_listening_time(session, seconds)
    assert caught.value.fields == ("seconds",)
    assert (await sessions.get(session)).total_listening_time == 0


async def test_listening_time_beyond_the_column_is_invalid(session: str):
    most = 2**31 - 1
    await sessions.update(session, ListeningSessionUpdate(total_listening_time=most - 1))
    with pytest.raises(InvalidValue) as caught:
        await sessions.add_listening_time(session, 2)
    assert caught.value.fields == ("total_listening_time",)
    assert (await sessions.add_listening_time(session, 1)).total_listening_time == most


async def test_activity_more_than_a_day_ahead_is_invalid(session: str):
    now = datetime.now(UTC)
    before = await sessions.get(session)
    for at in (now + timedelta(days=1, minutes=1), now + timedelta(days=10_000)):
        with pytest.raises(InvalidValue) as caught:
            await sessions.touch(session, at=at)
        assert caught.value.fields == ("at",)
        assert "ahead" in str(caught.value)
        with pytest.raises(NotFound):
            await sessions.touch("nobody", at=at)
    assert await sessions.get(session) == before
    nearly = now + timedelta(hours=23)
    assert (await sessions.touch(session, at=nearly)).last_activity_at == nearly


async def test_activity_too_far_ahead_is_invalid_even_before_the_stored_one(session: str):
    far = datetime.now(UTC) + timedelta(days=100)
    await sessions.add(ListeningSessionCreate(id="far", last_activity_at=far))
    with pytest.raises(InvalidValue):
        await sessions.touch("far", at=far - timedelta(days=1))
    assert (await sessions.touch("far")).last_activity_at == far


async def test_clear_empties_the_list(session: str):
    await sessions.set_current(session, "b")
    row = await sessions.clear(session)
    assert (row.content_ids, row.current_content_id) == ([], None)


async def test_inactive_sessions_are_deleted_in_batches(db: DatabaseEngine):
    old = datetime(2026, 1, 1, tzinfo=UTC)
    await sessions.add_many(
        [
            ListeningSessionCreate(id=f"s{n}", last_activity_at=old + timedelta(days=n))
            for n in range(5)
        ]
    )
    limit = old + timedelta(days=3)
    assert [row.id for row in await sessions.list_inactive(limit)] == ["s0", "s1", "s2"]
    assert [await sessions.delete_inactive(limit, batch=2) for _ in range(3)] == [2, 1, 0]
    assert await sessions.count() == 2


async def test_delete_content_removes_it_from_all_lists(session: str):
    await sessions.get_or_create("s2")
    await sessions.append_many("s2", ["b", "c"])
    await sessions.set_current("s2", "b")
    await sessions.set_current(session, "b")
    assert await sessions.delete_content("b")
    assert not await sessions.delete_content("b")
    assert not await sessions.delete_content("b\0")
    assert (await sessions.get("s2")).content_ids == ["c"]
    assert [await current(), await current("s2")] == ["a", "c"]
    assert not await ContentRepository().exists("b")


async def test_50_concurrent_appends_are_all_stored(clone: DatabaseEngine):
    names = [f"c{n:02}" for n in range(50)]
    await add_contents(*names)
    await sessions.get_or_create("s1")
    results = await asyncio.gather(*(sessions.append_content("s1", name) for name in names * 2))
    assert Counter(result.added for result in results) == {True: 50, False: 50}
    listed = (await sessions.get("s1")).content_ids
    assert sorted(listed) == names
    assert all(
        listed[result.position] == name for name, result in zip(names * 2, results, strict=True)
    )


async def test_20_concurrent_get_or_create_calls_create_one_session(clone: DatabaseEngine):
    results = await asyncio.gather(*(sessions.get_or_create("s1") for _ in range(20)))
    assert sum(created for _, created in results) == 1
    first, _ = results[0]
    assert all(session == first for session, _ in results)
    assert await sessions.count() == 1


async def test_one_of_20_concurrent_moves_from_the_same_content_succeeds(clone: DatabaseEngine):
    await add_contents("a", "b", "c")
    await sessions.get_or_create("s1")
    await sessions.append_many("s1", ["a", "b", "c"], make_current=True)
    moves = (sessions.move_next("s1", expect="a") for _ in range(20))
    results = await asyncio.gather(*moves, return_exceptions=True)
    kinds = Counter(type(result).__name__ for result in results)
    assert kinds == {"Content": 1, "StaleVersion": 19}
    assert await current() == "b"


async def test_concurrent_listening_times_and_activities_are_all_applied(clone: DatabaseEngine):
    await sessions.get_or_create("s1")
    start = datetime.now(UTC) + timedelta(hours=1)
    await asyncio.gather(
        *(sessions.add_listening_time("s1", 2) for _ in range(50)),
        *(sessions.touch("s1", at=start + timedelta(seconds=n * 7 % 50)) for n in range(50)),
    )
    row = await sessions.get("s1")
    assert row.total_listening_time == 100
    assert row.last_activity_at == start + timedelta(seconds=49)


async def test_content_deleted_during_an_append_is_in_no_list(clone: DatabaseEngine):
    names = [f"c{n}" for n in range(10)]
    await add_contents(*names)
    await asyncio.gather(*(sessions.get_or_create(f"s{n}") for n in range(10)))

    async def append(session: str, name: str) -> None:
        with suppress(MissingReference):
            await sessions.append_content(session, name, make_current=True)

    await asyncio.gather(
        *(append(f"s{n}", name) for n in range(10) for name in names),
        *(sessions.delete_content(name) for name in names[::2]),
    )
    async for row in sessions.stream():
        assert set(row.content_ids) == set(names[1::2])
        assert row.current_content_id in {*names[1::2], None}
