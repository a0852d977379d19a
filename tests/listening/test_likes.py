"""Likes have one row per session and content, also under concurrency."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue, MissingReference, NotFound
from learner_app.listening.repositories import LikeRepository
from learner_app.listening.rows import ContentLikes, Like, LikeCreate, LikeKey, LikeUpdate
from tests.content.factories import add_contents
from tests.examples import examples
from tests.listening.factories import ensure_sessions, minute

T = TypeVar("T")
likes = LikeRepository()
KEY = LikeKey(content_id="c1", session_id="s1")


async def test_liking_again_changes_nothing(references: None):
    first = await likes.like(KEY)
    assert (first.liked, first.reaction_type, first.unliked_at) == (True, "like", None)
    assert first.content_characteristics["genre"] == "mystery"
    assert await likes.like(KEY) == first
    loved = await likes.like(KEY, "love")
    assert (loved.reaction_type, loved.liked_at) == ("love", first.liked_at)
    assert await likes.like(KEY) == loved, "keeps the reaction"


async def test_unlike_keeps_the_row_and_the_time_of_the_first_like(references: None):
    with pytest.raises(NotFound):
        await likes.unlike(KEY)
    first = await likes.like(KEY, "favorite")
    removed = await likes.unlike(KEY)
    assert (removed.liked, removed.liked_at, removed.reaction_type) == (
        False,
        first.liked_at,
        "favorite",
    )
    assert removed.unliked_at is not None
    assert await likes.unlike(KEY) == removed
    again = await likes.like(KEY)
    assert (again.liked, again.liked_at, again.unliked_at) == (True, first.liked_at, None)
    assert again.created_at == first.created_at
    with pytest.raises(NotFound):
        await likes.unlike(LikeKey("c1", "s\0"))


async def test_unlike_of_a_row_that_was_never_liked_is_not_found(references: None):
    await likes.add(LikeCreate(content_id="c1", session_id="s1"))
    with pytest.raises(NotFound):
        await likes.unlike(KEY)


async def test_other_likes_of_session_and_content_are_unchanged(references: None):
    keys = [LikeKey(c, s) for c in ("c1", "c2") for s in ("s1", "s2")]
    rows = [await likes.like(key) for key in keys]
    await likes.unlike(KEY)
    await likes.update(KEY, LikeUpdate(reaction_type="love"))
    await likes.toggle(KEY)
    assert await likes.get_many(keys[1:]) == rows[1:]
    assert await likes.delete(KEY)
    assert not await likes.delete(KEY)
    assert await likes.get_many(keys) == rows[1:]


async def test_like_rejects_missing_references_and_invalid_arguments(references: None):
    for key in (LikeKey("nothing", "s1"), LikeKey("c1", "nobody")):
        with pytest.raises(MissingReference):
            async with likes.engine.transaction():
                await likes.like(key)
    with pytest.raises(InvalidValue):
        await likes.like(LikeKey("c\0", "s1"))
    with pytest.raises(InvalidValue) as caught:
        await likes.like(KEY, "hate")
    assert caught.value.fields == ("reaction",)


async def test_maps_lists_and_counts_of_likes(references: None):
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


async def test_toggle_with_another_reaction_changes_the_reaction(references: None):
    first = await likes.toggle(KEY)
    assert (first.liked, first.reaction_type) == (True, "like")
    for reaction in ("love", "favorite", "like"):
        row = await likes.toggle(KEY, reaction)
        assert (row.liked, row.reaction_type, row.unliked_at) == (True, reaction, None)
        assert row.liked_at == first.liked_at
    removed = await likes.toggle(KEY, "like")
    assert (removed.liked, removed.reaction_type, removed.liked_at) == (
        False,
        "like",
        first.liked_at,
    )
    back = await likes.toggle(KEY, "love")
    assert (back.liked, back.reaction_type, back.unliked_at) == (True, "love", None)
    removed = await likes.toggle(KEY)
    assert (removed.liked, removed.reaction_type) == (False, "love")
    assert removed.unliked_at is not None


async def test_toggle_removes_an_imported_like_without_reaction(references: None):
    for reaction in (None, "like"):
        await likes.delete(KEY)
        await likes.add(LikeCreate(content_id="c1", session_id="s1", liked=True))
        assert not (await likes.toggle(KEY, reaction)).liked
    await likes.delete(KEY)
    await likes.add(LikeCreate(content_id="c1", session_id="s1", liked=True))
    loved = await likes.toggle(KEY, "love")
    assert (loved.liked, loved.reaction_type) == (True, "love")


async def test_concurrent_toggles_to_different_reactions_keep_the_like(clone: DatabaseEngine):
    await add_contents("c1")
    await ensure_sessions("s1")
    first = await likes.like(KEY)
    for _ in range(10):
        rows = await asyncio.gather(*(likes.toggle(KEY, one) for one in ("love", "favorite")))
        assert [(row.liked, row.reaction_type) for row in rows] == [
            (True, "love"),
            (True, "favorite"),
        ]
        row = await likes.like(KEY, "like")
        assert row.liked_at == first.liked_at


@pytest.mark.parametrize("times", [21, 50])
async def test_the_parity_of_concurrent_toggles_decides_the_final_state(
    clone: DatabaseEngine, times: int
):
    await add_contents("c1")
    await ensure_sessions("s1")
    await asyncio.gather(*(likes.toggle(KEY) for _ in range(times)))
    row = await likes.get(KEY)
    assert row.liked == bool(times % 2)
    assert (row.unliked_at is None) == row.liked
    assert await likes.count() == 1


async def test_concurrent_first_likes_create_one_row(clone: DatabaseEngine):
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
    """Apply a step to the model, and return the class of the expected error or None."""
    liked, before = model.get(key, (False, "like"))
    known = before
    if step == "unlike" and key not in model:
        return NotFound
    if step == "delete":
        model.pop(key, None)
        return None
    if step != "unlike":
        known = reaction or known
    toggled = not liked or reaction not in (None, before)
    model[key] = ({"like": True, "unlike": False, "toggle": toggled}[step], known)
    return None


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
async def test_any_sequence_of_steps_agrees_with_the_model(references: None, steps: list):
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


async def test_an_imported_active_like_has_the_time_of_its_statement(
    db: DatabaseEngine, references: None
):
    """The whole test is one transaction, in which ``now()`` is constant."""
    before = await db.fetchval("SELECT statement_timestamp()")
    imported = await likes.add(LikeCreate(content_id="c1", session_id="s1", liked=True))
    assert imported.liked_at is not None
    assert before < imported.liked_at < await db.fetchval("SELECT statement_timestamp()")
    removed = await likes.unlike(KEY)
    assert (removed.liked, removed.liked_at) == (False, imported.liked_at)


async def test_like_and_unlike_return_the_state_they_wrote(clone: DatabaseEngine):
    """Concurrent writes of other callers are never returned."""
    await add_contents("c1")
    await ensure_sessions("s1")
    first = await likes.like(KEY)
    wrong: list[Like] = []

    async def repeat(step: Callable[[], Awaitable[Like]], liked: bool, reaction: str | None):
        for _ in range(100):
            row = await step()
            is_right = row.liked == liked and (row.unliked_at is None) == liked
            if not is_right or reaction not in (None, row.reaction_type):
                wrong.append(row)
            assert row.liked_at == first.liked_at

    await asyncio.gather(
        *[repeat(lambda: likes.like(KEY), True, None) for _ in range(2)],
        repeat(lambda: likes.like(KEY, "love"), True, "love"),
        repeat(lambda: likes.like(KEY, "favorite"), True, "favorite"),
        *[repeat(lambda: likes.unlike(KEY), False, None) for _ in range(4)],
    )
    assert not wrong, f"{len(wrong)} of 800"


async def test_like_unlike_and_toggle_are_one_statement_each(
    clone: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
):
    await add_contents("c1")
    await ensure_sessions("s1")
    sent: list[str] = []
    fetchrow = DatabaseEngine.fetchrow

    async def logged_fetchrow(engine: DatabaseEngine, sql: str, *args: Any, **options: Any) -> Any:
        sent.append(sql)
        return await fetchrow(engine, sql, *args, **options)

    monkeypatch.setattr(DatabaseEngine, "fetchrow", logged_fetchrow)
    for step in (likes.like, likes.like, likes.unlike, likes.unlike, likes.toggle, likes.toggle):
        sent.clear()
        await step(KEY)
        assert len(sent) == 1


async def test_repeated_likes_and_unlikes_write_nothing(references: None):
    like = await likes.like(KEY, "love")
    for reaction in (None, "love"):
        assert await likes.like(KEY, reaction) == like
    removed = await likes.unlike(KEY)
    assert await likes.unlike(KEY) == removed
    assert await likes.get(KEY) == removed


async def test_like_waits_for_an_uncommitted_unlike(clone: DatabaseEngine):
    await add_contents("c1")
    await ensure_sessions("s1")
    first = await likes.like(KEY)
    async with clone.transaction():
        await likes.unlike(KEY)
        waiting = asyncio.create_task(_elsewhere(likes.like(KEY)), context=Context())
        await asyncio.sleep(0.05)
        assert not waiting.done()
    row = await waiting
    assert (row.liked, row.unliked_at, row.liked_at) == (True, None, first.liked_at)
    assert await likes.get(KEY) == row


@pytest.mark.parametrize("liked_at", [None, minute(0)])
def test_an_active_like_cannot_have_a_time_of_removal(liked_at: datetime | None):
    fields: dict[str, Any] = {"content_id": "c1", "session_id": "s1", "liked_at": liked_at}
    with pytest.raises(InvalidValue) as caught:
        LikeCreate(**fields, liked=True, unliked_at=minute(1))
    assert caught.value.fields == ("unliked_at",)
    assert LikeCreate(**fields, liked=True, unliked_at=None).liked
    assert LikeCreate(**fields, unliked_at=minute(1)).unliked_at == minute(1)


async def test_unliked_at_is_after_liked_at_in_a_transaction_that_began_earlier(
    clone: DatabaseEngine,
):
    await add_contents("c1")
    await ensure_sessions("s1")
    async with clone.transaction():
        await clone.fetch("SELECT 1")
        await asyncio.create_task(_elsewhere(likes.like(KEY)), context=Context())
        row = await likes.unlike(KEY)
    assert row.liked_at is not None
    assert row.unliked_at is not None
    assert row.unliked_at > row.liked_at


async def _elsewhere(work: Awaitable[T]) -> T:
    """Await in a task with a new context, outside the transaction of the test."""
    return await work
