"""Likes: one row for session and piece, whatever happens at once."""

import asyncio
from collections.abc import Awaitable
from contextvars import Context
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue, MissingReference, NotFound
from learner_app.listening.repositories import LikeRepository
from learner_app.listening.rows import ContentLikes, LikeCreate, LikeKey, LikeUpdate
from tests.content.factories import add_contents
from tests.listening.factories import ensure_sessions

likes = LikeRepository()
KEY = LikeKey(content_id="c1", session_id="s1")


async def test_liking_again_changes_nothing(heard: None):
    first = await likes.like(KEY)
    assert (first.liked, first.reaction_type, first.unliked_at) == (True, "like", None)
    assert first.content_characteristics["genre"] == "mystery"
    assert await likes.like(KEY) == first
    loved = await likes.like(KEY, "love")
    assert (loved.reaction_type, loved.liked_at) == ("love", first.liked_at)
    assert await likes.like(KEY) == loved, "keeps the reaction"


async def test_unliking_keeps_the_row_and_its_first_time(heard: None):
    with pytest.raises(NotFound):
        await likes.unlike(KEY)
    first = await likes.like(KEY, "favorite")
    gone = await likes.unlike(KEY)
    assert (gone.liked, gone.liked_at, gone.reaction_type) == (False, first.liked_at, "favorite")
    assert gone.unliked_at is not None
    assert await likes.unlike(KEY) == gone
    again = await likes.like(KEY)
    assert (again.liked, again.liked_at, again.unliked_at) == (True, first.liked_at, None)
    with pytest.raises(NotFound):
        await likes.unlike(LikeKey("c1", "s\0"))


async def test_a_row_that_was_never_liked_cannot_be_unliked(heard: None):
    await likes.add(LikeCreate(content_id="c1", session_id="s1"))
    with pytest.raises(NotFound):
        await likes.unlike(KEY)


async def test_other_rows_of_session_and_piece_stay_as_they_are(heard: None):
    keys = [LikeKey(c, s) for c in ("c1", "c2") for s in ("s1", "s2")]
    rows = [await likes.like(key) for key in keys]
    await likes.unlike(KEY)
    await likes.update(KEY, LikeUpdate(reaction_type="love"))
    await likes.toggle(KEY)
    assert await likes.get_many(keys[1:]) == rows[1:]
    assert await likes.delete(KEY)
    assert not await likes.delete(KEY)
    assert await likes.get_many(keys) == rows[1:]


async def test_what_cannot_be_liked(heard: None):
    for key in (LikeKey("nothing", "s1"), LikeKey("c1", "nobody")):
        with pytest.raises(MissingReference):
            async with likes.engine.transaction():
                await likes.like(key)
    with pytest.raises(InvalidValue):
        await likes.like(LikeKey("c\0", "s1"))
    with pytest.raises(InvalidValue) as caught:
        await likes.like(KEY, "hate")
    assert caught.value.fields == ("reaction",)


async def test_maps_lists_and_counts(heard: None):
    mine = await likes.like(KEY)
    await likes.like(LikeKey("c2", "s1"))
    await likes.unlike(LikeKey("c2", "s1"))
    await likes.like(LikeKey("c1", "s2"))
    found = await likes.map_for_contents("s1", ["c2", "c1", "nothing", "x\0"])
    assert {name: like.liked for name, like in found.items()} == {"c1": True, "c2": False}
    assert (
        await likes.map_for_contents("s1", []) == await likes.map_for_contents("\0", ["c1"]) == {}
    )
    assert await likes.list_for_session("s1") == [mine]
    assert [await likes.count_likes(one) for one in ("c1", "c2", "nothing")] == [2, 0, 0]
    assert await likes.count_by("genre") == {"mystery": 2}
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    assert await likes.count_by("format", since=tomorrow) == {}
    assert await likes.top_content() == [ContentLikes("c1", 2)]
    assert await likes.top_content(since=tomorrow) == []
    await likes.like(LikeKey("c2", "s2"))
    assert await likes.top_content(limit=1) == [("c1", 2)]


@pytest.mark.parametrize("times", [21, 50])
async def test_toggles_at_once_end_in_the_right_state(clone: DatabaseEngine, times: int):
    await add_contents("c1")
    await ensure_sessions("s1")
    await asyncio.gather(*(likes.toggle(KEY) for _ in range(times)))
    row = await likes.get(KEY)
    assert row.liked == bool(times % 2)
    assert (row.unliked_at is None) == row.liked
    assert await likes.count() == 1


async def test_first_likes_at_once_make_one_row(clone: DatabaseEngine):
    await add_contents("c1")
    await ensure_sessions("s1")
    rows = await asyncio.gather(*(likes.like(KEY) for _ in range(20)))
    assert all(row == rows[0] for row in rows)


KEYS = st.sampled_from([LikeKey(c, s) for c in ("c1", "c2") for s in ("s1", "s2")])
REACTIONS = st.sampled_from([None, "like", "love", "favorite"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["like", "unlike", "toggle", "delete"]), KEYS, REACTIONS)
)


def expected(model: dict[LikeKey, tuple[bool, str]], step: str, key: LikeKey, reaction: str | None):
    """The state after a step by a model of a few lines; an error for what is not possible."""
    liked, known = model.get(key, (False, "like"))
    if step == "unlike" and key not in model:
        return NotFound
    if step == "delete":
        model.pop(key, None)
        return None
    if step != "unlike":
        known = reaction or known
    model[key] = ({"like": True, "unlike": False, "toggle": not liked}[step], known)
    return None


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
async def test_any_sequence_does_what_the_model_does(heard: None, steps: list):
    for key in [LikeKey(c, s) for c in ("c1", "c2") for s in ("s1", "s2")]:
        await likes.delete(key)
    model: dict[LikeKey, tuple[bool, str]] = {}
    for step, key, reaction in steps:
        error = expected(model, step, key, reaction)
        arguments = (key, reaction) if step in ("like", "toggle") else (key,)
        if error:
            with pytest.raises(error):
                await getattr(likes, step)(*arguments)
        else:
            await getattr(likes, step)(*arguments)
    stored = {
        LikeKey(row.content_id, row.session_id): (row.liked, row.reaction_type)
        async for row in likes.stream()
    }
    assert stored == model


async def test_a_like_that_was_brought_along_has_a_time(heard: None):
    brought = await likes.add(LikeCreate(content_id="c1", session_id="s1", liked=True))
    assert brought.liked_at is not None
    gone = await likes.unlike(KEY)
    assert (gone.liked, gone.liked_at) == (False, brought.liked_at)


async def test_times_are_in_order_whoever_began_first(clone: DatabaseEngine):
    await add_contents("c1")
    await ensure_sessions("s1")
    async with clone.transaction():
        await clone.fetch("SELECT 1")
        await asyncio.create_task(_elsewhere(likes.like(KEY)), context=Context())
        row = await likes.unlike(KEY)
    assert row.liked_at is not None
    assert row.unliked_at is not None
    assert row.unliked_at > row.liked_at


async def _elsewhere(work: Awaitable[object]) -> None:
    await work
