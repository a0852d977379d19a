"""Rows of the benchmark database, and the values that the workloads write."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

FORMATS = ("narrative", "podcast", "educational")
EVENTS_PER_SESSION = 1000
START = datetime(2026, 6, 1, tzinfo=UTC)


NEW = "new-"
"""Beginning of the ids of the events that workloads insert."""

DUPLICATE = "-again"
"""End of the ids of duplicates where COPY inserts them as other events."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of rows. Each of the first sessions has 1,000 events."""

    scale: float = 1.0
    """Factor of the number of events, in the database and of bulk inserts."""
    contents: int = 1000
    sessions: int = 2000

    @property
    def events(self) -> int:
        return self.scaled(200_000)

    def scaled(self, events: int) -> int:
        """Return a number of events in these sizes."""
        return int(events * self.scale)

    @property
    def sessions_with_events(self) -> int:
        return max(1, self.events // EVENTS_PER_SESSION)


_FILL = (
    """
    INSERT INTO content (id, title, description, text_content, audio_url, audio_bitrate, audio_size,
        format, genre, topic, template_id, difficulty, difficulty_score, duration, word_count,
        model_parameters, generated_at, generated_by, session_id, related_content_ids, locale,
        quality_score, engagement_metrics, metadata)
    SELECT 'content-' || n, 'Storia numero ' || n, 'Una storia breve del faro e del mare.',
        (SELECT string_agg((ARRAY['il', 'faro', 'guarda', 'mare', 'notte', 'barca', 'torna', 'luce',
            'vento', 'piccola', 'isola', 'racconta', 'lontano'])[1 + (n * k + k * k) % 13], ' ')
         FROM generate_series(1, 360) AS k),
        'https://audio.example/' || n || '.mp3', 128, 4800000 + n,
        (ARRAY['narrative', 'podcast', 'educational'])[1 + n % 3],
        (ARRAY['mystery', 'science', 'history', 'travel'])[1 + n % 4], 'the sea',
        'template-' || n % 7, (ARRAY['lexical-heavy', 'discourse-heavy'])[1 + n % 2],
        (n % 100)::numeric / 100, 120 + n % 600, 360,
        '{{"model": "m-1", "temperature": 0.7, "seed": 17, "max_tokens": 2048}}',
        timestamptz '2026-06-01Z' + n * interval '1 minute', 'generator', 'session-1',
        ARRAY['content-1', 'content-2', 'content-3'], 'it-IT', 0.75,
        '{{"total_plays": 12, "average_completion_rate": 0.5, "skip_rate": 0.25}}',
        '{{"tags": ["sea", "night", "light"], "voice": {{"name": "Ada", "speed": 1.0}}}}'
    FROM generate_series(1, {contents}) AS n
    """,
    """
    INSERT INTO sessions (id, started_at, last_activity_at)
    SELECT 'session-' || n, timestamptz '2026-06-01Z', timestamptz '2026-06-02Z'
    FROM generate_series(1, {sessions}) AS n
    """,
    """
    INSERT INTO behavioral_events (id, content_id, event_type, timestamp, playback_position,
        playback_position_percent, duration, session_id, content_characteristics, device_info,
        network_type, context)
    SELECT 'event-' || n, 'content-' || (1 + n % {contents}),
        (ARRAY['play', 'pause', 'skip', 'replay', 'complete'])[1 + n % 5],
        timestamptz '2026-06-01Z' + n * interval '1 second', (n % 30000)::numeric / 100,
        (n % 10000)::numeric / 100, 3.25, 'session-' || (1 + n / 1000),
        '{{"format": "podcast", "genre": "mystery", "difficulty": "lexical-heavy"}}',
        '{{"os": "ios", "version": "17.1", "model": "phone", "screen": [390, 844]}}', 'wifi',
        '{{"screen": "player", "speed": 1.25, "queue": {{"length": 12, "position": 3}}}}'
    FROM generate_series(0, {events} - 1) AS n
    """,
    """
    INSERT INTO learner_model_state (session_id, preference_weights, comprehension_level,
        content_type_preferences, data_points)
    SELECT 'session-' || n, '{{"narrative": 0.5, "podcast": 0.3, "educational": 0.2}}', 0.5,
        '{{"mystery": 0.7, "science": 0.2}}', 0
    FROM generate_series(1, {sessions}) AS n
    """,
    """
    INSERT INTO like_engagement (content_id, session_id, liked, liked_at, reaction_type,
        content_characteristics)
    SELECT 'content-' || (1 + n % {contents}), 'session-' || n, true, now(), 'like',
        '{{"format": "podcast", "genre": "mystery", "difficulty": "lexical-heavy"}}'
    FROM generate_series(1, {sessions}) AS n
    """,
)


def fill(sizes: Sizes) -> list[str]:
    """Return the statements that insert the rows."""
    numbers = {"contents": sizes.contents, "sessions": sizes.sessions, "events": sizes.events}
    return [statement.format(**numbers) for statement in _FILL]


def characteristics(content: int) -> dict[str, Any]:
    """Return what events and likes copy from the content item with this number."""
    return {
        "format": FORMATS[content % 3],
        "genre": ("mystery", "science", "history", "travel")[content % 4],
        "difficulty": ("lexical-heavy", "discourse-heavy")[content % 2],
        "template_id": f"template-{content % 7}",
    }


def new_event(event_id: str, number: int, sizes: Sizes) -> dict[str, Any]:
    """Return the fields of an event that is not stored yet."""
    content = 1 + number % sizes.contents
    return {
        "id": event_id,
        "content_id": f"content-{content}",
        "event_type": "play",
        "timestamp": START + timedelta(days=30, milliseconds=number),
        "playback_position": Decimal(number % 30000) / 100,
        "playback_position_percent": Decimal("4.10"),
        "duration": Decimal("3.25"),
        # Sessions without events, so that the lists of the others keep their length.
        "session_id": f"session-{sizes.sessions - number % (sizes.sessions // 2)}",
        "content_characteristics": characteristics(content),
        "device_info": {"os": "ios", "version": "17.1", "model": "phone", "screen": [390, 844]},
        "network_type": "wifi",
        "context": {
            "screen": "player",
            "speed": 1.25,
            "queue": {"length": 12, "position": number % 100},
        },
    }


def duplicate_indexes(size: int) -> range:
    """Return the indexes of the events whose id occurs earlier in a list of events."""
    return range(10, size, 10)


def new_state(number: int) -> dict[str, Any]:
    """Return the changed fields of a learner state."""
    return {
        "preference_weights": {"narrative": 0.4, "podcast": 0.35, "educational": 0.25},
        "comprehension_level": Decimal(number % 100) / 100,
        "content_type_preferences": {"mystery": 0.7, "science": 0.2, "travel": number % 10 / 10},
        "data_points": number,
    }
