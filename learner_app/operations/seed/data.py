"""Example contents and simulated listening sessions, the same at every call.

Texts and constant values are in TOML files, whose keys are the fields of the inputs.
"""

import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from learner_app.content.rows import ContentCreate
from learner_app.listening.rows import ListeningSessionCreate

FOLDER = Path(__file__).parent
CONSTANTS = tomllib.loads((FOLDER / "constants.toml").read_text(encoding="utf-8"))
SESSION_IDS = [f"session-{number:02}" for number in range(1, 41)]
FIRST_SESSION = datetime(2026, 9, 1, 7, 30, tzinfo=UTC)
TIME_BETWEEN_SESSIONS = timedelta(hours=17, minutes=41)
TIME_BEFORE_PLAY = timedelta(minutes=1)  # the contents of a session are generated within it


class SeedSession(NamedTuple):
    """Listening session, its list of contents, and its events as a client sends them."""

    new: ListeningSessionCreate
    content_ids: list[str]
    events: list[dict[str, Any]]


def load_contents() -> list[ContentCreate]:
    """Return the Italian texts, which were written for this project."""
    files = [file.read_text(encoding="utf-8") for file in sorted(FOLDER.glob("texts/*.toml"))]
    texts = [text for file in files for text in tomllib.loads(file)["content"]]
    return [ContentCreate(**CONSTANTS["content"], **text) for text in texts]


def simulate_sessions(contents: Sequence[ContentCreate]) -> list[SeedSession]:
    """Return the example sessions, which play contents that exist at that time."""
    sessions = []
    for number, session_id in enumerate(SESSION_IDS):
        start = FIRST_SESSION + number * TIME_BETWEEN_SESSIONS
        existing = [content for content in contents if content.session_id <= session_id]
        sessions.append(simulate_session(session_id, start, existing))
    return sessions


def simulate_session(
    session_id: str, start: datetime, contents: Sequence[ContentCreate], max_events: int = 1000
) -> SeedSession:
    """Return a session that plays its own contents and some of the others.

    The same arguments always produce the same session.
    """
    random = Random(session_id)  # noqa: S311  # not for cryptography
    own = [content for content in contents if content.session_id == session_id]
    others = [content for content in contents if content.session_id != session_id]
    size = min(len(others), random.randint(0 if own else 1, 4))
    client = random.choice(CONSTANTS["clients"])
    time = start + TIME_BEFORE_PLAY
    events: list[dict[str, Any]] = []
    for content in own + random.sample(others, size):
        position = 0.0
        exponent = random.uniform(0.8, 1.25)  # varies the fractions between 0 and 1
        for event_type, fraction in random.choice(CONSTANTS["listening_patterns"]):
            reached = content.duration * fraction**exponent
            listened = reached - position
            silence = random.uniform(5, 240) if event_type == "play" else 0
            time += timedelta(seconds=listened + silence)
            position = reached + CONSTANTS["jumps"].get(event_type, 0)
            event = {
                "id": f"{session_id}-event-{len(events) + 1:03}",
                "session_id": session_id,
                "content_id": content.id,
                "event_type": event_type,
                "timestamp": time,
                "playback_position": round(position, 2),
                "playback_position_percent": round(100 * position / content.duration, 2),
                "duration": round(listened, 2),
            }
            events.append(event | client)
    del events[max_events:]
    new = ListeningSessionCreate(
        id=session_id,
        started_at=start,
        last_activity_at=events[-1]["timestamp"],
        total_listening_time=int(sum(event["duration"] for event in events)),
    )
    content_ids = dict.fromkeys(event["content_id"] for event in events)
    return SeedSession(new, list(content_ids), events)
