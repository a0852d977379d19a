"""Example rows derived from simulated sessions: learner states, preferences, generation jobs."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import get_args
from uuid import UUID

from learner_app.generation.repositories import GenerationRepository
from learner_app.generation.rows import Generation, GenerationCreate
from learner_app.learner.rows import (
    DifficultyLevel,
    LearnerModelStateCreate,
    UserPreferencesCreate,
)
from learner_app.operations.seed.contents import SeedContent
from learner_app.operations.seed.simulation import SimulatedSession

LEVELS: tuple[DifficultyLevel, ...] = get_args(DifficultyLevel)
SPEEDS = (Decimal("1.00"), Decimal("0.75"), Decimal("1.25"))


def learner_states(sessions: Sequence[SimulatedSession]) -> list[LearnerModelStateCreate]:
    """Return a state for every session that completed at least one content."""
    return [
        LearnerModelStateCreate(
            session_id=session.id,
            comprehension_level=Decimal(30 + 50 * len(session.completed) // len(session.played))
            / 100,
            content_type_preferences=Counter(str(content.genre) for content in session.completed),
            data_points=len(session.events),
        )
        for session in sessions
        if session.completed
    ]


def preferences(
    sessions: Sequence[SimulatedSession], user_ids: Sequence[UUID]
) -> list[UserPreferencesCreate]:
    """Return preferences of every other session and of the users."""
    owners = [(session.id, session) for session in sessions[::2]]
    owners += [
        (str(user), session) for user, session in zip(user_ids, sessions[1::2], strict=False)
    ]
    return [
        UserPreferencesCreate(
            id=owner,
            session_id=session.id,
            difficulty_preference=LEVELS[session.number % 3],
            preferred_formats=sorted({content.format for content in session.played}),
            preferred_genres=sorted({str(content.genre) for content in session.completed}),
            playback_speed=SPEEDS[session.number % 3],
            auto_play=session.number % 5 != 0,
        )
        for owner, session in owners
    ]


def generation_jobs(
    contents: Sequence[SeedContent], sessions: Sequence[SimulatedSession]
) -> list[GenerationCreate]:
    """Return a job for every content, and one for each of the last four sessions."""
    return [
        GenerationCreate(
            generation_id=_job_id(content),
            session_id=content.new.session_id,
            webhook_url="https://hooks.example.com/generated" if content.place == 0 else None,
        )
        for content in contents
    ] + [
        GenerationCreate(generation_id=f"job-{session.id}", session_id=session.id)
        for session in sessions[-4:]
    ]


async def finish_jobs(
    jobs: GenerationRepository, added: Sequence[Generation], contents: Sequence[SeedContent]
) -> None:
    """Complete the added jobs that have content, fail one of the others and claim one."""
    ids = {job.generation_id for job in added}
    done = {_job_id(content): content.new.id for content in contents if _job_id(content) in ids}
    for job_id, content_id in done.items():
        await jobs.complete(job_id, content_id)
    await jobs.mark_webhook_sent(*done)
    waiting = sorted(ids - done.keys())
    if waiting:
        await jobs.fail(waiting.pop(), "The model did not answer within 60 seconds.")
    # A worker claims the oldest job of the queue: no other job may be waiting there.
    if waiting and await jobs.count(status="generating") == len(waiting):
        await jobs.claim_next()


def _job_id(content: SeedContent) -> str:
    return content.new.id.replace("content-", "job-", 1)
