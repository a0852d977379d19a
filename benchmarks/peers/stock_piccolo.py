"""Piccolo with its own engine and asyncpg's pool."""

from __future__ import annotations

from typing import Any

from piccolo.engine.postgres import PostgresEngine

from benchmarks.contestant import Contestant
from benchmarks.database import POOL, Address
from benchmarks.given import LAST_SEEN, PAGE
from benchmarks.peers.tables import Tables, tables_on


class PiccoloQueries(Contestant):
    """Piccolo's queries on whatever engine."""

    packages = ("piccolo",)
    engine: Any
    tables: Tables

    async def get(self, key: int) -> object:
        item = self.tables.item
        return await item.select().where(item.id == key).first()

    async def get_content(self, key: str) -> object:
        content = self.tables.content
        return await content.select().where(content.id == key).first()

    async def select_1(self) -> object:
        return await self.tables.item.raw("SELECT 1")

    async def insert(self, number: int) -> object:
        new = self.tables.new
        return await new.insert(new({new.name: "new", new.amount: number}))

    async def transaction(self, key: int) -> object:
        item = self.tables.item
        async with self.engine.transaction():
            row = await item.select().where(item.id == key).first()
            amount = (row["amount"] + 1) % 1000
            return await item.update({item.amount: amount}).where(item.id == key)

    async def typed_get(self, key: str) -> object:
        piece = self.tables.piece
        return await piece.objects().where(piece.id == key).first().output(load_json=True)

    async def typed_page(self) -> object:
        piece = self.tables.piece
        query = piece.objects().where(piece.id > LAST_SEEN).order_by(piece.id).limit(PAGE)
        return await query.output(load_json=True)

    async def typed_add(self, fields: dict[str, Any]) -> object:
        piece = self.tables.piece(**fields)
        await piece.save()
        return piece

    async def typed_update(self, key: str, duration: int) -> object:
        piece = self.tables.piece
        row = await piece.objects().where(piece.id == key).first()
        await row.update_self({piece.duration: duration})
        return row

    async def record_batch(self, events: list[dict[str, Any]]) -> object:
        event = self.tables.event
        return await event.insert(*(event(**it) for it in events)).on_conflict(action="DO NOTHING")


class StockPiccolo(PiccoloQueries):
    name = "Piccolo"

    async def start(self, address: Address) -> None:
        config = {
            "host": address.host,
            "port": address.port,
            "user": address.user,
            "database": address.database,
        }
        self.engine = PostgresEngine(config, extensions=())
        await self.engine.start_connection_pool(min_size=POOL, max_size=POOL)
        self.tables = tables_on(self.engine)

    async def stop(self) -> None:
        await self.engine.close_connection_pool()

    async def stream(self) -> int:
        rows = 0
        async with await self.tables.item.select().batch(batch_size=1000) as batch:
            async for page in batch:
                for _row in page:
                    rows += 1
        return rows
