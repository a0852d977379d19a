"""Tortoise ORM on its asyncpg backend."""

from __future__ import annotations

from typing import Any

from tortoise import Tortoise, connections, fields
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.models import Model
from tortoise.timezone import now
from tortoise.transactions import in_transaction

from benchmarks.address import Address
from benchmarks.contestants.base import PAGE, POOL_SIZE, Contestant, Fields


class Content(Model):
    id = fields.CharField(255, primary_key=True)
    title = fields.CharField(500)
    description = fields.TextField(null=True)
    text_content = fields.TextField()
    audio_url = fields.CharField(1000)
    audio_format = fields.CharField(10, null=True)
    audio_bitrate = fields.IntField(null=True)
    audio_size = fields.BigIntField(null=True)
    format = fields.CharField(50)
    genre = fields.CharField(100, null=True)
    sub_genre = fields.CharField(100, null=True)
    topic = fields.CharField(200, null=True)
    template_id = fields.CharField(255)
    template_version = fields.CharField(50, null=True)
    difficulty = fields.CharField(50)
    difficulty_score = fields.DecimalField(3, 2, null=True)
    estimated_comprehension_level = fields.CharField(50, null=True)
    duration = fields.IntField()
    word_count = fields.IntField(null=True)
    model_parameters: Any = fields.JSONField()
    generated_at = fields.DatetimeField()
    generated_by = fields.CharField(255, null=True)
    session_id = fields.CharField(255)
    episode_number = fields.IntField(null=True)
    series_id = fields.CharField(255, null=True)
    continuity_context = fields.TextField(null=True)
    related_content_ids = ArrayField("text", null=True)
    language = fields.CharField(10, null=True)
    locale = fields.CharField(10, null=True)
    quality_score = fields.DecimalField(3, 2, null=True)
    engagement_metrics: Any = fields.JSONField(null=True)
    metadata: Any = fields.JSONField(null=True)
    created_at = fields.DatetimeField(auto_now_add=True)
    updated_at = fields.DatetimeField(auto_now=True)

    class Meta:
        table = "content"


class Event(Model):
    id = fields.CharField(255, primary_key=True)
    content_id = fields.CharField(255)
    event_type = fields.CharField(50)
    timestamp = fields.DatetimeField()
    playback_position = fields.DecimalField(10, 2)
    playback_position_percent = fields.DecimalField(5, 2, null=True)
    duration = fields.DecimalField(10, 2, null=True)
    session_id = fields.CharField(255)
    content_characteristics: Any = fields.JSONField()
    device_info: Any = fields.JSONField(null=True)
    network_type = fields.CharField(50, null=True)
    context: Any = fields.JSONField(null=True)
    created_at = fields.DatetimeField(auto_now_add=True)

    class Meta:
        table = "behavioral_events"


class State(Model):
    session_id = fields.CharField(255, primary_key=True)
    preference_weights: Any = fields.JSONField()
    comprehension_level = fields.DecimalField(3, 2)
    content_type_preferences: Any = fields.JSONField()
    difficulty_adjustment = fields.DecimalField(5, 2)
    last_updated = fields.DatetimeField()
    data_points = fields.IntField()
    created_at = fields.DatetimeField(auto_now_add=True)
    updated_at = fields.DatetimeField(auto_now=True)

    class Meta:
        table = "learner_model_state"


class Like(Model):
    # Tortoise has no composite keys. None of the operations below uses this one.
    content_id = fields.CharField(255, primary_key=True)
    session_id = fields.CharField(255)
    liked = fields.BooleanField()
    liked_at = fields.DatetimeField(null=True)
    unliked_at = fields.DatetimeField(null=True)
    reaction_type = fields.CharField(50, null=True)
    content_characteristics: Any = fields.JSONField()
    created_at = fields.DatetimeField(auto_now_add=True)
    updated_at = fields.DatetimeField(auto_now=True)

    class Meta:
        table = "like_engagement"


class TortoiseOrm(Contestant):
    """No stream, since its ``async for`` loads all rows first."""

    title = "Tortoise ORM"
    packages = ("tortoise-orm",)

    async def start(self, address: Address) -> None:
        pool = {"minsize": POOL_SIZE, "maxsize": POOL_SIZE}
        credentials = {**address.arguments(), "password": "", **pool}
        engine = {"engine": "tortoise.backends.asyncpg", "credentials": credentials}
        apps = {"benchmarks": {"models": [__name__], "default_connection": "default"}}
        config = {"connections": {"default": engine}, "apps": apps, "use_tz": True}
        await Tortoise.init(config=config)

    async def stop(self) -> None:
        await connections.close_all()

    def fields(self, row: Any) -> Fields:
        return {name: getattr(row, name) for name in row._meta.fields_map}

    async def get(self, content_id: str) -> Any:
        return await Content.get(id=content_id)

    async def list_content(self, format: str) -> Any:  # noqa: A002  # the column
        return await Content.filter(format=format).order_by("-generated_at", "-id").limit(PAGE)

    async def list_events(self, session_id: str) -> Any:
        return await Event.filter(session_id=session_id).order_by("timestamp", "id").limit(1000)

    async def insert(self, event: Fields) -> Any:
        return await Event.create(**event)

    async def insert_many(self, events: list[Fields]) -> None:
        await Event.bulk_create([Event(**event) for event in events])

    async def insert_new(self, events: list[Fields]) -> None:
        await Event.bulk_create([Event(**event) for event in events], ignore_conflicts=True)

    async def record_batch(self, events: list[Fields]) -> None:
        await self.insert_new(events)

    async def update(self, session_id: str, changes: Fields) -> Any:
        await State.filter(session_id=session_id).update(**changes, last_updated=now())
        return await State.get(session_id=session_id)

    async def fold(self, session_id: str) -> Any:
        async with in_transaction() as connection:
            query = State.select_for_update(no_key=True).using_db(connection)
            row = await query.get(session_id=session_id)
            row.data_points += 1
            row.last_updated = now()
            await row.save(using_db=connection, update_fields=["data_points", "last_updated"])
        return row

    async def like(self, content_id: str, session_id: str, characteristics: Fields) -> Any:
        row = Like(
            content_id=content_id,
            session_id=session_id,
            liked=True,
            liked_at=now(),
            reaction_type="like",
            content_characteristics=characteristics,
        )
        key = ["content_id", "session_id"]
        await Like.bulk_create([row], on_conflict=key, update_fields=["liked", "unliked_at"])
        return await Like.get(content_id=content_id, session_id=session_id)

    async def transaction(self, content_id: str) -> Any:
        async with in_transaction() as connection:
            row = await Content.get(id=content_id, using_db=connection)
            row.duration += 1
            await row.save(using_db=connection, update_fields=["duration"])
        return row
