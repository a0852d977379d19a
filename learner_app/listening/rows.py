"""Listening sessions, events and likes: rows, inputs and filters."""

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

Reaction = Literal["like", "love", "favorite"]
Dimension = Literal["format", "genre", "difficulty", "template"]


class ListeningSession(Row, frozen=True):
    """The listening of one device."""

    id: str
    started_at: datetime
    last_activity_at: datetime
    content_ids: list[str]
    """In listening order; pieces may have been deleted since."""
    current_content_id: str | None
    total_listening_time: int
    """In seconds."""
    created_at: datetime
    updated_at: datetime


class Ensured(NamedTuple):
    """A session, and whether it was created by this call."""

    session: ListeningSession
    created: bool


class Appended(NamedTuple):
    """The place of a piece in its session, from 0, and whether it was added by this call."""

    position: int
    added: bool


class Position(NamedTuple):
    """The place of the current piece, from 0, None without one; and how many pieces there are."""

    index: int | None  # type: ignore[assignment]  # hides a tuple's method of that name
    total: int


class ListeningSessionCreate(Input, table=ListeningSessionTable):
    """A new session; its id is made where none is given."""

    id: Key = Field(default_factory=new_key)
    started_at: UtcDatetime | None = None
    """Now by the database's clock where left out; the same for ``last_activity_at``."""
    last_activity_at: UtcDatetime | None = None
    total_listening_time: NonNegativeInt = 0


class ListeningSessionUpdate(Input, table=ListeningSessionTable):
    """Changes of a session; its pieces, its place and its activity have operations of their own."""

    started_at: UtcDatetime = UNSET
    total_listening_time: NonNegativeInt = UNSET


class ListeningSessionFilters(TypedDict, total=False):
    """Each narrows the selection."""

    started_since: UtcDatetime
    """Started then or later."""
    started_until: UtcDatetime
    """Started before then."""
    active_since: UtcDatetime
    """Last active then or later."""
    active_until: UtcDatetime
    """Last active before then."""


class BehavioralEvent(Row, frozen=True):
    """Something a learner did while listening."""

    id: str
    content_id: str
    event_type: str
    timestamp: datetime
    playback_position: Decimal
    """In seconds from the start."""
    playback_position_percent: Decimal | None
    """Of the piece's duration."""
    duration: Decimal | None
    """Seconds listened since the event before."""
    session_id: str
    content_characteristics: dict[str, Any]
    """``format``, ``genre``, ``difficulty`` and ``template_id`` of the piece then."""
    device_info: dict[str, Any] | None
    network_type: str | None
    context: dict[str, Any] | None
    created_at: datetime


class BehavioralEventCreate(Input, table=BehavioralEventTable):
    """A new event; a client that may send it twice gives the id."""

    id: Key = Field(default_factory=new_key)
    content_id: Key
    event_type: EventType
    timestamp: UtcDatetime | None = None
    """Now by the database's clock where left out."""
    playback_position: Seconds
    playback_position_percent: Percent | None = None
    duration: Seconds | None = None
    session_id: Key
    content_characteristics: JsonObject | None = None
    """Those of the piece where left out."""
    device_info: JsonObject | None = None
    network_type: Text50 | None = None
    context: JsonObject | None = None


class BehavioralEventUpdate(Input, table=BehavioralEventTable):
    """What may be put right afterwards; what happened stays."""

    device_info: JsonObject | None = None
    network_type: Text50 | None = None
    context: JsonObject | None = None


class BehavioralEventFilters(TypedDict, total=False):
    """Each narrows the selection."""

    session_id: str
    content_id: str
    event_type: str
    types: list[str]
    """One of these."""
    since: UtcDatetime
    """Happened then or later."""
    until: UtcDatetime
    """Happened before then."""


class EventFailure(msgspec.Struct, frozen=True):
    """An event that could not be stored."""

    index: int
    """Its place among those given, from 0."""
    id: str | None
    reason: str


class BatchResult(msgspec.Struct, frozen=True):
    """What became of a batch."""

    recorded: int
    duplicates: int
    """Whose id was stored already, or came earlier in the batch."""
    failed: list[EventFailure]


class IngestResult(msgspec.Struct, frozen=True):
    """What became of a stream of events."""

    recorded: int
    duplicates: int
    failed: int
    failures: list[EventFailure]
    """The first 1,000 of those that failed."""


class Engagement(msgspec.Struct, frozen=True):
    """How learners took to a piece, or to all pieces of a kind."""

    total_plays: int
    """Events ``play``."""
    total_completions: int
    """Events ``complete`` and ``complete-with-replay``."""
    average_completion_rate: float
    """Completions by plays, at most 1; 0 without plays."""
    average_listening_duration: float
    """Mean over sessions of the furthest playback position in each content, in seconds.

    A position past the end counts as the end, one beyond twice the duration is ignored.
    """
    like_count: int
    """Likes that stand."""
    skip_rate: float
    """Events whose type begins with ``skip``, by all events."""
    replay_rate: float
    """The same for ``replay``."""
    last_engaged_at: datetime | None
    """The newest event."""


class LikeKey(NamedTuple):
    """The key of a like."""

    content_id: str
    session_id: str


class Like(Row, frozen=True):
    """What a session thinks of a piece."""

    content_id: str
    session_id: str
    liked: bool
    """Whether the like stands."""
    liked_at: datetime | None
    """When it was liked first."""
    unliked_at: datetime | None
    """When the like was taken back, if it does not stand."""
    reaction_type: Reaction | None
    content_characteristics: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class LikeCreate(Input, table=LikeEngagementTable):
    """Like imported from elsewhere.

    An application calls ``LikeRepository.like`` instead.
    """

    content_id: Key
    session_id: Key
    liked: StrictBool = False
    liked_at: UtcDatetime | None = None
    """Now if omitted and ``liked``."""
    unliked_at: UtcDatetime | None = None
    """Only of a like that was taken back."""
    reaction_type: Reaction | None = None
    content_characteristics: JsonObject | None = None
    """Those of the content if omitted."""

    @field_validator("unliked_at")
    @classmethod
    def _only_of_a_like_taken_back(
        cls, value: datetime | None, info: ValidationInfo
    ) -> datetime | None:
        if value is not None and info.data.get("liked"):
            raise ValueError("must be omitted while liked is true")
        return value


class LikeUpdate(Input, table=LikeEngagementTable):
    """Changes of a like; whether it stands changes by like, unlike and toggle."""

    reaction_type: Reaction | None = None
    content_characteristics: JsonObject = UNSET


class ContentLikes(NamedTuple):
    """How many likes of a piece stand."""

    content_id: str
    likes: int


class LikeFilters(TypedDict, total=False):
    """Each narrows the selection."""

    session_id: str
    content_id: str
    liked: bool
    reaction_type: Reaction
