"""Every public operation of every repository, as it is called on the million events."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from learner_app.content.repositories import ContentRepository
from learner_app.content.rows import ContentUpdate
from learner_app.generation.repositories import GenerationRepository
from learner_app.generation.rows import GenerationCreate, GenerationUpdate
from learner_app.learner.repositories import LearnerModelStateRepository, UserPreferencesRepository
from learner_app.learner.rows import (
    LearnerModelState,
    LearnerModelStateCreate,
    LearnerModelStateUpdate,
    UserPreferencesCreate,
    UserPreferencesUpdate,
)
from learner_app.listening.repositories import (
    BehavioralEventRepository,
    LikeRepository,
    ListeningSessionRepository,
)
from learner_app.listening.rows import (
    BehavioralEventUpdate,
    LikeCreate,
    LikeKey,
    LikeUpdate,
    ListeningSessionCreate,
    ListeningSessionUpdate,
)
from learner_app.repository.base import Repository
from tests.content.factories import new_content
from tests.listening.factories import event, new_event
from tests.volume.million import START

content, sessions = ContentRepository(), ListeningSessionRepository()
events, likes = BehavioralEventRepository(), LikeRepository()
states, preferences = LearnerModelStateRepository(), UserPreferencesRepository()
jobs = GenerationRepository()
DAY = START + timedelta(days=1)
KEY = LikeKey("c7", "s1")
RARE = {"genre": "nothing like it"}
AnyRepository = Repository[Any, Any, Any, Any]


async def drained(rows: AsyncIterator[Any]) -> None:
    async for _row in rows:
        pass


async def prepare() -> None:
    """What some of the operations need."""
    await likes.like(KEY)
    for name in ("n1", "n2", "n3"):
        await sessions.get_or_create(name)
    await jobs.add(GenerationCreate(generation_id="open", session_id="s1"))
    await events.add(new_event("n1", content_id="c1", session_id="s1"))


def learn(state: LearnerModelState) -> LearnerModelState:
    return replace(state, data_points=state.data_points + 1)


async def claim_and_update() -> None:
    job = await jobs.claim_next()
    assert job is not None
    await jobs.update(job, GenerationUpdate(estimated_completion_time=1))
    await jobs.update("g1", GenerationUpdate(estimated_completion_time=1))


async def sink(_rows: list[Any]) -> None: ...


async def incoming() -> AsyncIterator[dict[str, Any]]:
    for n in range(10):
        yield event(f"n{n}", session_id="s1", content_id="c1")


OPERATIONS: dict[AnyRepository, dict[str, Callable[[], Any]]] = {
    content: {
        "get": lambda: content.get("c1", lock="no key update"),
        "find": lambda: content.find("c1"),
        "get_many": lambda: content.get_many(["c1", "c2"]),
        "exists": lambda: content.exists("c1"),
        "add": lambda: content.add(new_content("n1")),
        "add_many": lambda: content.add_many([new_content("n2")]),
        "add_idempotent": lambda: content.add_idempotent(new_content("n1")),
        "update": lambda: content.update("c1", ContentUpdate(title="x")),
        "count": lambda: content.count(session_id="s1"),
        "page": lambda: content.page(format="podcast", limit=10),
        "list": lambda: content.list(order="newest", format="podcast", generated_since=START),
        "update_where": lambda: content.update_where(ContentUpdate(genre="x"), session_id="s1"),
        "upsert": lambda: content.upsert(new_content("c1")),
        "stream": lambda: drained(content.stream(session_id="s1")),
        "attach_audio": lambda: content.attach_audio(
            "c1", url="https://u", format="mp3", duration=1
        ),
        "list_for_session": lambda: content.list_for_session("s1"),
        "list_series": lambda: content.list_series("s2", "series2"),
        "latest_episode": lambda: content.latest_episode("s2", "series2"),
        "next_episode_number": lambda: content.next_episode_number("s2", "series2"),
        "merge_metadata": lambda: content.merge_metadata("c1", {"a": 1}),
        "set_engagement_metrics": lambda: content.set_engagement_metrics("c1", {}),
        "set_quality_score": lambda: content.set_quality_score("c1", 1),
    },
    sessions: {
        "get": lambda: sessions.get("s1", lock="update"),
        "find": lambda: sessions.find("s1"),
        "get_many": lambda: sessions.get_many(["s1"]),
        "exists": lambda: sessions.exists("s1"),
        "add": lambda: sessions.add(ListeningSessionCreate()),
        "add_many": lambda: sessions.add_many([ListeningSessionCreate()]),
        "update": lambda: sessions.update("s1", ListeningSessionUpdate(total_listening_time=1)),
        "delete": lambda: sessions.delete("n1"),
        "count": lambda: sessions.count(active_until=DAY),
        "page": lambda: sessions.page(active_until=DAY),
        "stream": lambda: drained(sessions.stream(active_until=DAY)),
        "list": lambda: sessions.list(order="least_recently_active", active_until=DAY),
        "upsert": lambda: sessions.upsert(ListeningSessionCreate(id="s1", total_listening_time=1)),
        "get_or_create": lambda: sessions.get_or_create("n4"),
        "touch": lambda: sessions.touch("s1"),
        "append_content": lambda: sessions.append_content("s1", "c5"),
        "append_many": lambda: sessions.append_many("s1", ["c6", "c7"]),
        "set_current": lambda: sessions.set_current("s1", "c1"),
        "move_next": lambda: sessions.move_next("s1"),
        "move_previous": lambda: sessions.move_previous("s1"),
        "next_content": lambda: sessions.next_content("s1"),
        "previous_content": lambda: sessions.previous_content("s1"),
        "position": lambda: sessions.position("s1"),
        "list_content": lambda: sessions.list_content("s1", after="c1"),
        "remove_content": lambda: sessions.remove_content("s1", "c1"),
        "add_listening_time": lambda: sessions.add_listening_time("s1", 1),
        "clear": lambda: sessions.clear("s1"),
        "list_inactive": lambda: sessions.list_inactive(DAY),
        "delete_inactive": lambda: sessions.delete_inactive(START + timedelta(hours=1), batch=5),
    },
    events: {
        "get": lambda: events.get("e0000001"),
        "find": lambda: events.find("e0000001"),
        "get_many": lambda: events.get_many(["e0000001", "e0000002"]),
        "exists": lambda: events.exists("e0000001"),
        "add": lambda: events.add(new_event("n6")),
        "add_many": lambda: events.add_many([new_event("n2")]),
        "update": lambda: events.update("n1", BehavioralEventUpdate(network_type="4g")),
        "delete": lambda: events.delete("n1"),
        "count": lambda: events.count(session_id="s1"),
        "page": lambda: events.page(content_id="c1", total="exact"),
        "stream": lambda: drained(events.stream(session_id="s1")),
        "list": lambda: events.list(order="newest", session_id="s1"),
        "update_where": lambda: events.update_where(
            BehavioralEventUpdate(network_type="4g"), session_id="s1"
        ),
        "upsert": lambda: events.upsert(new_event("n1", network_type="4g")),
        "delete_where": lambda: events.delete_where(session_id="s1"),
        "record": lambda: events.record(new_event("n3")),
        "record_batch": lambda: events.record_batch(
            [event("n4"), event("n5")], ensure_sessions=True
        ),
        "ingest": lambda: events.ingest(incoming(), ensure_sessions=True),
        "list_for_session": lambda: events.list_for_session("s1", since=START, types=["play"]),
        "list_for_content": lambda: events.list_for_content("c1", until=DAY),
        "recent_for_session": lambda: events.recent_for_session("s1", limit=5),
        "count_by_type": lambda: events.count_by_type(content_id="c1"),
        "find_by_characteristics": lambda: events.find_by_characteristics(RARE),
        "engagement_for_content": lambda: events.engagement_for_content("c1"),
        "engagement_for_contents": lambda: events.engagement_for_contents(["c1", "c2"]),
        "engagement_by": lambda: events.engagement_by("genre", since=START, until=DAY),
        "delete_before": lambda: events.delete_before(DAY, batch=10),
        "archive_before": lambda: events.archive_before(DAY, sink, batch=10),
        "export": lambda: drained(events.export(session_id="s1")),
    },
    likes: {
        "get": lambda: likes.get(LikeKey("c0", "s0")),
        "find": lambda: likes.find(KEY),
        "get_many": lambda: likes.get_many([KEY, LikeKey("c0", "s0")]),
        "exists": lambda: likes.exists(KEY),
        "add": lambda: likes.add(LikeCreate(content_id="c1", session_id="s9")),
        "add_many": lambda: likes.add_many([LikeCreate(content_id="c1", session_id="s10")]),
        "update": lambda: likes.update(LikeKey("c0", "s0"), LikeUpdate(reaction_type="love")),
        "delete": lambda: likes.delete(LikeKey("c1", "s9")),
        "count": lambda: likes.count(session_id="s1"),
        "page": lambda: likes.page(content_id="c1"),
        "stream": lambda: drained(likes.stream(session_id="s1")),
        "list": lambda: likes.list(session_id="s1"),
        "update_where": lambda: likes.update_where(
            LikeUpdate(reaction_type="love"), session_id="s1"
        ),
        "upsert": lambda: likes.upsert(LikeCreate(content_id="c1", session_id="s1")),
        "delete_where": lambda: likes.delete_where(session_id="s1"),
        "like": lambda: likes.like(KEY),
        "unlike": lambda: likes.unlike(KEY),
        "toggle": lambda: likes.toggle(KEY),
        "map_for_contents": lambda: likes.map_for_contents("s1", ["c1", "c7"]),
        "list_for_session": lambda: likes.list_for_session("s1"),
        "count_likes": lambda: likes.count_likes("c1"),
        "count_by": lambda: likes.count_by("genre"),
        "top_content": lambda: likes.top_content(),
    },
    states: {
        "get": lambda: states.get("s1", lock="update"),
        "find": lambda: states.find("s1"),
        "get_many": lambda: states.get_many(["s1", "s2"]),
        "exists": lambda: states.exists("s1"),
        "add": lambda: states.add(LearnerModelStateCreate(session_id="n1")),
        "add_many": lambda: states.add_many([LearnerModelStateCreate(session_id="n2")]),
        "update": lambda: states.update("s1", LearnerModelStateUpdate(data_points=1)),
        "delete": lambda: states.delete("s2"),
        "count": lambda: states.count(learned_until=DAY),
        "page": lambda: states.page(learned_until=DAY),
        "stream": lambda: drained(states.stream(learned_until=DAY)),
        "list": lambda: states.list(order="least_recently_updated", learned_until=DAY),
        "upsert": lambda: states.upsert(LearnerModelStateCreate(session_id="s1", data_points=1)),
        "get_or_default": lambda: states.get_or_default("s1"),
        "get_or_create": lambda: states.get_or_create("n3"),
        "fold": lambda: states.fold("s1", learn),
        "reset": lambda: states.reset("s1"),
        "list_stale": lambda: states.list_stale(DAY),
    },
    preferences: {
        "get": lambda: preferences.get("s2", lock="share"),
        "find": lambda: preferences.find("s2"),
        "get_many": lambda: preferences.get_many(["s2", "u1"]),
        "exists": lambda: preferences.exists("s2"),
        "add": lambda: preferences.add(UserPreferencesCreate(id="n1")),
        "add_many": lambda: preferences.add_many([UserPreferencesCreate(id="n2")]),
        "update": lambda: preferences.update("s2", UserPreferencesUpdate(auto_play=False)),
        "delete": lambda: preferences.delete("s4"),
        "count": lambda: preferences.count(session_id="s1"),
        "page": lambda: preferences.page(session_id="s1"),
        "stream": lambda: drained(preferences.stream(session_id="s1")),
        "list": lambda: preferences.list(session_id="s1"),
        "update_where": lambda: preferences.update_where(
            UserPreferencesUpdate(auto_play=False), session_id="s1"
        ),
        "upsert": lambda: preferences.upsert(UserPreferencesCreate(id="s2", auto_play=False)),
        "delete_where": lambda: preferences.delete_where(session_id="s1"),
        "find_for_session": lambda: preferences.find_for_session("s1"),
        "get_or_default": lambda: preferences.get_or_default("n4"),
        "save": lambda: preferences.save("s2", UserPreferencesUpdate(auto_play=True)),
        "migrate_to_user": lambda: preferences.migrate_to_user("s6", "u7"),
    },
    jobs: {
        "get": lambda: jobs.get("g1", lock="update skip locked"),
        "find": lambda: jobs.find("g1"),
        "get_many": lambda: jobs.get_many(["g1", "g2"]),
        "exists": lambda: jobs.exists("g1"),
        "add": lambda: jobs.add(GenerationCreate(session_id="s1")),
        "add_many": lambda: jobs.add_many([GenerationCreate(session_id="s1")]),
        "update": claim_and_update,
        "delete": lambda: jobs.delete("g3"),
        "count": lambda: jobs.count(session_id="s1"),
        "page": lambda: jobs.page(status="processing"),
        "list": lambda: jobs.list(status="processing"),
        "stream": lambda: drained(jobs.stream(session_id="s1")),
        "get_or_create_active": lambda: jobs.get_or_create_active(
            GenerationCreate(session_id="s1")
        ),
        "claim_next": lambda: jobs.claim_next(stale_older_than=timedelta(minutes=1)),
        "complete": lambda: jobs.complete("g99999", "c1"),
        "fail": lambda: jobs.fail("g99998", "why"),
        "get_with_content": lambda: jobs.get_with_content("g1"),
        "list_active": lambda: jobs.list_active("s1"),
        "requeue_stale": lambda: jobs.requeue_stale(timedelta(minutes=1)),
        "claim_webhooks": lambda: jobs.claim_webhooks(limit=10),
        "mark_webhook_sent": lambda: jobs.mark_webhook_sent("g99898"),
        "purge_finished": lambda: jobs.purge_finished(DAY, batch=10),
        "store_for_session": lambda: jobs.store_for_session("s1", new_content("n9"), "open"),
    },
}

NO_INDEX = "batches are in the order of the key, which no index combines with a range of time"
EXEMPT = {
    (sessions, "delete_content"): "the agreed schema has no index on the lists of the sessions",
    (sessions, "update_where"): NO_INDEX,
    (sessions, "delete_where"): NO_INDEX,
    (states, "update_where"): NO_INDEX,
    (states, "delete_where"): NO_INDEX,
}
READ_WHOLE: dict[tuple[AnyRepository, str], set[str]] = {
    (likes, "count_by"): {"like_engagement"},
    (likes, "top_content"): {"like_engagement"},
    (events, "engagement_by"): {"like_engagement"},
}
"""Tables that operations read from end to end: every like counts, and their time has no index."""
