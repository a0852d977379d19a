"""Right use: both type checkers take all of it. Nothing here is ever run."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, assert_type
from uuid import UUID

from msgspec.structs import replace
from pydantic import SecretStr

import learner_app
from learner_app.accounts.repositories import (
    AccountRepository,
    AuthSessionRepository,
    UserRepository,
    VerificationRepository,
)
from learner_app.accounts.rows import (
    Account,
    AccountUpdate,
    Erased,
    OpenedSession,
    SignedIn,
    User,
    UserCreate,
    UserUpdate,
)
from learner_app.accounts.values import KnowledgeLevel
from learner_app.content.repositories import ContentRepository
from learner_app.content.rows import Content, ContentCreate, ContentFilters, ContentUpdate
from learner_app.database.engine import DatabaseEngine
from learner_app.generation.repositories import GenerationRepository
from learner_app.generation.rows import Generation, GenerationCreate, GenerationUpdate
from learner_app.learner.repositories import LearnerModelStateRepository, UserPreferencesRepository
from learner_app.learner.rows import (
    LearnerModelState,
    LearnerModelStateUpdate,
    UserPreferences,
    UserPreferencesUpdate,
)
from learner_app.listening.repositories import (
    BehavioralEventRepository,
    LikeRepository,
    ListeningSessionRepository,
)
from learner_app.listening.rows import (
    Appended,
    BatchResult,
    BehavioralEvent,
    BehavioralEventCreate,
    ContentLikes,
    Engagement,
    EventFailure,
    IngestResult,
    Like,
    LikeKey,
    ListeningSession,
    ListeningSessionCreate,
    ListeningSessionUpdate,
    Position,
    Reaction,
)
from learner_app.repository.base import Lock
from learner_app.repository.paging import Page
from learner_app.repository.rows import StoredRow


async def content_rows(content: ContentRepository, now: datetime) -> None:
    assert_type(await content.get("c1"), Content)
    assert_type(await content.find("c1"), Content | None)
    assert_type(await content.get_many(["c1", "c2"]), list[Content])
    assert_type(await content.exists("c1"), bool)
    assert_type(await content.count(format="podcast", generated_since=now), int)
    assert_type(await content.page(limit=10, total="exact"), Page[Content])
    assert_type((await content.page()).next, str | None)
    assert_type(
        await content.page(order="newest", genre="mystery", min_quality=Decimal("0.5")),
        Page[Content],
    )
    wanted: ContentFilters = {"difficulty": "lexical-heavy", "generated_until": now}
    assert_type((await content.page(order="newest", **wanted)).rows, list[Content])
    async for row in content.stream(session_id="s1", language="it"):
        assert_type(row, Content)
    if (found := await content.find("c1")) is not None:
        assert_type(found.title, str)
        assert_type(found.description, str | None)
        assert_type(found.format, Literal["narrative", "podcast", "educational"])
        assert_type(found.quality_score, Decimal | None)
        assert_type(found.metadata, dict[str, Any] | None)
        assert_type(found.related_content_ids, list[str] | None)
        assert_type(found.generated_at, datetime)


def new_content(now: datetime) -> ContentCreate:
    return ContentCreate(
        title="t",
        text_content="t",
        audio_url="u",
        audio_format=None,
        format="podcast",
        template_id="t",
        difficulty="discourse-heavy",
        difficulty_score=Decimal("0.5"),
        duration=1,
        model_parameters={"model": ["m", 1, None]},
        generated_at=now,
        session_id="s1",
        related_content_ids=["c2"],
    )


async def content_writes(content: ContentRepository, now: datetime) -> None:
    assert_type(await content.add(new_content(now)), Content)
    assert_type(await content.add_many([new_content(now)]), list[Content])
    assert_type(await content.add_idempotent(new_content(now)), StoredRow[Content])
    assert_type(await content.list(genre="mystery", order="oldest", limit=5), list[Content])
    assert_type(await content.list_for_session("s1"), list[Content])
    assert_type(await content.exists("c1"), bool)
    assert_type(await content.exists(genre="mystery", min_quality=Decimal("0.5")), bool)
    row, created = await content.upsert(new_content(now), on=("id",))
    assert_type(row, Content)
    assert_type(created, bool)
    assert_type(await content.update_where(ContentUpdate(genre=None), format="podcast"), int)
    assert_type(await content.update_where(ContentUpdate(), all_rows=True, batch=10), int)
    async for streamed in content.stream(order="newest", language="it"):
        assert_type(streamed, Content)
    exported: learner_app.Page[learner_app.Content] = await content.page()
    assert_type(exported.rows, list[Content])
    assert_type(learner_app.DB, DatabaseEngine)
    assert_type(await content.update("c1", ContentUpdate()), Content)
    assert_type(await content.update("c1", ContentUpdate(title="t", genre=None)), Content)
    audio = await content.attach_audio("c1", url="u", format="ogg", duration=3, bitrate=128)
    assert_type(audio, Content)
    assert_type(await content.latest_episode("s1", "a"), Content | None)
    assert_type(await content.next_episode_number("s1", "a"), int)
    assert_type(await content.set_quality_score("c1", 0.5), Content)


async def sessions(repository: ListeningSessionRepository, now: datetime) -> None:
    assert_type(await repository.get("s1", lock="no key update nowait"), ListeningSession)
    lock: Lock = "update skip locked"
    assert_type(await repository.find("s1", lock=lock), ListeningSession | None)
    assert_type(await repository.page(active_since=now), Page[ListeningSession])
    assert_type(await repository.add(ListeningSessionCreate()), ListeningSession)
    changes = ListeningSessionUpdate(total_listening_time=5)
    assert_type(await repository.update("s1", changes), ListeningSession)
    assert_type(await repository.delete("s1"), bool)
    assert_type(await repository.get_or_create("s1"), StoredRow[ListeningSession])
    assert_type(await repository.append_content("s1", "c1"), Appended)
    assert_type(await repository.position("s1"), Position)
    assert_type(await repository.move_next("s1", expect="c1"), Content | None)
    recent = await repository.list(limit=5, order="least_recently_active", active_until=now)
    assert_type(recent, list[ListeningSession])
    assert_type(await repository.delete_where(active_until=now), int)


async def events(repository: BehavioralEventRepository, now: datetime) -> None:
    new = BehavioralEventCreate(
        content_id="c1", session_id="s1", event_type="play", playback_position=Decimal("1.5")
    )
    assert_type(await repository.record(new), StoredRow[BehavioralEvent])
    assert_type(await repository.record_batch([new, {"id": "e1"}]), BatchResult)
    assert_type((await repository.record_batch([])).failed, list[EventFailure])
    assert_type(await repository.list_for_session("s1", types=["play"]), list[BehavioralEvent])
    assert_type(await repository.list(order="newest", types=["play"]), list[BehavioralEvent])
    assert_type(await repository.upsert(new), StoredRow[BehavioralEvent])
    assert_type(await repository.exists(session_id="s1"), bool)
    assert_type(await repository.count_by_type(session_id="s1"), dict[str, int])
    assert_type(await repository.engagement_by("template"), dict[str | None, Engagement])
    assert_type((await repository.engagement_for_content("c1")).last_engaged_at, datetime | None)
    async for row in repository.export(since=now):
        assert_type(row.playback_position_percent, Decimal | None)

    async def source() -> AsyncIterator[BehavioralEventCreate]:
        yield new

    async def sink(rows: list[BehavioralEvent]) -> None: ...

    assert_type(await repository.ingest(source()), IngestResult)
    assert_type(await repository.archive_before(now, sink), int)


async def likes(repository: LikeRepository) -> None:
    key = LikeKey(content_id="c1", session_id="s1")
    assert_type(await repository.get(key), Like)
    assert_type(await repository.like(key, "love"), Like)
    assert_type(await repository.map_for_contents("s1", ["c1"]), dict[str, Like])
    assert_type(await repository.top_content(limit=3), list[ContentLikes])
    assert_type((await repository.get(key)).reaction_type, Reaction | None)


async def learner(states: LearnerModelStateRepository, now: datetime) -> None:
    def learn(old: LearnerModelState) -> LearnerModelState:
        return replace(old, data_points=old.data_points + 1)

    assert_type(await states.get_or_create("s1"), StoredRow[LearnerModelState])
    assert_type(await states.fold("s1", learn), LearnerModelState)
    changes = LearnerModelStateUpdate(comprehension_level=Decimal("0.5"))
    assert_type(await states.update("s1", changes, expect=now), LearnerModelState)
    preferences = UserPreferencesRepository()
    saved = await preferences.save("u1", UserPreferencesUpdate(auto_play=False), expect=1)
    assert_type(saved.preferred_formats, list[Literal["narrative", "podcast", "educational"]])
    assert_type(await preferences.migrate_to_user("s1", "u1"), UserPreferences | None)


async def generation(jobs: GenerationRepository) -> None:
    assert_type(await jobs.add(GenerationCreate(session_id="s1")), Generation)
    assert_type((await jobs.get_or_create_active(GenerationCreate(session_id="s1"))).created, bool)
    assert_type(await jobs.claim_next(stale_older_than=timedelta(minutes=5)), Generation | None)
    if job := await jobs.claim_next():
        assert_type(await jobs.update(job, GenerationUpdate()), Generation)
        assert_type(await jobs.complete(job, "c1"), Generation)
        assert_type(await jobs.fail(job.generation_id, "why"), Generation)
    assert_type((await jobs.get_with_content("g1")).content, Content | None)
    assert_type(await jobs.purge_finished(datetime.now().astimezone(), batch=10), int)


async def sign_in(users: UserRepository, sessions: AuthSessionRepository, key: UUID) -> None:
    new = UserCreate(email="a@example.com", password=SecretStr("x"), name="A")
    assert_type(await users.register(new), User)
    assert_type(await users.get(key), User)
    assert_type(await users.list(order="newest", text="a", is_admin=True), list[User])
    assert_type(await users.page(order="newest", limit=5), Page[User])
    assert_type(await users.check_password("a@example.com", "x"), User | None)
    assert_type(await users.set_password(key, SecretStr("x"), keep_token="t"), User)
    assert_type(await users.update(key, UserUpdate(target_score=None)), User)
    assert_type(await users.delete(key), Erased)
    assert_type((await users.get(key)).knowledge_level, KnowledgeLevel | None)
    opened = await sessions.open(key, timedelta(days=1), ip_address="::1")
    assert_type(opened.token, SecretStr)
    assert_type(await sessions.resolve(opened.token), SignedIn | None)
    assert_type(await sessions.sign_in("a", "b", timedelta(1)), OpenedSession | None)
    codes, accounts = VerificationRepository(), AccountRepository()
    assert_type(await codes.issue("reset-password:a", timedelta(1)), SecretStr)
    assert_type(await codes.consume("reset-password:a", "code"), bool)
    tokens = AccountUpdate(access_token=SecretStr("x"), scope=None)
    assert_type((await accounts.link(key, "google", "1", tokens)).row, Account)
    assert_type((await accounts.tokens(key)).id_token, SecretStr | None)


def repositories(engine: DatabaseEngine) -> list[ContentRepository]:
    return [ContentRepository(), ContentRepository(engine)]
