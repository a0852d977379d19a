"""Simulated listening sessions: contents played, positions, pauses, skips and likes."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from learner_app.content.rows import ContentCreate
from learner_app.listening.rows import LikeCreate, ListeningSessionCreate
from learner_app.operations.seed.contents import SeedContent, session_id, session_start

SESSIONS = 40
DEVICES = (
    {"type": "phone", "os": "Android 15", "app": "3.4.1"},
    {"type": "phone", "os": "iOS 19", "app": "3.4.0"},
    {"type": "desktop", "os": "Windows 11", "browser": "Firefox"},
    {"type": "tablet", "os": "iPadOS 19", "app": "3.4.0"},
)
NETWORKS = ("wifi", "wifi", "4g", "5g")


ACTIONS = {"pause": 3, "skip": 2, "replay": 2, "abandon": 1}
"""Weights of what ends a stretch of listening before the end of the content."""


@dataclass
class SimulatedSession:
    """Listening session of one simulated device.

    The same key, number and random generator always produce the same session.
    """

    id: str
    number: int
    random: Random
    start: datetime
    seconds: float = 0.0
    """Simulated clock: seconds since the start."""
    played: list[ContentCreate] = field(default_factory=list)
    completed: list[ContentCreate] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    """Events as a client sends them."""
    likes: list[LikeCreate] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        """Time of the simulated clock."""
        return self.start + timedelta(milliseconds=int(self.seconds * 1000))

    @property
    def content_ids(self) -> list[str]:
        """Keys of the contents in the order of their first event."""
        return list(dict.fromkeys(event["content_id"] for event in self.events))

    @property
    def new(self) -> ListeningSessionCreate:
        """Input for the repository of sessions."""
        return ListeningSessionCreate(
            id=self.id,
            started_at=self.start,
            last_activity_at=self.now,
            total_listening_time=int(sum(event["duration"] for event in self.events)),
        )

    def between(self, low: float, high: float) -> float:
        """Return a random number between the limits."""
        return low + (high - low) * self.random.random()

    def play(self, content: ContentCreate) -> None:
        """Play the content until it is complete or abandoned."""
        self.played.append(content)
        self.seconds += self.between(3, 40)
        position = 0.0
        self._report("play", position, 0.0)
        while True:
            listened = min(self.between(20, 200), content.duration - position)
            position += listened
            self.seconds += listened
            if position >= content.duration:
                self._report("complete", position, listened)
                self.completed.append(content)
                self._maybe_like(content)
                return
            (action,) = self.random.choices(list(ACTIONS), list(ACTIONS.values()))
            if action == "skip":
                position = min(position + 15, content.duration - 1.0)
            elif action == "replay":
                position = max(position - 10, 0.0)
            self._report(action, position, listened)
            if action == "pause":
                self.seconds += self.between(5, 240)
                self._report("play", position, 0.0)
            elif action == "abandon":
                return

    def _report(self, event_type: str, position: float, listened: float) -> None:
        content = self.played[-1]
        event = {
            "id": f"{self.id}-event-{len(self.events) + 1:03}",
            "content_id": content.id,
            "event_type": event_type,
            "timestamp": self.now,
            "playback_position": round(position, 2),
            "playback_position_percent": round(100 * position / content.duration, 2),
            "duration": round(listened, 2),
            "session_id": self.id,
            "device_info": DEVICES[self.number % len(DEVICES)],
            "network_type": NETWORKS[self.number % len(NETWORKS)],
        }
        self.events.append(event)

    def _maybe_like(self, content: ContentCreate) -> None:
        self.seconds += self.between(1, 9)
        (reaction,) = self.random.choices(("none", "like", "unlike"), (45, 47, 8))
        if reaction != "none":
            liked = reaction == "like"
            like = LikeCreate(
                content_id=content.id,
                session_id=self.id,
                liked=liked,
                liked_at=self.now,
                unliked_at=None if liked else self.now + timedelta(seconds=20),
                reaction_type=self.random.choice(("like", "love", "favorite")),
            )
            self.likes.append(like)


def simulate_sessions(contents: list[SeedContent]) -> list[SimulatedSession]:
    """Return the sessions of the example data, the same ones at every call."""
    return [_simulate(number, contents) for number in range(SESSIONS)]


def _simulate(number: int, contents: list[SeedContent]) -> SimulatedSession:
    random = Random(f"learner_app seed session {number}")  # noqa: S311  # not for cryptography
    session = SimulatedSession(session_id(number), number, random, session_start(number))
    own = [content.new for content in contents if content.session_number == number]
    older = [content.new for content in contents if content.session_number < number]
    random.shuffle(older)
    size = max(len(own), 1 + int(session.between(0, 4)))
    for content in (own + older)[:size]:
        if content.generated_at:  # a session cannot play content before it is generated
            waiting = content.generated_at - session.start
            session.seconds = max(session.seconds, waiting.total_seconds())
        session.play(content)
    return session
