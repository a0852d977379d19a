"""Listening as people do it: what forty sessions heard, where they stopped and what they liked."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

from learner_app.listening.tables import (
    BehavioralEventTable,
    LikeEngagementTable,
    ListeningSessionTable,
)
from learner_app.operations.seed.pieces import Piece, session_id, session_start

SESSIONS = 40
DEVICES = (
    {"type": "phone", "os": "Android 15", "app": "3.4.1"},
    {"type": "phone", "os": "iOS 19", "app": "3.4.0"},
    {"type": "desktop", "os": "Windows 11", "browser": "Firefox"},
    {"type": "tablet", "os": "iPadOS 19", "app": "3.4.0"},
)
NETWORKS = ("wifi", "wifi", "4g", "5g")


class Event(NamedTuple):
    """A row of behavioral_events, in the order of its columns, but for ``context``."""

    id: str
    content_id: str
    event_type: str
    timestamp: datetime
    playback_position: Decimal
    playback_position_percent: Decimal
    duration: Decimal
    session_id: str
    content_characteristics: dict[str, str]
    device_info: dict[str, str]
    network_type: str
    created_at: datetime

    def row(self) -> BehavioralEventTable:
        return BehavioralEventTable(**self._asdict())


@dataclass
class SeedSession:
    """One listening session while it is being told."""

    id: str
    number: int
    random: Random
    start: datetime
    now: datetime
    heard: list[Piece] = field(default_factory=list)
    completed: list[Piece] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    likes: list[LikeEngagementTable] = field(default_factory=list)
    seconds_listened: float = 0.0

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.random.random()

    def wait(self, low: float, high: float) -> None:
        self.now += timedelta(seconds=round(self.between(low, high), 3))

    def cut(self, events: int) -> None:
        """Let the session end after that many events, at least one."""
        if len(self.events) <= events:
            return
        del self.events[events:]
        played = {event.content_id for event in self.events}
        self.heard = [piece for piece in self.heard if piece.id in played]
        self.seconds_listened = float(sum(event.duration for event in self.events))
        self.now = self.events[-1].timestamp

    def row(self) -> ListeningSessionTable:
        return ListeningSessionTable(**self.columns())

    def columns(self) -> dict[str, Any]:
        """The values of its row in sessions, in the order of the columns."""
        return {
            "id": self.id,
            "started_at": self.start,
            "last_activity_at": self.now,
            "content_ids": [piece.id for piece in self.heard],
            "current_content_id": self.heard[-1].id,
            "total_listening_time": int(self.seconds_listened),
            "created_at": self.start,
            "updated_at": self.now,
        }


@dataclass
class Playback:
    """One piece being heard in a session; keeps clock and position in step."""

    session: SeedSession
    piece: Piece
    position: float = 0.0
    unreported: float = 0.0

    def listen(self, seconds: float) -> None:
        seconds = min(seconds, self.piece.duration - self.position)
        self.position += seconds
        self.unreported += seconds
        self.session.seconds_listened += seconds
        self.session.now += timedelta(seconds=round(seconds, 3))

    def report(self, event_type: str) -> None:
        session, piece = self.session, self.piece
        session.events.append(
            Event(
                id=f"{session.id}-event-{len(session.events) + 1:03}",
                content_id=piece.id,
                event_type=event_type,
                timestamp=session.now,
                playback_position=_hundredths(self.position),
                playback_position_percent=_hundredths(100 * self.position / piece.duration),
                duration=_hundredths(self.unreported),
                session_id=session.id,
                content_characteristics=piece.characteristics,
                device_info=DEVICES[session.number % len(DEVICES)],
                network_type=NETWORKS[session.number % len(NETWORKS)],
                created_at=session.now,
            )
        )
        self.unreported = 0.0

    def jump(self, event_type: str, seconds: float) -> None:
        self.position = min(max(self.position + seconds, 0.0), self.piece.duration - 1.0)
        self.report(event_type)


def tell_sessions(pieces: list[Piece]) -> list[SeedSession]:
    """All sessions, the same ones at every call."""
    return [_tell(number, pieces) for number in range(SESSIONS)]


def _tell(number: int, pieces: list[Piece]) -> SeedSession:
    start = session_start(number)
    random = Random(f"learner_app seed session {number}")  # noqa: S311  # a story, no secret
    session = SeedSession(session_id(number), number, random, start, start)
    own = [piece for piece in pieces if piece.owner == number]
    older = [piece for piece in pieces if piece.owner < number]
    random.shuffle(older)
    wanted = 1 + int(session.between(0, 4))
    for piece in (own + older)[: max(len(own), wanted)]:
        session.now = max(session.now, piece.generated_at)
        session.wait(3, 40)
        hear(session, piece)
    return session


def hear(session: SeedSession, piece: Piece) -> None:
    """The session listens to the piece until it is complete or abandoned."""
    playback = Playback(session, piece)
    session.heard.append(piece)
    playback.report("play")
    while True:
        playback.listen(session.between(15, 75))
        if playback.position >= piece.duration:
            playback.report("complete")
            session.completed.append(piece)
            _maybe_like(session, piece)
            return
        if session.chance(0.07):
            playback.report("abandon")
            return
        _maybe_interrupt(playback)


def _maybe_interrupt(playback: Playback) -> None:
    session = playback.session
    if session.chance(0.16):
        playback.report("pause")
        session.wait(5, 240)
        playback.report("play")
    elif session.chance(0.10):
        playback.jump("skip", 15)
    elif session.chance(0.14):
        playback.jump("replay", -10)


def _maybe_like(session: SeedSession, piece: Piece) -> None:
    if not session.chance(0.55):
        return
    session.wait(1, 9)
    liked_at = session.now
    taken_back = session.chance(0.15)
    if taken_back:
        session.wait(2, 30)
    session.likes.append(
        LikeEngagementTable(
            content_id=piece.id,
            session_id=session.id,
            liked=not taken_back,
            liked_at=liked_at,
            unliked_at=session.now if taken_back else None,
            reaction_type=("like", "love", "favorite")[int(session.between(0, 3))],
            content_characteristics=piece.characteristics,
            created_at=liked_at,
            updated_at=session.now,
        )
    )


def _hundredths(value: float) -> Decimal:
    return Decimal(f"{value:.2f}")
