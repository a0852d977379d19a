"""SQLAlchemy 2 with Core on the asyncpg dialect."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select, text, update
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.contestant import Contestant
from benchmarks.database import POOL, Address
from benchmarks.peers.alchemy_tables import Content, Item, New

_ITEM, _NEW, _CONTENT = Item.__table__, New.__table__, Content.__table__
_GET = select(_ITEM).where(_ITEM.c.id == bindparam("key"))
_GET_CONTENT = select(_CONTENT).where(_CONTENT.c.id == bindparam("key"))
_UPDATE = update(_ITEM).where(_ITEM.c.id == bindparam("key")).values(amount=bindparam("to"))
_SELECT_1 = text("SELECT 1")


class SqlAlchemyCore(Contestant):
    """Single statements in its AUTOCOMMIT mode, as the others have them; else it would begin."""

    name = "SQLAlchemy Core"
    packages = ("sqlalchemy",)

    async def start(self, address: Address) -> None:
        self._engine = create_async_engine(address.sqlalchemy(), pool_size=POOL, max_overflow=0)
        self._alone = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    async def stop(self) -> None:
        await self._engine.dispose()

    async def get(self, key: int) -> object:
        async with self._alone.connect() as connection:
            return (await connection.execute(_GET, {"key": key})).first()

    async def get_content(self, key: str) -> object:
        async with self._alone.connect() as connection:
            return (await connection.execute(_GET_CONTENT, {"key": key})).first()

    async def select_1(self) -> object:
        async with self._alone.connect() as connection:
            return (await connection.execute(_SELECT_1)).scalar()

    async def insert(self, number: int) -> object:
        async with self._alone.connect() as connection:
            return await connection.execute(insert(_NEW), {"name": "new", "amount": number})

    async def transaction(self, key: int) -> object:
        async with self._engine.begin() as connection:
            row = (await connection.execute(_GET, {"key": key})).one()
            amount = (row.amount + 1) % 1000
            return await connection.execute(_UPDATE, {"key": key, "to": amount})

    async def checkout(self) -> object:
        async with self._engine.connect() as connection:
            return connection

    async def stream(self) -> int:
        rows = 0
        async with self._engine.connect() as connection:
            options = await connection.execution_options(yield_per=1000)
            async with options.stream(select(_ITEM)) as result:
                async for page in result.partitions():  # row by row it takes 8 times as long
                    for _row in page:
                        rows += 1
        return rows
