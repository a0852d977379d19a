"""SQLAlchemy's ORM with a session for each operation, as for each request of a web application."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import async_sessionmaker

from benchmarks.address import Address
from benchmarks.contestants.base import PAGE, STREAM_BATCH, Contestant, Fields
from benchmarks.contestants.sqlalchemy_tables import (
    Content,
    Event,
    Like,
    State,
    make_engine,
    object_fields,
)


class SqlAlchemyOrm(Contestant):
    title = "SQLAlchemy ORM"
    packages = ("sqlalchemy",)

    async def start(self, address: Address) -> None:
        self._engine = make_engine(address)
        self._session = async_sessionmaker(self._engine, expire_on_commit=False)

    async def stop(self) -> None:
        await self._engine.dispose()

    def fields(self, row: Any) -> Fields:
        return object_fields(row)

    async def get(self, content_id: str) -> Any:
        async with self._session() as session:
            return await session.get(Content, content_id)

    async def list_content(self, format: str) -> Any:  # noqa: A002  # the column
        query = (
            select(Content)
            .where(Content.format == format)
            .order_by(Content.generated_at.desc(), Content.id.desc())
            .limit(PAGE)
        )
        async with self._session() as session:
            return (await session.scalars(query)).all()

    async def list_events(self, session_id: str) -> Any:
        query = (
            select(Event)
            .where(Event.session_id == session_id)
            .order_by(Event.timestamp, Event.id)
            .limit(1000)
        )
        async with self._session() as session:
            return (await session.scalars(query)).all()

    async def insert(self, event: Fields) -> Any:
        async with self._session.begin() as session:
            row = Event(**event)
            session.add(row)
        return row

    async def insert_many(self, events: list[Fields]) -> None:
        async with self._session.begin() as session:
            await session.execute(insert(Event), events)

    async def insert_new(self, events: list[Fields]) -> None:
        statement = postgresql.insert(Event).on_conflict_do_nothing()
        async with self._session.begin() as session:
            await session.execute(statement, events)

    async def record_batch(self, events: list[Fields]) -> None:
        await self.insert_new(events)

    async def update(self, session_id: str, changes: Fields) -> Any:
        statement = (
            update(State)
            .where(State.session_id == session_id)
            .values(**changes, last_updated=datetime.now(UTC))
            .returning(State)
        )
        async with self._session.begin() as session:
            return await session.scalar(statement)

    async def fold(self, session_id: str) -> Any:
        async with self._session.begin() as session:
            row = await session.get_one(State, session_id, with_for_update={"key_share": True})
            row.data_points += 1
            row.last_updated = datetime.now(UTC)
        return row

    async def like(self, content_id: str, session_id: str, characteristics: Fields) -> Any:
        statement = (
            postgresql.insert(Like)
            .values(
                content_id=content_id,
                session_id=session_id,
                liked=True,
                liked_at=datetime.now(UTC),
                reaction_type="like",
                content_characteristics=characteristics,
            )
            .on_conflict_do_update(
                index_elements=[Like.content_id, Like.session_id],
                set_={"liked": True, "unliked_at": None},
            )
            .returning(Like)
        )
        async with self._session.begin() as session:
            return await session.scalar(statement)

    async def transaction(self, content_id: str) -> Any:
        async with self._session.begin() as session:
            row = await session.get_one(Content, content_id)
            row.duration += 1
        return row

    async def stream(self) -> int:
        query = select(Event).order_by(Event.timestamp, Event.id)
        rows = 0
        async with self._session() as session:
            options = {"yield_per": STREAM_BATCH}
            result = await session.stream_scalars(query, execution_options=options)
            async for partition in result.partitions():  # faster than row by row
                for _row in partition:
                    rows += 1
        return rows
