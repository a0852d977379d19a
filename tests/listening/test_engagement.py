"""Engagement agrees with a computation of its definitions in Python."""

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from learner_app.content.repositories import ContentRepository
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue
from learner_app.listening.repositories import BehavioralEventRepository, LikeRepository
from learner_app.listening.rows import Engagement, LikeKey
from tests.content.factories import add_contents
from tests.listening.factories import ensure_sessions, event

events, likes = BehavioralEventRepository(), LikeRepository()
START = datetime(2026, 9, 1, tzinfo=UTC)
KINDS = ["play", "pause", "complete", "complete-with-replay", "skip", "skip-forward", "replay"]


def computed(events_of_group: list[dict[str, Any]], like_count: int) -> Engagement:
    def fraction(*prefixes: str) -> float:
        return len([e for e in events_of_group if e["event_type"].startswith(prefixes)]) / len(
            events_of_group
        )

    plays = len([e for e in events_of_group if e["event_type"] == "play"])
    completions = len([e for e in events_of_group if e["event_type"].startswith("complete")])
    furthest: dict[tuple[str, str], int] = defaultdict(int)
    for one in events_of_group:
        place = (one["content_id"], one["session_id"])
        furthest[place] = max(furthest[place], one["playback_position"])
    return Engagement(
        plays,
        completions,
        min(completions / plays, 1.0),
        pytest.approx(sum(furthest.values()) / len(furthest)),
        like_count,
        pytest.approx(fraction("skip")),
        pytest.approx(fraction("replay")),
        max(one["timestamp"] for one in events_of_group),
    )


@pytest.fixture
async def recorded(db: DatabaseEngine) -> list[dict[str, Any]]:
    await add_contents("c1", "c2", genre="mystery")
    await add_contents("c3", genre=None, format="podcast")
    await ensure_sessions("s1", "s2", "s3")
    batch = [
        event(
            f"e{n}",
            content_id=random.choice(["c1", "c2", "c3"]),
            session_id=random.choice(["s1", "s2", "s3"]),
            event_type=random.choice(KINDS),
            playback_position=random.randrange(300),
            timestamp=START + timedelta(hours=n),
        )
        for n in range(200)
    ]
    assert (await events.record_batch(batch)).recorded == 200
    for key in (LikeKey("c1", "s1"), LikeKey("c1", "s2"), LikeKey("c2", "s1"), LikeKey("c3", "s1")):
        await likes.like(key)
    await likes.unlike(LikeKey("c1", "s2"))
    return batch


async def test_engagement_of_contents(recorded: list[dict[str, Any]]):
    found = await events.engagement_for_contents(["c2", "c1", "nothing", "x\0"])
    for name in ("c1", "c2"):
        mine = [one for one in recorded if one["content_id"] == name]
        assert found[name] == computed(mine, 1)
    nothing = Engagement(0, 0, 0.0, 0.0, 0, 0.0, 0.0, None)
    assert list(found) == ["c2", "c1", "nothing", "x\0"]
    assert found["nothing"] == found["x\0"] == nothing
    assert await events.engagement_for_content("c1") == found["c1"]


async def test_engagement_by_characteristics(recorded: list[dict[str, Any]]):
    mystery = [one for one in recorded if one["content_id"] != "c3"]
    other = [one for one in recorded if one["content_id"] == "c3"]
    assert await events.engagement_by("genre") == {
        "mystery": computed(mystery, 2),
        None: computed(other, 1),
    }
    assert set(await events.engagement_by("format")) == {"narrative", "podcast"}
    assert list(await events.engagement_by("template")) == ["t1"]
    since, until = START + timedelta(hours=50), START + timedelta(hours=120)
    ranged = await events.engagement_by("genre", since=since, until=until)
    assert ranged["mystery"] == computed(
        [one for one in mystery if since <= one["timestamp"] < until], 0
    )
    assert (await events.engagement_by("genre", since=since))["mystery"].like_count == 2
    assert list(await events.engagement_by("difficulty", until=START)) == []
    with pytest.raises(InvalidValue) as caught:
        await events.engagement_by("colour")
    assert caught.value.fields == ("dimension",)


async def test_groups_beyond_the_first_thousand_events_keep_their_likes(db: DatabaseEngine):
    names = [f"p{n:04}" for n in range(1010)]
    await add_contents(*names)
    for number, name in enumerate(names):
        await db.execute("UPDATE content SET template_id = $2 WHERE id = $1", name, f"t{number:04}")
    await ensure_sessions("s1")
    await events.record_batch([event(f"e{name}", content_id=name) for name in names[5:1005]])
    for name in names[::-1][:20]:
        await likes.like(LikeKey(name, "s1"))
    found = await events.engagement_by("template")
    assert len(found) == len(await likes.count_by("template")) + 980 == 1000
    assert found["t1004"].like_count == 1


async def store(*positions: Any, **fields: Any) -> None:
    """Record each position in a session of its own, in a content of 300 seconds."""
    sessions = [f"p{number}" for number in range(len(positions))]
    batch = [
        event(session_id=session, playback_position=position, **fields)
        for session, position in zip(sessions, positions, strict=True)
    ]
    assert not (await events.record_batch(batch, ensure_sessions=True)).failed


async def mean_positions() -> set[float]:
    """Return the results of both queries, a set of one value if they agree."""
    by_content = await events.engagement_for_content("c1")
    by_genre = await events.engagement_by("genre")
    return {
        by_content.average_listening_duration,
        by_genre["mystery"].average_listening_duration,
    }


async def test_one_impossible_position_does_not_change_the_mean(db: DatabaseEngine):
    await add_contents("c1", duration=300)
    await store(100, 110, 120)
    assert await mean_positions() == {110}
    for impossible in (99_999_999.99, 86_400, 601):
        await events.record_batch([event(session_id="p0", playback_position=impossible)])
        await events.record_batch(
            [event(session_id="other", playback_position=impossible)], ensure_sessions=True
        )
        assert await mean_positions() == {110}


async def test_a_position_past_the_end_counts_as_the_end(db: DatabaseEngine):
    await add_contents("c1", duration=300)
    await store(90, 300.4, 600)
    assert await mean_positions() == {230}


@pytest.mark.parametrize("position", ["NaN", "-50", "99999999.99"])
async def test_positions_that_no_operation_stores_are_ignored(db: DatabaseEngine, position: str):
    await add_contents("c1", duration=300)
    await store(100, 50)
    sql = (
        "UPDATE behavioral_events SET playback_position = $1::text::numeric WHERE session_id = 'p1'"
    )
    await db.execute(sql, position)
    assert await mean_positions() == {100}


async def test_the_mean_of_impossible_positions_is_zero(db: DatabaseEngine):
    await add_contents("c1", duration=300)
    await store(10**6, 10**7)
    assert await mean_positions() == {0.0}


async def test_completion_rates_are_at_most_one(db: DatabaseEngine):
    """A client may send more completions than plays, by replays or by loss of an event."""
    await add_contents("c1")
    await store(1, event_type="play")
    await store(1, 1, 1, event_type="complete")
    for found in (
        await events.engagement_for_content("c1"),
        (await events.engagement_by("genre"))["mystery"],
    ):
        assert (found.total_plays, found.total_completions) == (1, 3)
        assert found.average_completion_rate == 1.0
    await store(1, 1, 1, event_type="play")
    assert (await events.engagement_for_content("c1")).average_completion_rate == 3 / 4


async def test_engagement_is_stored_with_its_content(recorded: list[dict[str, Any]]):
    contents = ContentRepository()
    for content_id in ("c1", "c2"):
        found = await events.engagement_for_content(content_id)
        stored = (await contents.set_engagement_metrics(content_id, found)).engagement_metrics
        assert stored is not None
        assert stored["total_plays"] == found.total_plays
        assert stored["average_completion_rate"] == found.average_completion_rate
        assert msgspec.convert(stored, Engagement) == found
    await add_contents("c4")
    nothing = await events.engagement_for_content("c4")
    stored = (await contents.set_engagement_metrics("c4", nothing)).engagement_metrics
    assert stored == msgspec.structs.asdict(nothing)
    (by_genre, *_others) = (await events.engagement_by("genre")).values()
    assert (await contents.set_engagement_metrics("c4", by_genre)).engagement_metrics
