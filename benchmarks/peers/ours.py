"""Our engine, with SQL as text and with Piccolo's queries."""

from __future__ import annotations

from benchmarks.contestant import Contestant
from benchmarks.database import Address, settings
from benchmarks.peers.raw import GET, GET_CONTENT, INSERT, UPDATE
from benchmarks.peers.stock_piccolo import PiccoloQueries
from benchmarks.peers.tables import tables_on
from learner_app.database.engine import DatabaseEngine


class Ours(Contestant):
    name = "ours"
    engine: DatabaseEngine

    async def start(self, address: Address) -> None:
        self.engine = DatabaseEngine(address.url)
        self.engine.settings = settings()
        await self.engine.start_connection_pool()
        self._item = tables_on(self.engine).item

    async def stop(self) -> None:
        await self.engine.close_connection_pool()

    async def get(self, key: int) -> object:
        return await self.engine.fetchrow(GET, key)

    async def get_content(self, key: str) -> object:
        return await self.engine.fetchrow(GET_CONTENT, key)

    async def select_1(self) -> object:
        return await self.engine.fetchval("SELECT 1")

    async def insert(self, number: int) -> object:
        return await self.engine.execute(INSERT, "new", number)

    async def transaction(self, key: int) -> object:
        async with self.engine.transaction():
            row = await self.engine.fetchrow(GET, key)
            assert row is not None  # noqa: S101  # the key is one of ours
            return await self.engine.execute(UPDATE, key, (row["amount"] + 1) % 1000)

    async def checkout(self) -> object:
        async with self.engine.connection() as connection:
            return connection

    async def stream(self) -> int:
        rows = 0
        async for _row in self.engine.stream(self._item.select(), batch=1000):
            rows += 1
        return rows


class OursPiccolo(PiccoloQueries):
    """The same Piccolo queries as stock Piccolo's, on our engine."""

    name = "ours, Piccolo"
    engine: DatabaseEngine

    async def start(self, address: Address) -> None:
        self.engine = DatabaseEngine(address.url)
        self.engine.settings = settings()
        await self.engine.start_connection_pool()
        self.tables = tables_on(self.engine)

    async def stop(self) -> None:
        await self.engine.close_connection_pool()
