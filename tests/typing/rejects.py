"""Wrong use: both type checkers refuse exactly the lines that say so. Nothing here is ever run."""

from datetime import datetime

from learner_app.accounts.repositories import AuthSessionRepository, UserRepository
from learner_app.accounts.rows import User, UserCreate, UserUpdate
from learner_app.content.repositories import ContentRepository
from learner_app.content.rows import Content, ContentCreate, ContentUpdate
from learner_app.generation.repositories import GenerationRepository
from learner_app.generation.rows import GenerationCreate, GenerationUpdate
from learner_app.learner.repositories import LearnerModelStateRepository, UserPreferencesRepository
from learner_app.learner.rows import (
    LearnerModelState,
    LearnerModelStateUpdate,
    UserPreferencesUpdate,
)
from learner_app.listening.repositories import (
    BehavioralEventRepository,
    LikeRepository,
    ListeningSessionRepository,
)
from learner_app.listening.rows import (
    BehavioralEventUpdate,
    LikeKey,
    LikeUpdate,
    ListeningSession,
    ListeningSessionCreate,
    ListeningSessionUpdate,
)


async def content_keys_and_locks(content: ContentRepository) -> None:
    await content.get(5)  # error
    await content.find(None)  # error
    await content.get_many([1, 2])  # error
    await content.exists(b"c1")  # error
    await content.get("c1", lock="exclusive")  # error
    await content.find("c1", lock=True)  # error
    await content.delete("c1")  # error


async def content_rows(content: ContentRepository, row: Content) -> None:
    print((await content.find("c1")).title)  # error
    print((await content.latest_episode("s1", "a")).title)  # error
    print((await content.page(order="newest"))[0])  # error
    print(row.titel)  # error
    row.title = "other"  # error
    row.duration = 5  # error
    row.description.upper()  # error
    print(row.quality_score + 1)  # error


async def content_filters(content: ContentRepository, now: datetime) -> None:
    await content.page(order="newest", formt="podcast")  # error
    await content.page(order="newest", format="podcasts")  # error
    await content.page(order="newest", format=None)  # error
    await content.page(generated_since="2026-01-01")  # error
    await content.page(min_quality="0.5")  # error
    await content.page(limit="5")  # error
    await content.page(total="guessed")  # error
    await content.count(title="t")  # error
    content.stream(duration=5)  # error


async def content_orders_and_bulk_operations(content: ContentRepository) -> None:
    await content.list(order="latest")  # error
    await content.page(order=None)  # error
    content.stream(order="episode")  # error
    await content.list(formt="podcast")  # error
    await content.list(limit="5")  # error
    await content.exists("c1", genre="mystery")  # error
    await content.exists(genre=5)  # error
    await content.update_where(ContentUpdate(), formt="podcast")  # error
    await content.update_where({"genre": None}, format="podcast")  # error
    await content.update_where(ContentUpdate(), all_rows="yes")  # error
    await content.delete_where(format="podcast")  # error
    await content.upsert(ContentUpdate())  # error
    await content.upsert(ContentUpdate(), on=5)  # error


async def content_inputs(content: ContentRepository, now: datetime) -> None:
    ContentUpdate(titel="t")  # error
    ContentUpdate(title=5)  # error
    ContentUpdate(title=None)  # error
    ContentUpdate(format="podcasts")  # error
    ContentUpdate(difficulty="lexical_heavy")  # error
    ContentUpdate(generated_at="now")  # error
    ContentUpdate(metadata=["a"])  # error
    ContentUpdate(quality_score="0.5")  # error
    ContentUpdate(id="c2")  # error
    ContentUpdate(session_id="s2")  # error
    ContentUpdate(updated_at=now)  # error
    ContentCreate(title="t")  # error
    await content.update("c1", ContentCreate(title="t"))  # error
    await content.update("c1", {"title": "t"})  # error
    await content.update("c1", ListeningSessionUpdate())  # error
    await content.add(ContentUpdate())  # error
    await content.attach_audio("c1", url="u", format="flac", duration=3)  # error
    await content.merge_metadata("c1", "{}")  # error


async def sessions(repository: ListeningSessionRepository, row: ListeningSession) -> None:
    await repository.get(5)  # error
    print((await repository.find("s1")).started_at)  # error
    await repository.page(format="podcast")  # error
    await repository.page(active_since=5)  # error
    row.content_ids = []  # error
    ListeningSessionCreate(content_ids=["c1"])  # error
    ListeningSessionUpdate(last_activity_at=None)  # error
    ListeningSessionUpdate(total_listening_time="5")  # error
    await repository.append_content("s1", 5)  # error
    await repository.move_next("s1", "c1")  # error


async def events(repository: BehavioralEventRepository, now: datetime) -> None:
    await repository.record({"id": "e1"})  # error
    await repository.record_batch(["e1"])  # error
    await repository.list_for_session("s1", types="play", until="now")  # error
    await repository.engagement_by("colour")  # error
    await repository.list(order="oldest")  # error
    await repository.delete_where(kind="play")  # error
    await repository.count_by_type("s1")  # error
    await repository.archive_before(now, print)  # error
    await repository.ingest([])  # error
    BehavioralEventUpdate(event_type="play")  # error


async def likes(repository: LikeRepository, key: LikeKey) -> None:
    await repository.get("c1")  # error
    await repository.get(("c1", "s1"))  # error
    await repository.find(LikeKey("c1"))  # error
    await repository.like(key, "hate")  # error
    print((await repository.find(key)).liked)  # error
    LikeUpdate(liked=True)  # error


async def learner(states: LearnerModelStateRepository, row: LearnerModelState) -> None:
    await states.fold("s1", lambda _old: None)  # error
    await states.update("s1", LearnerModelStateUpdate(), expect=1)  # error
    await states.update("s1", UserPreferencesUpdate())  # error
    LearnerModelStateUpdate(last_updated=row.last_updated)  # error
    LearnerModelStateUpdate(comprehension_level="0.5")  # error
    UserPreferencesUpdate(preferred_formats=["radio"])  # error
    UserPreferencesUpdate(version=2)  # error
    preferences = UserPreferencesRepository()
    await preferences.save("u1", UserPreferencesUpdate(), expect="1")  # error


async def generation(jobs: GenerationRepository) -> None:
    GenerationCreate(session_id="s1", status="completed")  # error
    GenerationUpdate(status="completed")  # error
    await jobs.claim_next(stale_older_than=300)  # error
    print((await jobs.claim_next()).session_id)  # error
    await jobs.complete("g1", None)  # error
    await jobs.fail(1, "why")  # error
    await jobs.page(status="done")  # error


async def sign_in(users: UserRepository, sessions: AuthSessionRepository, user: User) -> None:
    await users.add(user)  # error
    await users.get(5)  # error
    await users.register(user)  # error
    await users.list(email="a")  # error
    await users.list(order="oldest")  # error
    await users.upsert(user)  # error
    await users.set_password(user.id, b"x")  # error
    print((await users.find_by_email("a")).name)  # error
    print(user.hashed_password)  # error
    user.is_admin = True  # error
    UserCreate(email="a")  # error
    UserUpdate(email="a")  # error
    UserUpdate(is_admin=True)  # error
    UserUpdate(knowledge_level="Expert")  # error
    print((await sessions.resolve("t")).user)  # error
    await sessions.open(user.id, 3600)  # error
    await sessions.update(user.id, UserUpdate())  # error
