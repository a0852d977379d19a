"""Keyword arguments of the repositories of content and listening are validated, not converted."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from learner_app.content.repositories import ContentRepository
from learner_app.errors import InvalidValue
from learner_app.listening.repositories import (
    BehavioralEventRepository,
    LikeRepository,
    ListeningSessionRepository,
)
from learner_app.listening.rows import BehavioralEventCreate, LikeCreate, LikeKey
from tests.listening.factories import event, new_event

content, sessions = ContentRepository(), ListeningSessionRepository()
events, likes = BehavioralEventRepository(), LikeRepository()
KEY = LikeKey("c1", "s1")
AUDIO: dict[str, Any] = {"url": "https://a.example/1", "format": "mp3", "duration": 1}
Call = Callable[[Any], Any]


async def sink(_rows: list[Any]) -> None: ...


async def first(rows: Any) -> Any:
    return await anext(rows, None)


TIMES: dict[str, Call] = {
    "touch at": lambda at: sessions.touch("s1", at=at),
    "list_inactive before": lambda at: sessions.list_inactive(at),
    "delete_inactive before": lambda at: sessions.delete_inactive(at),
    "sessions.page active_until": lambda at: sessions.page(active_until=at),
    "sessions.count started_since": lambda at: sessions.count(started_since=at),
    "content.list generated_since": lambda at: content.list(generated_since=at),
    "content.count generated_until": lambda at: content.count(generated_until=at),
    "list_for_session since": lambda at: events.list_for_session("s1", since=at),
    "list_for_content until": lambda at: events.list_for_content("c1", until=at),
    "events.page since": lambda at: events.page(since=at),
    "engagement_by since": lambda at: events.engagement_by("genre", since=at),
    "engagement_by until": lambda at: events.engagement_by("genre", until=at),
    "delete_before before": lambda at: events.delete_before(at),
    "archive_before before": lambda at: events.archive_before(at, sink),
    "export since": lambda at: first(events.export(since=at)),
    "stream until": lambda at: first(events.stream(until=at)),
    "count_by since": lambda at: likes.count_by("genre", since=at),
    "count_by until": lambda at: likes.count_by("genre", until=at),
    "top_content since": lambda at: likes.top_content(since=at),
}
NAIVE = datetime(2026, 1, 2)  # noqa: DTZ001  # the test needs a naive datetime


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize(
    "wrong",
    [0, 1_767_312_000, 1.5, "1767312000", "2026-01-02T00:00:00Z", True, NAIVE, NAIVE.date()],
    ids=repr,
)
async def test_times_must_be_datetimes_with_a_time_zone(references: None, name: str, wrong: Any):
    with pytest.raises(InvalidValue) as caught:
        await TIMES[name](wrong)
    assert caught.value.fields == (name.split()[1],)


@pytest.mark.parametrize("name", TIMES)
async def test_datetimes_are_accepted(references: None, name: str):
    await TIMES[name](datetime(2026, 1, 2, tzinfo=UTC))


WHOLE_NUMBERS: dict[str, Call] = {
    "content.page limit": lambda n: content.page(limit=n),
    "content.list limit": lambda n: content.list(limit=n),
    "list_for_session limit": lambda n: content.list_for_session("s1", limit=n),
    "list_series limit": lambda n: content.list_series("s1", "a", limit=n),
    "attach_audio duration": lambda n: content.attach_audio("c1", **{**AUDIO, "duration": n}),
    "attach_audio bitrate": lambda n: content.attach_audio("c1", **AUDIO, bitrate=n),
    "attach_audio size": lambda n: content.attach_audio("c1", **AUDIO, size=n),
    "list_content limit": lambda n: sessions.list_content("s1", limit=n),
    "list_inactive limit": lambda n: sessions.list_inactive(datetime.now(UTC), limit=n),
    "delete_inactive batch": lambda n: sessions.delete_inactive(datetime.now(UTC), batch=n),
    "events.list_for_session limit": lambda n: events.list_for_session("s1", limit=n),
    "recent_for_session limit": lambda n: events.recent_for_session("s1", limit=n),
    "find_by_characteristics limit": lambda n: events.find_by_characteristics({"a": 1}, limit=n),
    "delete_before batch": lambda n: events.delete_before(datetime.now(UTC), batch=n),
    "archive_before batch": lambda n: events.archive_before(datetime.now(UTC), sink, batch=n),
    "top_content limit": lambda n: likes.top_content(limit=n),
    "list_for_session(likes) limit": lambda n: likes.list_for_session("s1", limit=n),
}


@pytest.mark.parametrize("name", WHOLE_NUMBERS)
@pytest.mark.parametrize("wrong", ["10", 10.0, 1.5, True, b"10", [10]], ids=repr)
async def test_whole_numbers_must_be_integers(references: None, name: str, wrong: Any):
    with pytest.raises(InvalidValue) as caught:
        await WHOLE_NUMBERS[name](wrong)
    assert caught.value.fields == (name.split()[1],)


NUMBERS: dict[str, Call] = {
    "set_quality_score quality_score": lambda n: content.set_quality_score("c1", n),
    "content.list min_quality": lambda n: content.list(min_quality=n),
    "add_listening_time seconds": lambda n: sessions.add_listening_time("s1", n),
    "event playback_position": lambda n: events.record(new_event("e1", playback_position=n)),
    "event playback_position_percent": lambda n: events.record(
        new_event("e1", playback_position_percent=n)
    ),
    "event duration": lambda n: events.record(new_event("e1", duration=n)),
}


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("wrong", ["1", "0.5", b"1", True, float("nan"), float("inf")], ids=repr)
async def test_numbers_must_be_finite_and_not_text(references: None, name: str, wrong: Any):
    with pytest.raises(InvalidValue) as caught:
        await NUMBERS[name](wrong)
    assert caught.value.fields == (name.split()[1],)
    assert "string" not in str(caught.value), "the message suggests a type that is rejected"


FLAGS: dict[str, Call] = {
    "append_content make_current": lambda f: sessions.append_content("s1", "c1", make_current=f),
    "append_many make_current": lambda f: sessions.append_many("s1", ["c1"], make_current=f),
    "record_batch ensure_sessions": lambda f: events.record_batch([event()], ensure_sessions=f),
    "ingest ensure_sessions": lambda f: events.ingest(no_events(), ensure_sessions=f),
    "likes.count liked": lambda f: likes.count(liked=f),
    "LikeCreate liked": lambda f: likes.add(LikeCreate(content_id="c1", session_id="s1", liked=f)),
}


async def no_events() -> Any:
    for one in ():
        yield one


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize("wrong", ["false", "true", 0, 1, None, "yes"], ids=repr)
async def test_flags_must_be_booleans(references: None, name: str, wrong: Any):
    with pytest.raises(InvalidValue) as caught:
        await FLAGS[name](wrong)
    assert caught.value.fields == (name.split()[1],)


@pytest.mark.parametrize(
    "wrong", [1_767_312_000, 1.5, "1767312000", "2026-01-02", "2026-01-02T00:00:00", True], ids=repr
)
async def test_event_timestamps_must_be_iso_8601_with_a_time_zone(references: None, wrong: Any):
    """Inputs accept ISO 8601 text, since JSON has no type for times."""
    with pytest.raises(InvalidValue) as caught:
        BehavioralEventCreate(**event(timestamp=wrong))
    assert caught.value.fields == ("timestamp",)
    batch = await events.record_batch([event("e1", timestamp=wrong)])
    assert [failure.reason.split(":")[0] for failure in batch.failed] == ["timestamp"]
    good = await events.record_batch([event("e1", timestamp="2026-01-02T00:00:00Z")])
    assert good.recorded == 1


@pytest.mark.parametrize("reaction", ["hate", "", 5, True, "Like", b"like"], ids=repr)
async def test_unknown_reactions_are_invalid(references: None, reaction: Any):
    for step in (likes.like, likes.toggle):
        with pytest.raises(InvalidValue) as caught:
            await step(KEY, reaction)
        assert caught.value.fields == ("reaction",)
    with pytest.raises(InvalidValue):
        await likes.count(reaction_type=reaction)


async def test_a_sink_must_be_callable(references: None):
    for wrong in (None, "sink", 1):
        with pytest.raises(InvalidValue) as caught:
            await events.archive_before(datetime.now(UTC), wrong)  # type: ignore[arg-type]
        assert caught.value.fields == ("sink",)


async def test_engagement_ignores_ids_that_are_not_text(references: None):
    ids: list[Any] = [["c1"], None, 1, {"c1": 1}, "c1", "a\0"]
    assert list(await events.engagement_for_contents(ids)) == ["c1", "a\0"]
