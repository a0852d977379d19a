"""Advanced Alchemy: its repositories, with one session an operation as a web request has."""

from __future__ import annotations

from typing import Any

from advanced_alchemy.filters import LimitOffset
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from benchmarks.contestant import Contestant
from benchmarks.database import POOL, Address
from benchmarks.given import LAST_SEEN, PAGE
from benchmarks.peers.alchemy_tables import Content, Item, New
from benchmarks.peers.mapped import mapped


class Items(SQLAlchemyAsyncRepository[Item]):  # type: ignore[type-var]
    model_type = Item


class News(SQLAlchemyAsyncRepository[New]):  # type: ignore[type-var]
    model_type = New


class Contents(SQLAlchemyAsyncRepository[Content]):  # type: ignore[type-var]
    model_type = Content


class AdvancedAlchemy(Contestant):
    name = "Advanced Alchemy"
    packages = ("advanced-alchemy",)

    async def start(self, address: Address) -> None:
        self._engine = create_async_engine(address.sqlalchemy(), pool_size=POOL, max_overflow=0)
        self._session = async_sessionmaker(self._engine, expire_on_commit=False)
        self._mapped = await mapped(self._engine)
        base = SQLAlchemyAsyncRepository
        self._pieces: Any = type("Pieces", (base,), {"model_type": self._mapped.piece})
        self._events: Any = type("Events", (base,), {"model_type": self._mapped.event})

    async def stop(self) -> None:
        await self._engine.dispose()

    async def get(self, key: int) -> object:
        async with self._session() as session:
            return await Items(session=session).get(key)

    async def get_content(self, key: str) -> object:
        async with self._session() as session:
            return await Contents(session=session).get(key)

    async def insert(self, number: int) -> object:
        async with self._session() as session:
            return await News(session=session).add(
                New(name="new", amount=number), auto_commit=True, auto_refresh=False
            )

    async def transaction(self, key: int) -> object:
        async with self._session() as session, session.begin():
            items = Items(session=session)
            row = await items.get(key)
            row.amount = (row.amount + 1) % 1000
            return await items.update(row, auto_refresh=False)

    async def typed_get(self, key: str) -> object:
        async with self._session() as session:
            return await self._pieces(session=session).get(key)

    async def typed_page(self) -> object:
        piece = self._mapped.piece
        async with self._session() as session:
            return await self._pieces(session=session).list(
                piece.id > LAST_SEEN, LimitOffset(PAGE, 0), order_by=("id", False)
            )

    async def typed_add(self, fields: dict[str, Any]) -> object:
        async with self._session() as session:
            return await self._pieces(session=session).add(
                self._mapped.piece(**fields), auto_commit=True, auto_refresh=False
            )

    async def typed_update(self, key: str, duration: int) -> object:
        async with self._session() as session:
            changed = self._mapped.piece(id=key, duration=duration)
            return await self._pieces(session=session).update(changed, auto_commit=True)

    async def record_batch(self, events: list[dict[str, Any]]) -> object:
        rows = [self._mapped.event(**event) for event in events]
        async with self._session() as session:
            return await self._events(session=session).add_many(rows, auto_commit=True)
