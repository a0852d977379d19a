"""Pieces: retries, audio, series and their numbers, metadata."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from learner_app.content.repositories import ContentRepository
from learner_app.content.rows import Content, ContentUpdate
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import (
    Conflict,
    InvalidValue,
    LockTimeout,
    NotFound,
    TransactionError,
    TransactionRequired,
)
from learner_app.repository.json_values import MAX_JSON_BYTES
from learner_app.repository.rows import StoredRow
from tests.content.factories import add_contents, new_content

content = ContentRepository()
START = datetime(2026, 1, 1, tzinfo=UTC)


async def add_episode(number: int | None, content_id: str, **fields: Any) -> Content:
    fields = {"series_id": "a", "session_id": "s1", **fields}
    return (await add_contents(content_id, episode_number=number, **fields))[0]


def test_content_has_no_delete():
    assert not hasattr(content, "delete")


async def test_adding_the_same_content_again_returns_the_stored_row(db: DatabaseEngine):
    full = {
        "metadata": {"a": [1, {"b": None}]},
        "quality_score": Decimal("0.555"),
        "difficulty_score": 0.1,
        "generated_at": START.astimezone(),
        "related_content_ids": ["x", "y"],
    }
    first, created = await content.add_idempotent(new_content(**full))
    assert created
    assert await content.add_idempotent(new_content(**full)) == (first, False)
    assert await content.add_idempotent(new_content()) == (first, False), (
        "omitted fields may differ"
    )
    assert await content.count() == 1


@pytest.mark.parametrize(
    "other", [{"title": "5ecret"}, {"genre": None}, {"metadata": {"a": 2}}, {"audio_format": None}]
)
async def test_different_content_with_the_same_id_is_a_conflict(
    db: DatabaseEngine, other: dict[str, Any]
):
    first, _ = await content.add_idempotent(new_content(metadata={"a": 1}))
    with pytest.raises(Conflict) as caught:
        await content.add_idempotent(new_content(**other))
    error = caught.value
    assert (error.table, error.constraint, error.fields) == ("content", "content_pkey", ("id",))
    assert next(iter(other)) in str(error)
    assert "5ecret" not in str(error)
    assert await content.get("c1") == first


async def test_20_concurrent_retries_store_one_content(clone: DatabaseEngine):
    results = await asyncio.gather(*(content.add_idempotent(new_content()) for _ in range(20)))
    assert {result.row.id for result in results} == {"c1"}
    assert [result.created for result in results].count(True) == 1
    assert await content.count() == 1


async def test_of_20_concurrent_different_contents_one_gets_the_id(clone: DatabaseEngine):
    calls = (content.add_idempotent(new_content(title=f"t{n}")) for n in range(20))
    results = await asyncio.gather(*calls, return_exceptions=True)
    won = [result for result in results if isinstance(result, StoredRow)]
    assert won == [(await content.get("c1"), True)]
    assert all(isinstance(result, Conflict) for result in results if result not in won)


async def test_attach_audio_replaces_all_audio_fields(db: DatabaseEngine):
    await add_contents("c1", audio_bitrate=64, audio_size=5)
    audio = {"url": "https://a/b.ogg", "format": "ogg", "duration": 61}
    row = await content.attach_audio("c1", **audio, bitrate=128, size=2**40)
    assert (row.audio_url, row.audio_format) == ("https://a/b.ogg", "ogg")
    assert (row.audio_bitrate, row.audio_size, row.duration) == (128, 2**40, 61)
    row = await content.attach_audio("c1", **audio)
    assert (row.audio_bitrate, row.audio_size) == (None, None)
    assert await content.get("c1") == row
    with pytest.raises(NotFound):
        await content.attach_audio("c2", **audio)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("url", "https://a/" + "x" * 991), ("url", "https://a\0"), ("url", None)),
        *(("url", "javascript:alert(1)"), ("url", "u"), ("format", "flac")),
        *(("duration", -1), ("bitrate", 0), ("bitrate", 2**31), ("size", -1), ("size", 2**63)),
    ],
)
async def test_wrong_audio_is_rejected(db: DatabaseEngine, field: str, value: Any):
    (before,) = await add_contents("c1")
    audio = {"url": "https://a/u", "format": "mp3", "duration": 1, field: value}
    with pytest.raises(InvalidValue) as caught:
        await content.attach_audio("c1", **audio)
    assert caught.value.fields == (field,)
    assert await content.get("c1") == before


async def test_list_for_session_returns_the_oldest_first(db: DatabaseEngine):
    for number, name in enumerate("cab"):
        await add_contents(name, generated_at=START + timedelta(days=number // 2))
    await add_contents("other", session_id="s2")
    assert [row.id for row in await content.list_for_session("s1")] == ["a", "c", "b"]
    assert [row.id for row in await content.list_for_session("s1", limit=1)] == ["a"]
    assert await content.list_for_session("nobody") == []
    with pytest.raises(InvalidValue):
        await content.list_for_session("s1", limit=0)


async def test_a_series_is_ordered_by_number(db: DatabaseEngine):
    for number, name in ((2, "b"), (None, "z"), (10, "c"), (1, "d")):
        await add_episode(number, name)
    await add_episode(11, "of another session", session_id="s2")
    await add_episode(12, "of another series", series_id="b")
    assert [row.id for row in await content.list_series("s1", "a")] == ["d", "b", "c", "z"]
    assert [row.id for row in await content.list_series("s1", "a", limit=2)] == ["d", "b"]
    latest = await content.latest_episode("s1", "a")
    assert latest is not None
    assert latest.id == "c"
    async with db.transaction():
        assert await content.next_episode_number("s1", "a") == 11


async def test_a_series_without_numbers_has_no_latest_episode(db: DatabaseEngine):
    await add_episode(None, "z")
    assert await content.latest_episode("s1", "a") is None
    assert await content.latest_episode("s1", "a\0") is None
    assert await content.list_series("s1\0", "a") == []
    async with db.transaction():
        assert await content.next_episode_number("s1", "a") == 1


async def test_20_concurrent_workers_get_20_numbers(clone: DatabaseEngine):
    async def work(worker: int) -> int:
        async with clone.transaction():
            number = await content.next_episode_number("s1", "a")
            await asyncio.sleep(0.001)
            await add_episode(number, f"c{worker}")
        return number

    assert sorted(await asyncio.gather(*map(work, range(20)))) == list(range(1, 21))
    numbers = [row.episode_number for row in await content.list_series("s1", "a")]
    assert numbers == list(range(1, 21))


async def test_a_number_is_reused_after_a_rollback(clone: DatabaseEngine):
    with pytest.raises(ZeroDivisionError):
        async with clone.transaction():
            await add_episode(await content.next_episode_number("s1", "a"), "lost")
            raise ZeroDivisionError
    async with clone.transaction():
        assert await content.next_episode_number("s1", "a") == 1


@asynccontextmanager
async def numbering(engine: DatabaseEngine, series: str) -> AsyncIterator[None]:
    """Another task is at the series meanwhile."""
    holds, done = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with engine.transaction():
            await content.next_episode_number("s1", series)
            holds.set()
            await done.wait()

    task = asyncio.create_task(hold())
    await holds.wait()
    try:
        yield
    finally:
        done.set()
        await task


async def test_series_do_not_wait_for_each_other(clone: DatabaseEngine):
    async with numbering(clone, "a"):
        async with clone.transaction():
            await clone.execute("SET LOCAL lock_timeout = '100ms'")
            assert await content.next_episode_number("s1", "b") == 1
            assert await content.next_episode_number("s2", "a") == 1
        with pytest.raises(LockTimeout):
            async with clone.transaction():
                await clone.execute("SET LOCAL lock_timeout = '100ms'")
                await content.next_episode_number("s1", "a")


async def test_a_number_needs_a_read_committed_transaction(clone: DatabaseEngine):
    with pytest.raises(TransactionRequired):
        await content.next_episode_number("s1", "a")
    for isolation in ("repeatable read", "serializable"):
        with pytest.raises(TransactionError):
            async with clone.transaction(isolation=isolation):
                await content.next_episode_number("s1", "a")


@pytest.mark.parametrize(
    ("session", "series", "wrong"),
    [("s1", "a\0", "series_id"), ("s1\0", "a", "session_id"), ("s1", None, "series_id")],
)
async def test_the_error_of_a_number_names_the_wrong_id(
    db: DatabaseEngine, session: str, series: Any, wrong: str
):
    async with db.transaction():
        with pytest.raises(InvalidValue) as caught:
            await content.next_episode_number(session, series)
    assert caught.value.fields == (wrong,)


async def test_concurrent_patches_of_different_keys_all_survive(clone: DatabaseEngine):
    await add_contents("c1", metadata={"kept": 1})
    await asyncio.gather(*(content.merge_metadata("c1", {f"k{n}": n}) for n in range(50)))
    assert (await content.get("c1")).metadata == {"kept": 1, **{f"k{n}": n for n in range(50)}}


@pytest.mark.parametrize("stored", ["NULL", "'null'", "'{}'"])
async def test_metadata_begins_with_the_first_patch(db: DatabaseEngine, stored: str):
    await add_contents("c1")
    await db.execute(f"UPDATE content SET metadata = {stored}")
    before = await content.get("c1")
    assert not before.metadata
    after = await content.merge_metadata("c1", {"a": {"b": 1}})
    assert after.metadata == {"a": {"b": 1}}
    assert after.updated_at > before.updated_at
    assert (await content.merge_metadata("c1", {"a": None})).metadata == {"a": None}
    assert (await content.merge_metadata("c1", {})).metadata == {"a": None}


async def test_metadata_over_the_limit_is_rejected(db: DatabaseEngine):
    await add_contents("c1", metadata={"a": "x" * (MAX_JSON_BYTES // 2)})
    before = await content.get("c1")
    with pytest.raises(InvalidValue) as caught:
        await content.merge_metadata("c1", {"b": "x" * (MAX_JSON_BYTES // 2)})
    assert caught.value.fields == ("metadata",)
    assert await content.get("c1") == before
    assert (await content.merge_metadata("c1", {"a": "y"})).metadata == {"a": "y"}


@pytest.mark.parametrize("patch", [None, [1], '{"a": 1}', {"a": "\0"}, {"a": {1: 2}}, {1: 2}])
async def test_a_patch_is_a_json_object(db: DatabaseEngine, patch: Any):
    await add_contents("c1")
    with pytest.raises(InvalidValue) as caught:
        await content.merge_metadata("c1", patch)
    assert (caught.value.fields, caught.value.table) == (("metadata",), "content")


async def test_a_patch_of_unknown_content_is_not_found(db: DatabaseEngine):
    for key in ("c2", "c\0"):
        with pytest.raises(NotFound):
            await content.merge_metadata(key, {"a": 1})
        with pytest.raises(NotFound):
            await content.set_engagement_metrics(key, {"a": 1})
        with pytest.raises(NotFound):
            await content.set_quality_score(key, 1)


async def test_engagement_and_quality_are_replaced(db: DatabaseEngine):
    (before,) = await add_contents("c1", engagement_metrics={"plays": 1})
    row = await content.set_engagement_metrics("c1", {"likes": 2})
    assert row.engagement_metrics == {"likes": 2}
    assert row.updated_at > before.updated_at
    scores = [await content.set_quality_score("c1", score) for score in (0.285, 1, Decimal(0))]
    assert [row.quality_score for row in scores] == [Decimal("0.29"), 1, 0]
    wrong: Any
    for wrong in (float("nan"), 1.005, -1, "good"):
        with pytest.raises(InvalidValue) as caught:
            await content.set_quality_score("c1", wrong)
        assert caught.value.fields == ("quality_score",)
    assert await content.get("c1") == scores[-1]


async def test_keys_and_places_cannot_be_changed():
    for field in ("id", "session_id", "series_id", "episode_number", "created_at", "updated_at"):
        with pytest.raises(InvalidValue) as caught:
            ContentUpdate.model_validate({field: "s2"})
        assert caught.value.fields == (field,)


@pytest.mark.parametrize("value", [1e23, 1e300, 0.1, 10**30, [1.0, {"a": 2.5e-7}]])
async def test_json_numbers_are_compared_as_postgresql_does(db: DatabaseEngine, value: Any):
    first, _ = await content.add_idempotent(new_content("c1", metadata={"x": value}))
    assert await content.add_idempotent(new_content("c1", metadata={"x": value})) == (first, False)
    with pytest.raises(Conflict):
        await content.add_idempotent(new_content("c1", metadata={"x": 2}))


async def test_an_empty_patch_writes_nothing(db: DatabaseEngine):
    (row,) = await add_contents("c1")
    assert await content.merge_metadata("c1", {}) == row


@pytest.mark.slow
async def test_metadata_near_the_limit_can_be_patched(db: DatabaseEngine):
    """The server counts spaces that are not sent."""
    await add_contents("c1")
    many = dict.fromkeys(map(str, range(90_000)), 1)
    await content.update("c1", ContentUpdate(metadata=many))
    assert (await content.merge_metadata("c1", {"one": "more"})).metadata == many | {"one": "more"}
    with pytest.raises(InvalidValue) as caught:
        await content.merge_metadata("c1", {"text": "x" * 200_000})
    assert caught.value.fields == ("metadata",)


async def test_scores_and_metrics_are_not_cleared_by_none(db: DatabaseEngine):
    await add_contents("c1", quality_score=Decimal("0.5"), engagement_metrics={"a": 1})
    for change in (content.set_quality_score, content.set_engagement_metrics):
        with pytest.raises(InvalidValue):
            await change("c1", None)
    assert (await content.get("c1")).quality_score == Decimal("0.5")


def test_digits_that_postgresql_adds_count_towards_the_limit():
    with pytest.raises(InvalidValue) as caught:
        ContentUpdate(metadata={"n": [1e300] * 10_000})
    assert caught.value.fields == ("metadata",)
    assert ContentUpdate(metadata={"n": ["1e999999999"] * 100}).metadata
