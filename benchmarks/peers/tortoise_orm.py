"""Tortoise ORM on its asyncpg backend."""

from __future__ import annotations

from typing import Any

from tortoise import Tortoise, connections, fields
from tortoise.contrib.postgres.fields import ArrayField
from tortoise.models import Model
from tortoise.transactions import in_transaction

from benchmarks.contestant import Contestant
from benchmarks.database import POOL, Address
from benchmarks.given import LAST_SEEN, PAGE


class Item(Model):
    id = fields.BigIntField(primary_key=True)
    name = fields.TextField()
    amount = fields.IntField()
    created_at = fields.DatetimeField()

    class Meta:
        table = "bench_item"


class New(Model):
    id = fields.BigIntField(primary_key=True)
    name = fields.TextField()
    amount = fields.IntField()

    class Meta:
        table = "bench_new"


class Content(Model):
    id = fields.CharField(255, primary_key=True)
    title = fields.CharField(500)
    text_content = fields.TextField()
    audio_url = fields.CharField(1000)
    audio_size = fields.BigIntField()
    format = fields.CharField(50)
    genre = fields.CharField(100)
    difficulty = fields.CharField(50)
    duration = fields.IntField()
    word_count = fields.IntField()
    language = fields.CharField(10)
    generated_at = fields.DatetimeField()

    class Meta:
        table = "content"


class Piece(Model):
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
    updated_at = fields.DatetimeField(auto_now_add=True)

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


class TortoiseOrm(Contestant):
    """No stream: its ``async for`` loads all rows first."""

    name = "Tortoise ORM"
    packages = ("tortoise-orm",)

    async def start(self, address: Address) -> None:
        credentials: dict[str, Any] = {
            "host": address.host,
            "port": address.port,
            "user": address.user,
            "password": "",
            "database": address.database,
            "min_size": POOL,
            "max_size": POOL,
        }
        engine = {"engine": "tortoise.backends.asyncpg", "credentials": credentials}
        apps = {"bench": {"models": [__name__], "default_connection": "default"}}
        config = {"connections": {"default": engine}, "apps": apps, "use_tz": True}
        await Tortoise.init(config=config)

    async def stop(self) -> None:
        await connections.close_all()

    async def get(self, key: int) -> object:
        return await Item.get(id=key)

    async def get_content(self, key: str) -> object:
        return await Content.get(id=key)

    async def select_1(self) -> object:
        return await connections.get("default").execute_query("SELECT 1")

    async def insert(self, number: int) -> object:
        return await New.create(name="new", amount=number)

    async def transaction(self, key: int) -> object:
        async with in_transaction() as connection:
            row = await Item.get(id=key, using_db=connection)
            row.amount = (row.amount + 1) % 1000
            await row.save(using_db=connection, update_fields=["amount"])
            return row

    async def typed_get(self, key: str) -> object:
        return await Piece.get(id=key)

    async def typed_page(self) -> object:
        return await Piece.filter(id__gt=LAST_SEEN).order_by("id").limit(PAGE)

    async def typed_add(self, fields: dict[str, Any]) -> object:
        return await Piece.create(**fields)

    async def typed_update(self, key: str, duration: int) -> object:
        row = await Piece.get(id=key)
        row.duration = duration
        await row.save(update_fields=["duration"])
        return row

    async def record_batch(self, events: list[dict[str, Any]]) -> object:
        return await Event.bulk_create([Event(**it) for it in events], ignore_conflicts=True)
