"""A million events, fewer with ``--short``, and the rows that they refer to."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from learner_app.listening.rows import IngestResult
from tests import environment

EVENTS = 200_000 if environment.short else 1_000_000
STEP = EVENTS // 10
"""Distance of the measurements and of the invalid events."""

EVENTS_PER_SESSION = 50
SESSIONS = EVENTS // EVENTS_PER_SESSION
CONTENTS = 5_000
START = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = ("play", "pause", "skip-forward", "complete", "replay")

FILL = f"""
INSERT INTO content (id, title, text_content, audio_url, format, genre, template_id, difficulty,
                     duration, model_parameters, session_id, episode_number, series_id,
                     quality_score, generated_at)
SELECT 'c' || n, 'Piece ' || n, repeat('text ', 200), 'https://audio.example/' || n,
       (ARRAY['narrative', 'podcast', 'educational'])[1 + n % 3], 'genre' || n % 20,
       't' || n % 50, 'lexical-heavy', 300, '{{}}', 's' || n % {SESSIONS}, n % 30,
       CASE WHEN n % 2 = 0 THEN 'series' || n % 200 END, 0.5,
       timestamptz '2026-01-01+00' + n * interval '1 minute'
FROM generate_series(0, {CONTENTS} - 1) AS n;
INSERT INTO sessions (id, content_ids, current_content_id, last_activity_at, started_at)
SELECT 's' || n, ARRAY['c' || n % {CONTENTS}, 'c' || (n + 1) % {CONTENTS}], 'c' || n % {CONTENTS},
       timestamptz '2026-01-01+00' + n * interval '1 minute',
       timestamptz '2026-01-01+00' + n * interval '1 minute'
FROM generate_series(0, {SESSIONS} - 1) AS n;
INSERT INTO like_engagement (content_id, session_id, liked, liked_at, content_characteristics)
SELECT 'c' || n * 7 % {CONTENTS}, 's' || n % {SESSIONS}, n % 10 > 0,
       timestamptz '2026-01-01+00' + n * interval '1 second',
       jsonb_build_object('genre', 'genre' || n % 20)
FROM generate_series(0, 99999) AS n ON CONFLICT DO NOTHING;
INSERT INTO learner_model_state (session_id, preference_weights, comprehension_level,
                                 content_type_preferences, last_updated)
SELECT id, '{{}}', 0.5, '{{}}', started_at FROM sessions;
INSERT INTO user_preferences (id, session_id, difficulty_preference)
SELECT CASE WHEN n % 2 = 0 THEN 's' || n ELSE 'u' || n END, 's' || n, 'beginner'
FROM generate_series(0, {SESSIONS} - 1) AS n;
INSERT INTO generation_status (generation_id, session_id, status, content_id, webhook_url,
                               webhook_sent, started_at, completed_at)
SELECT 'g' || n, 's' || n % {SESSIONS},
       CASE WHEN n < 99900 THEN 'completed' WHEN n % 2 = 0 THEN 'generating' ELSE 'processing' END,
       'c' || n % {CONTENTS}, CASE WHEN n % 2 = 0 THEN 'https://hook.example' END, n < 99800,
       timestamptz '2026-01-01+00' + n * interval '1 minute',
       CASE WHEN n < 99900 THEN timestamptz '2026-01-01+00' + (n + 1) * interval '1 minute' END
FROM generate_series(0, 99999) AS n
"""


@dataclass
class Million:
    """Where it is, and what was seen while it was filled."""

    url: str
    result: IngestResult
    memory: list[int]
    """Bytes of the process after each tenth of the events."""


async def source(note: Callable[[], None]) -> AsyncIterator[dict[str, Any]]:
    """As clients send them, in the order of time; a few are bad, a few come twice."""
    for n in range(EVENTS + 1000):
        number = n if n < EVENTS else n - 1000
        yield {
            "id": f"e{number:07}",
            "content_id": f"c{number // 25 * 7 % CONTENTS}" if number % STEP else "nothing",
            "session_id": f"s{number // EVENTS_PER_SESSION}",
            "event_type": KINDS[number % 5],
            "playback_position": number % 300,
            "timestamp": START + timedelta(seconds=10 * number),
            "context": {"n": number},
        }
        if n % STEP == STEP // 2:
            note()
