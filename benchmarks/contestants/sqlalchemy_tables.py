"""The tables as SQLAlchemy declares them, and the engine that its three contestants use."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

import orjson
from sqlalchemy import BigInteger, DateTime, FetchedValue, Text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from benchmarks.address import Address
from benchmarks.contestants.base import POOL_SIZE, Fields

BigInt = Annotated[int, mapped_column(BigInteger)]
Key = Annotated[str, mapped_column(primary_key=True)]
Json = dict[str, Any]
Created = Annotated[datetime, mapped_column(server_default=FetchedValue())]
Updated = Annotated[
    datetime, mapped_column(server_default=FetchedValue(), server_onupdate=FetchedValue())
]


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012  # declared so by SQLAlchemy
        str: Text,
        datetime: DateTime(timezone=True),
        Json: JSONB,
        list[str]: ARRAY(Text),
    }
    # Values that the database sets come with RETURNING, since an attribute cannot be awaited.
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012


class Content(Base):
    __tablename__ = "content"

    id: Mapped[Key]
    title: Mapped[str]
    description: Mapped[str | None]
    text_content: Mapped[str]
    audio_url: Mapped[str]
    audio_format: Mapped[str | None]
    audio_bitrate: Mapped[int | None]
    audio_size: Mapped[BigInt | None]
    format: Mapped[str]
    genre: Mapped[str | None]
    sub_genre: Mapped[str | None]
    topic: Mapped[str | None]
    template_id: Mapped[str]
    template_version: Mapped[str | None]
    difficulty: Mapped[str]
    difficulty_score: Mapped[Decimal | None]
    estimated_comprehension_level: Mapped[str | None]
    duration: Mapped[int]
    word_count: Mapped[int | None]
    model_parameters: Mapped[Json]
    generated_at: Mapped[datetime]
    generated_by: Mapped[str | None]
    session_id: Mapped[str]
    episode_number: Mapped[int | None]
    series_id: Mapped[str | None]
    continuity_context: Mapped[str | None]
    related_content_ids: Mapped[list[str] | None]
    language: Mapped[str | None]
    locale: Mapped[str | None]
    quality_score: Mapped[Decimal | None]
    engagement_metrics: Mapped[Json | None]
    metadata_: Mapped[Json | None] = mapped_column("metadata")
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]


class Event(Base):
    __tablename__ = "behavioral_events"

    id: Mapped[Key]
    content_id: Mapped[str]
    event_type: Mapped[str]
    timestamp: Mapped[datetime]
    playback_position: Mapped[Decimal]
    playback_position_percent: Mapped[Decimal | None]
    duration: Mapped[Decimal | None]
    session_id: Mapped[str]
    content_characteristics: Mapped[Json]
    device_info: Mapped[Json | None]
    network_type: Mapped[str | None]
    context: Mapped[Json | None]
    created_at: Mapped[Created]


class State(Base):
    __tablename__ = "learner_model_state"

    session_id: Mapped[Key]
    preference_weights: Mapped[Json]
    comprehension_level: Mapped[Decimal]
    content_type_preferences: Mapped[Json]
    difficulty_adjustment: Mapped[Decimal]
    last_updated: Mapped[datetime]
    data_points: Mapped[int]
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]


class Like(Base):
    __tablename__ = "like_engagement"

    content_id: Mapped[Key]
    session_id: Mapped[Key]
    liked: Mapped[bool]
    liked_at: Mapped[datetime | None]
    unliked_at: Mapped[datetime | None]
    reaction_type: Mapped[str | None]
    content_characteristics: Mapped[Json]
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]


def make_engine(address: Address) -> AsyncEngine:
    """Return an engine with a pool of the common size and JSON through orjson."""
    url = address.url.replace("postgresql:", "postgresql+asyncpg:", 1)
    return create_async_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=0,
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
    )


def object_fields(row: Any) -> Fields:
    """Return the columns of a mapped object with their values."""
    attributes = type(row).__mapper__.column_attrs
    return {attribute.columns[0].name: getattr(row, attribute.key) for attribute in attributes}
