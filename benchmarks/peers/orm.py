"""SQLAlchemy's ORM, with one session an operation as a web request has."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from benchmarks.contestant import Contestant
from benchmarks.database import POOL, Address
from benchmarks.given import LAST_SEEN, PAGE
from benchmarks.peers.mapped import mapped


class SqlAlchemyOrm(Contestant):
    """The typed scenarios only."""

    name = "SQLAlchemy ORM"
    packages = ("sqlalchemy",)

    async def start(self, address: Address) -> None:
        self._engine = create_async_engine(address.sqlalchemy(), pool_size=POOL, max_overflow=0)
        self._session = async_sessionmaker(self._engine, expire_on_commit=False)
        self._mapped = await mapped(self._engine)

    async def stop(self) -> None:
        await self._engine.dispose()

    async def typed_get(self, key: str) -> object:
        async with self._session() as session:
            return await session.get(self._mapped.piece, key)

    async def typed_page(self) -> object:
        piece = self._mapped.piece
        query = select(piece).where(piece.id > LAST_SEEN).order_by(piece.id).limit(PAGE)
        async with self._session() as session:
            return (await session.scalars(query)).all()

    async def typed_add(self, fields: dict[str, Any]) -> object:
        async with self._session() as session, session.begin():
            piece = self._mapped.piece(**fields)
            session.add(piece)
            return piece

    async def typed_update(self, key: str, duration: int) -> object:
        piece = self._mapped.piece
        query = update(piece).where(piece.id == key).values(duration=duration).returning(piece)
        async with self._session() as session, session.begin():
            return await session.scalar(query)

    async def record_batch(self, events: list[dict[str, Any]]) -> object:
        async with self._session() as session, session.begin():
            return await session.execute(
                insert(self._mapped.event).on_conflict_do_nothing(), events
            )
