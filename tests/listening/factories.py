"""Events and sessions for tests."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from learner_app.listening.repositories import ListeningSessionRepository
from learner_app.listening.rows import BehavioralEventCreate

START = datetime(2026, 9, 1, tzinfo=UTC)
TRAITS = {
    "format": "narrative",
    "genre": "mystery",
    "difficulty": "lexical-heavy",
    "template_id": "t1",
}
"""Characteristics of the content of ``tests.content.factories``."""


def minute(n: int) -> datetime:
    return START + timedelta(minutes=n)


def event(event_id: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return an event as a client sends it."""
    defaults: dict[str, Any] = {
        "content_id": "c1",
        "session_id": "s1",
        "event_type": "play",
        "playback_position": Decimal("1.5"),
    }
    return {**defaults, **({"id": event_id} if event_id else {}), **fields}


def new_event(event_id: str, **fields: Any) -> BehavioralEventCreate:
    return BehavioralEventCreate(**event(event_id, **fields))


async def ensure_sessions(*ids: str) -> None:
    for session_id in ids:
        await ListeningSessionRepository().get_or_create(session_id)
