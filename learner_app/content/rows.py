"""Row, inputs and filters of content."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from learner_app.content.tables import ContentTable
from learner_app.repository.inputs import UNSET, Input
from learner_app.repository.rows import Row
from learner_app.repository.values import (
    NUMBER,
    HttpUrlText1000,
    JsonObject,
    Key,
    NonNegativeBigInt,
    NonNegativeInt,
    PositiveInt,
    Text,
    Text10,
    Text50,
    Text100,
    Text200,
    Text255,
    Text500,
    UnitInterval,
    UtcDatetime,
    new_key,
)

__all__ = [
    "Audio",
    "AudioFormat",
    "Content",
    "ContentCreate",
    "ContentFilters",
    "ContentUpdate",
    "Difficulty",
    "Format",
]

Format = Literal["narrative", "podcast", "educational"]
Difficulty = Literal["lexical-heavy", "discourse-heavy"]
AudioFormat = Literal["mp3", "ogg", "wav"]


class Content(Row, frozen=True):
    """Content item that learners listen to."""

    id: str
    title: str
    description: str | None
    text_content: str
    audio_url: str
    audio_format: str | None
    audio_bitrate: int | None
    """In kbit/s."""
    audio_size: int | None
    """In bytes."""
    format: Format
    genre: str | None
    sub_genre: str | None
    topic: str | None
    template_id: str
    template_version: str | None
    difficulty: Difficulty
    difficulty_score: Decimal | None
    """From 0 (easy) to 1 (hard), in hundredths."""
    estimated_comprehension_level: str | None
    duration: int
    """In seconds."""
    word_count: int | None
    model_parameters: dict[str, Any]
    generated_at: datetime
    generated_by: str | None
    session_id: str
    """Listening session that requested the content. It may have been deleted."""
    episode_number: int | None
    """Number in the series, from 1."""
    series_id: str | None
    continuity_context: str | None
    related_content_ids: list[str] | None
    language: str | None
    locale: str | None
    quality_score: Decimal | None
    """From 0 (poor) to 1 (excellent), in hundredths."""
    engagement_metrics: dict[str, Any] | None
    metadata: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime


class ContentCreate(Input, table=ContentTable):
    """New content item."""

    id: Key = Field(default_factory=new_key)
    """A UUIDv7 if omitted."""
    title: Text500
    description: Text | None = None
    text_content: Text
    audio_url: HttpUrlText1000
    audio_format: AudioFormat | None = "mp3"
    audio_bitrate: PositiveInt | None = None
    audio_size: NonNegativeBigInt | None = None
    format: Format
    genre: Text100 | None = None
    sub_genre: Text100 | None = None
    topic: Text200 | None = None
    template_id: Text255
    template_version: Text50 | None = None
    difficulty: Difficulty
    difficulty_score: UnitInterval | None = None
    estimated_comprehension_level: Text50 | None = None
    duration: NonNegativeInt
    word_count: NonNegativeInt | None = None
    model_parameters: JsonObject
    generated_at: UtcDatetime | None = None
    """Current time of the database if omitted."""
    generated_by: Text255 | None = None
    session_id: Key
    episode_number: PositiveInt | None = None
    series_id: Text255 | None = None
    continuity_context: Text | None = None
    related_content_ids: list[Key] | None = None
    language: Text10 | None = "it"
    locale: Text10 | None = None
    quality_score: UnitInterval | None = None
    engagement_metrics: JsonObject | None = None
    metadata: JsonObject | None = None


class ContentUpdate(Input, table=ContentTable):
    """Changes of a content item, except of its session and its number in a series."""

    title: Text500 = UNSET
    description: Text | None = None
    text_content: Text = UNSET
    audio_url: HttpUrlText1000 = UNSET
    audio_format: AudioFormat | None = None
    audio_bitrate: PositiveInt | None = None
    audio_size: NonNegativeBigInt | None = None
    format: Format = UNSET
    genre: Text100 | None = None
    sub_genre: Text100 | None = None
    topic: Text200 | None = None
    template_id: Text255 = UNSET
    template_version: Text50 | None = None
    difficulty: Difficulty = UNSET
    difficulty_score: UnitInterval | None = None
    estimated_comprehension_level: Text50 | None = None
    duration: NonNegativeInt = UNSET
    word_count: NonNegativeInt | None = None
    model_parameters: JsonObject = UNSET
    generated_at: UtcDatetime = UNSET
    generated_by: Text255 | None = None
    continuity_context: Text | None = None
    related_content_ids: list[Key] | None = None
    language: Text10 | None = None
    locale: Text10 | None = None
    quality_score: UnitInterval | None = None
    engagement_metrics: JsonObject | None = None
    metadata: JsonObject | None = None


class Audio(Input, table=ContentTable):
    """Audio file of a content item."""

    url: HttpUrlText1000
    format: AudioFormat
    bitrate: PositiveInt | None
    """In kbit/s."""
    size: NonNegativeBigInt | None
    """In bytes."""
    duration: NonNegativeInt
    """In seconds."""


class ContentFilters(TypedDict, total=False):
    """Filters of content, combined with AND."""

    format: Format
    genre: str
    difficulty: Difficulty
    language: str
    session_id: str
    series_id: str
    generated_since: UtcDatetime
    """Minimum of ``generated_at``, inclusive."""
    generated_until: UtcDatetime
    """Maximum of ``generated_at``, exclusive."""
    min_quality: Annotated[Decimal, Field(ge=0, le=1, decimal_places=100), NUMBER]
    """Minimum of ``quality_score``, inclusive."""
