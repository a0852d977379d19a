"""What follows from the listening: learner states and preferences; and the jobs before it."""

from collections import Counter
from datetime import timedelta
from decimal import Decimal

from learner_app.content.tables import ContentFormat
from learner_app.generation.tables import GenerationStatusTable, JobStatus
from learner_app.learner.tables import (
    DifficultyPreference,
    LearnerModelStateTable,
    UserPreferencesTable,
)
from learner_app.operations.seed.listening import SeedSession
from learner_app.operations.seed.people import SEED_USERS
from learner_app.operations.seed.pieces import Piece

FORMATS = [item.value for item in ContentFormat]
LEVELS = [item.value for item in DifficultyPreference]


def learner_states(sessions: list[SeedSession]) -> list[LearnerModelStateTable]:
    """One for every session that finished something."""
    return [_learner_state(session) for session in sessions if session.completed]


def _learner_state(session: SeedSession) -> LearnerModelStateTable:
    heard = Counter(piece.text["format"] for piece in session.heard)
    finished = Counter(piece.text["genre"] for piece in session.completed)
    total = len(session.heard)
    share = len(session.completed) / total
    return LearnerModelStateTable(
        session_id=session.id,
        preference_weights={name: round((heard[name] + 1) / (total + 3), 2) for name in FORMATS},
        comprehension_level=Decimal(f"{0.3 + 0.5 * share:.2f}"),
        content_type_preferences={genre: round(n / total, 2) for genre, n in finished.items()},
        difficulty_adjustment=Decimal(f"{0.2 * (share - 0.5):.2f}"),
        last_updated=session.now,
        data_points=len(session.events),
        created_at=session.events[0].timestamp,
        updated_at=session.now,
    )


def preferences(sessions: list[SeedSession]) -> list[UserPreferencesTable]:
    """Every other session saved some; the verified users have theirs under their own id."""
    anonymous = [_preferences(session.id, session) for session in sessions[::2]]
    users = [user for user in SEED_USERS if user.email_verified]
    signed_in = [
        _preferences(str(user.id), session)
        for user, session in zip(users, sessions[1::2], strict=False)
    ]
    return anonymous + signed_in


def _preferences(key: str, session: SeedSession) -> UserPreferencesTable:
    return UserPreferencesTable(
        id=key,
        session_id=session.id,
        difficulty_preference=LEVELS[session.number % 3],
        preferred_formats=sorted({piece.text["format"] for piece in session.heard}),
        preferred_genres=sorted({piece.text["genre"] for piece in session.completed}),
        playback_speed=Decimal(("1.00", "0.75", "1.25")[session.number % 3]),
        auto_play=session.number % 5 != 0,
        last_updated=session.now,
        version=1 + session.number % 4,
        created_at=session.events[0].timestamp,
        updated_at=session.now,
    )


def generation_jobs(
    pieces: list[Piece], sessions: list[SeedSession]
) -> list[GenerationStatusTable]:
    """A completed job for every piece; the latest sessions have one in each other status."""
    done = [_completed_job(piece, sessions[piece.owner]) for piece in pieces]
    waiting, working, failed, queued = sessions[-1], sessions[-2], sessions[-3], sessions[-4]
    return [
        *done,
        _open_job(waiting, JobStatus.generating),
        _open_job(queued, JobStatus.generating),
        _open_job(working, JobStatus.processing),
        _failed_job(failed),
    ]


def _completed_job(piece: Piece, session: SeedSession) -> GenerationStatusTable:
    started = piece.generated_at - timedelta(seconds=45)
    return GenerationStatusTable(
        generation_id=f"job-{piece.text['slug']}",
        session_id=session.id,
        status=JobStatus.completed,
        content_id=piece.id,
        webhook_url="https://hooks.example.com/generated" if piece.place == 0 else None,
        webhook_sent=piece.place == 0,
        estimated_completion_time=60,
        started_at=started,
        completed_at=piece.generated_at,
        created_at=started,
        updated_at=piece.generated_at,
    )


def _open_job(session: SeedSession, status: JobStatus) -> GenerationStatusTable:
    return GenerationStatusTable(
        generation_id=f"job-{session.id}",
        session_id=session.id,
        status=status,
        estimated_completion_time=60,
        started_at=session.now,
        created_at=session.now,
        updated_at=session.now,
    )


def _failed_job(session: SeedSession) -> GenerationStatusTable:
    job = _open_job(session, JobStatus.failed)
    job.error_message = "The model did not answer within 60 seconds."
    job.completed_at = session.now + timedelta(seconds=60)
    job.updated_at = job.completed_at
    return job
