"""Rows, inputs and filters of listening sessions, behavioral events and likes."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import msgspec
from pydantic import Field, ValidationInfo, field_validator
from typing_extensions import TypedDict

from learner_app.listening.tables import (
    BehavioralEventTable,
    LikeEngagementTable,
    ListeningSessionTable,
)
from learner_app.repository.inputs import UNSET, Input
from learner_app.repository.rows import Row
from learner_app.repository.values import (
    EventType,
    JsonObject,
    Key,
    NonNegativeInt,
    Percent,
    Seconds,
    StrictBool,
    Text50,
    UtcDatetime,
    new_key,
)

__all__ = [
    "Appended",
    "BatchResult",
    "BehavioralEvent",
    "BehavioralEventCreate",
    "BehavioralEventFilters",
    "BehavioralEventUpdate",
    "ContentLikes",
    "Dimension",
    "Engagement",
    "EventFailure",
    "IngestResult",
    "Like",
    "LikeCreate",
    "LikeFilters",
    "LikeKey",
    "LikeUpdate",
    "ListeningSession",
    "ListeningSessionCreate",
    "ListeningSessionFilters",
    "ListeningSessionUpdate",
    "Position",
    "Reaction",
]

Reaction = Literal["like", "love", "favorite"]

Dimension = Literal["format", "genre", "difficulty", "template"]
"""Characteristic of content by which likes and engagement are grouped."""


class ListeningSession(Row, frozen=True):
    """Listening session of one device."""

    id: str
    started_at: datetime
    last_activity_at: datetime
    content_ids: list[str]
    """Ids of content items in listening order. Some of them may have been deleted since."""
    current_content_id: str | None
    total_listening_time: int
    """In seconds."""
    created_at: datetime
    updated_at: datetime


class Appended(NamedTuple):
    """Result of appending a content item to a session's list."""

    position: int
    """Position of the item in the list, from 0."""
    added: bool
    """False if the list contained the item already."""


class Position(NamedTuple):
    """Position of the current content in a session's list."""

    index: int | None  # type: ignore[assignment]  # hides a tuple's method of that name
    """From 0, None if no content is current."""
    total: int
    """Number of existing content items in the list."""


class ListeningSessionCreate(Input, table=ListeningSessionTable):
    """New session."""

    id: Key = Field(default_factory=new_key)
    """A UUIDv7 if omitted."""
    started_at: UtcDatetime | None = None
    """Current time of the database if omitted, as for ``last_activity_at``."""
    last_activity_at: UtcDatetime | None = None
    total_listening_time: NonNegativeInt = 0


class ListeningSessionUpdate(Input, table=ListeningSessionTable):
    """Changes of a session.

    The list of content items, the current one and the last activity are changed by operations of
    ``ListeningSessionRepository``.
    """

    started_at: UtcDatetime = UNSET
    total_listening_time: NonNegativeInt = UNSET


class ListeningSessionFilters(TypedDict, total=False):
    """Filters of sessions, combined with AND."""

    started_since: UtcDatetime
    """Minimum of ``started_at``, inclusive."""
    started_until: UtcDatetime
    """Maximum of ``started_at``, exclusive."""
    active_since: UtcDatetime
    """Minimum of ``last_activity_at``, inclusive."""
    active_until: UtcDatetime
    """Maximum of ``last_activity_at``, exclusive."""


class BehavioralEvent(Row, frozen=True):
    """Action of a learner while listening."""

    id: str
    content_id: str
    event_type: str
    timestamp: datetime
    playback_position: Decimal
    """In seconds from the start of the content."""
    playback_position_percent: Decimal | None
    """Playback position as a percentage of the content's duration, 0 to 100."""
    duration: Decimal | None
    """Seconds listened since the previous event."""
    session_id: str
    content_characteristics: dict[str, Any]
    """``format``, ``genre``, ``difficulty`` and ``template_id`` of the content at that time."""
    device_info: dict[str, Any] | None
    network_type: str | None
    context: dict[str, Any] | None
    created_at: datetime


class BehavioralEventCreate(Input, table=BehavioralEventTable):
    """New event.

    A client that may send an event twice has to choose the id.
    """

    id: Key = Field(default_factory=new_key)
    """A UUIDv7 if omitted."""
    content_id: Key
    event_type: EventType
    timestamp: UtcDatetime | None = None
    """Current time of the database if omitted."""
    playback_position: Seconds
    playback_position_percent: Percent | None = None
    duration: Seconds | None = None
    session_id: Key
    content_characteristics: JsonObject | None = None
    """Characteristics of the stored content if omitted."""
    device_info: JsonObject | None = None
    network_type: Text50 | None = None
    context: JsonObject | None = None


class BehavioralEventUpdate(Input, table=BehavioralEventTable):
    """Corrections of an event.

    Type, time, position, content and session of a stored event never change.
    """

    device_info: JsonObject | None = None
    network_type: Text50 | None = None
    context: JsonObject | None = None


class BehavioralEventFilters(TypedDict, total=False):
    """Filters of events, combined with AND."""

    session_id: str
    content_id: str
    event_type: str
    types: list[str]
    """Values of ``event_type``, of which the event has one."""
    since: UtcDatetime
    """Minimum of ``timestamp``, inclusive."""
    until: UtcDatetime
    """Maximum of ``timestamp``, exclusive."""


class EventFailure(msgspec.Struct, frozen=True):
    """Event of a batch or stream that was not stored."""

    index: int
    """Index of the event in the batch or stream, from 0."""
    id: str | None
    reason: str


class BatchResult(msgspec.Struct, frozen=True):
    """Result of a batch insert."""

    recorded: int
    duplicates: int
    """Number of valid events whose id was stored before or occurred earlier in the batch."""
    failed: list[EventFailure]


class IngestResult(msgspec.Struct, frozen=True):
    """Result of storing a stream of events."""

    recorded: int
    duplicates: int
    """Number of valid events whose id was stored before or occurred earlier in the stream."""
    failed: int
    failures: list[EventFailure]
    """The first 1,000 failures."""


class Engagement(msgspec.Struct, frozen=True):
    """Aggregated use of one content item, or of all with the same value of a characteristic."""

    total_plays: int
    """Number of events of type ``play``."""
    total_completions: int
    """Number of events of the types ``complete`` and ``complete-with-replay``."""
    average_completion_rate: float
    """Completions divided by plays, at most 1. It is 0 without plays."""
    average_listening_duration: float
    """Mean of the furthest playback position of each session in each content item, in seconds.

    A position after the end counts as the end. A position after twice the duration is ignored.
    """
    like_count: int
    """Number of active likes."""
    skip_rate: float
    """Fraction of events whose type begins with ``skip``."""
    replay_rate: float
    """Fraction of events whose type begins with ``replay``."""
    last_engaged_at: datetime | None
    """Time of the newest event."""


class LikeKey(NamedTuple):
    """Key of a like."""

    content_id: str
    session_id: str


class Like(Row, frozen=True):
    """Like of a content item by a session.

    Removing a like sets ``liked`` to False and keeps the row.
    """

    content_id: str
    session_id: str
    liked: bool
    """True for an active like, False for a removed one."""
    liked_at: datetime | None
    """Time of the first like."""
    unliked_at: datetime | None
    """Time of the removal, None for an active like."""
    reaction_type: Reaction | None
    content_characteristics: dict[str, Any]
    """``format``, ``genre``, ``difficulty`` and ``template_id`` of the content at that time."""
    created_at: datetime
    updated_at: datetime


class LikeCreate(Input, table=LikeEngagementTable):
    """Imported like.

    An application calls ``LikeRepository.like`` instead.
    """

    content_id: Key
    session_id: Key
    liked: StrictBool = False
    liked_at: UtcDatetime | None = None
    """Current time of the database if omitted for an active like."""
    unliked_at: UtcDatetime | None = None
    """Only valid for a removed like."""
    reaction_type: Reaction | None = None
    content_characteristics: JsonObject | None = None
    """Characteristics of the stored content if omitted."""

    @field_validator("unliked_at")
    @classmethod
    def _require_removed(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        if value is not None and info.data.get("liked"):
            raise ValueError("must be omitted while liked is true")
        return value


class LikeUpdate(Input, table=LikeEngagementTable):
    """Changes of a like.

    ``liked`` and its times are changed by ``like``, ``unlike`` and ``toggle``.
    """

    reaction_type: Reaction | None = None
    content_characteristics: JsonObject = UNSET


class ContentLikes(NamedTuple):
    """Number of active likes of a content item."""

    content_id: str
    likes: int


class LikeFilters(TypedDict, total=False):
    """Filters of likes, combined with AND."""

    session_id: str
    content_id: str
    liked: bool
    """True for active likes, False for removed ones."""
    reaction_type: Reaction
