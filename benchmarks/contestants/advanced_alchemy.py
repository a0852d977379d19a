"""Repositories of Advanced Alchemy with a session for each operation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from advanced_alchemy.filters import LimitOffset, OrderBy
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy.ext.asyncio import async_sessionmaker

from benchmarks.address import Address
from benchmarks.contestants.base import PAGE, Contestant, Fields
from benchmarks.contestants.sqlalchemy_tables import (
    Content,
    Event,
    Like,
    State,
    make_engine,
    object_fields,
)


class Contents(SQLAlchemyAsyncRepository[Content]):
    model_type = Content


class Events(SQLAlchemyAsyncRepository[Event]):
    model_type = Event


class States(SQLAlchemyAsyncRepository[State]):
    model_type = State
    id_attribute = "session_id"


class Likes(SQLAlchemyAsyncRepository[Like]):
    model_type = Like


class AdvancedAlchemy(Contestant):
    """No stream and no insert that skips existing rows, since its repositories have none."""

    title = "Advanced Alchemy"
    packages = ("advanced-alchemy",)

    async def start(self, address: Address) -> None:
        self._engine = make_engine(address)
        self._session = async_sessionmaker(self._engine, expire_on_commit=False)

    async def stop(self) -> None:
        await self._engine.dispose()

    def fields(self, row: Any) -> Fields:
        return object_fields(row)

    async def get(self, content_id: str) -> Any:
        async with self._session() as session:
            return await Contents(session=session).get(content_id)

    async def list_content(self, format: str) -> Any:  # noqa: A002  # the column
        async with self._session() as session:
            return await Contents(session=session).list(
                OrderBy("generated_at", "desc"),
                OrderBy("id", "desc"),
                LimitOffset(PAGE, 0),
                format=format,
            )

    async def list_events(self, session_id: str) -> Any:
        async with self._session() as session:
            return await Events(session=session).list(
                OrderBy("timestamp"), OrderBy("id"), LimitOffset(1000, 0), session_id=session_id
            )

    async def insert(self, event: Fields) -> Any:
        async with self._session() as session:
            # The mapping fetches what the database sets, so that a second query is not needed.
            return await Events(session=session).add(
                Event(**event), auto_commit=True, auto_refresh=False
            )

    async def insert_many(self, events: list[Fields]) -> None:
        async with self._session() as session:
            rows = [Event(**event) for event in events]
            await Events(session=session).add_many(rows, auto_commit=True)

    async def update(self, session_id: str, changes: Fields) -> Any:
        async with self._session() as session:
            row = State(session_id=session_id, **changes, last_updated=datetime.now(UTC))
            return await States(session=session).update(row, auto_commit=True, auto_refresh=False)

    async def fold(self, session_id: str) -> Any:
        async with self._session() as session:
            states = States(session=session)
            row = await states.get(session_id, with_for_update={"key_share": True})
            row.data_points += 1
            row.last_updated = datetime.now(UTC)
            return await states.update(row, auto_commit=True, auto_refresh=False)

    async def like(self, content_id: str, session_id: str, characteristics: Fields) -> Any:
        row = Like(
            content_id=content_id,
            session_id=session_id,
            liked=True,
            liked_at=datetime.now(UTC),
            reaction_type="like",
            content_characteristics=characteristics,
        )
        async with self._session() as session:
            return await Likes(session=session).upsert(
                row,
                match_fields=["content_id", "session_id"],
                auto_commit=True,
                auto_refresh=False,
            )

    async def transaction(self, content_id: str) -> Any:
        async with self._session() as session:
            contents = Contents(session=session)
            row = await contents.get(content_id)
            row.duration += 1
            return await contents.update(row, auto_commit=True, auto_refresh=False)
