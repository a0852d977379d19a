"""Right use: both type checkers take all of it. Nothing here is ever run."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, assert_type

from learner_app.content.repositories import ContentRepository
from learner_app.content.rows import Content, ContentCreate, ContentFilters, ContentUpdate
from learner_app.database.engine import DatabaseEngine
from learner_app.listening.repositories import ListeningSessionRepository
from learner_app.listening.rows import (
    Appended,
    Ensured,
    ListeningSession,
    ListeningSessionCreate,
    ListeningSessionUpdate,
    Position,
)
from learner_app.repository.base import Lock
from learner_app.repository.paging import Page


async def content_rows(content: ContentRepository, now: datetime) -> None:
    assert_type(await content.get("c1"), Content)
    assert_type(await content.find("c1"), Content | None)
    assert_type(await content.get_many(["c1", "c2"]), list[Content])
    assert_type(await content.exists("c1"), bool)
    assert_type(await content.count(format="podcast", generated_from=now), int)
    assert_type(await content.page(limit=10, total="exact"), Page[Content])
    assert_type((await content.page()).next, str | None)
    assert_type(await content.search(genre="mystery", min_quality=Decimal("0.5")), Page[Content])
    wanted: ContentFilters = {"difficulty": "lexical-heavy", "generated_to": now}
    assert_type((await content.search(**wanted)).rows, list[Content])
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
    assert_type(await content.add_idempotent(new_content(now)), Content)
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
    assert_type(await repository.page(active_from=now), Page[ListeningSession])
    assert_type(await repository.add(ListeningSessionCreate()), ListeningSession)
    changes = ListeningSessionUpdate(total_listening_time=5)
    assert_type(await repository.update("s1", changes), ListeningSession)
    assert_type(await repository.delete("s1"), bool)
    assert_type(await repository.ensure("s1"), Ensured)
    assert_type(await repository.append_content("s1", "c1"), Appended)
    assert_type(await repository.position("s1"), Position)
    assert_type(await repository.move_next("s1", expected_current="c1"), Content | None)


def repositories(engine: DatabaseEngine) -> list[ContentRepository]:
    return [ContentRepository(), ContentRepository(engine)]
