"""What is stored in the scenarios of the repositories: the same Python values for everybody."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any

BATCH = 1000
PAGE = 100
LAST_SEEN = "content-1"
"""The key that the page is behind."""

JSON_FIELDS = {"model_parameters", "metadata"}
JSON_EVENT_FIELDS = {"content_characteristics", "device_info", "context"}

_numbers = count()
_AT = datetime(2026, 1, 1, tzinfo=UTC)

_PIECE: dict[str, Any] = {
    "title": "A title",
    "text_content": "parola " * 300,
    "audio_url": "https://example.org/audio",
    "format": "podcast",
    "genre": "mystery",
    "template_id": "template",
    "difficulty": "lexical-heavy",
    "difficulty_score": Decimal("0.50"),
    "duration": 300,
    "word_count": 300,
    "model_parameters": {"model": "one", "temperature": 0.7},
    "generated_at": _AT,
    "session_id": "session",
    "related_content_ids": ["content-1", "content-2"],
    "language": "it",
    "metadata": {"a": [1, 2, 3], "b": "c"},
}
PIECE_FIELDS = ("id", *_PIECE)

_EVENTS: list[dict[str, Any]] = [
    {
        "content_id": f"content-{1 + number}",
        "event_type": "play",
        "timestamp": _AT,
        "playback_position": Decimal("12.50"),
        "playback_position_percent": Decimal("4.10"),
        "duration": Decimal("3.25"),
        "session_id": f"session-{1 + number % 100}",
        "content_characteristics": {"format": "podcast", "genre": "mystery"},
        "device_info": {"os": "one", "version": "17.1"},
        "network_type": "wifi",
        "context": {"screen": "player", "speed": 1.25},
    }
    for number in range(BATCH)
]
EVENT_FIELDS = ("id", *_EVENTS[0])


def new_piece() -> dict[str, Any]:
    """Return new content that is not stored yet."""
    return {"id": f"new-{next(_numbers)}", **_PIECE}


def new_events() -> list[dict[str, Any]]:
    """1,000 events that are not there yet."""
    batch = next(_numbers)
    return [{"id": f"event-{batch}-{number}", **event} for number, event in enumerate(_EVENTS)]
