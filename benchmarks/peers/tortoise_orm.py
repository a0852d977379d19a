"""Tortoise ORM on its asyncpg backend."""

from __future__ import annotations

from typing import Any

from tortoise import Tortoise, connections, fields
from tortoise.models import Model
from tortoise.transactions import in_transaction

from benchmarks.contestant import Contestant
from benchmarks.database import POOL, Address


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
