"""The public repositories of the package, with default settings except the size of the pool."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

from msgspec.structs import asdict, replace

from benchmarks.address import Address
from benchmarks.contestants.base import PAGE, POOL_SIZE, Contestant, Fields
from learner_app.content.repositories import ContentRepository
from learner_app.content.rows import ContentUpdate
from learner_app.database.engine import DatabaseEngine
from learner_app.learner.repositories import LearnerModelStateRepository
from learner_app.learner.rows import LearnerModelStateUpdate
from learner_app.listening.repositories import (
    BehavioralEventRepository,
    LikeRepository,
    ListeningSessionRepository,
)
from learner_app.listening.rows import BehavioralEventCreate, LikeKey
from learner_app.settings import Settings

T = TypeVar("T")


class Ours(Contestant):
    title = "learner_app"
    packages = ("learner-app",)

    async def start(self, address: Address) -> None:
        self._engine = DatabaseEngine(address.url)
        self._engine.settings = Settings(db_pool_min=POOL_SIZE, db_pool_max=POOL_SIZE)
        await self._engine.start_connection_pool()
        self._content = ContentRepository(self._engine)
        self._events = BehavioralEventRepository(self._engine)
        self._likes = LikeRepository(self._engine)
        self._states = LearnerModelStateRepository(self._engine)

    async def stop(self) -> None:
        await self._engine.close_connection_pool()

    def fields(self, row: Any) -> Fields:
        return asdict(row)

    async def get(self, content_id: str) -> Any:
        return await self._content.get(content_id)

    async def list_content(self, format: Any) -> Any:  # noqa: A002  # the column
        return await self._content.list(format=format, order="newest", limit=PAGE)

    async def list_events(self, session_id: str) -> Any:
        return await self._events.list_for_session(session_id, limit=1000)

    async def insert(self, event: Fields) -> Any:
        return await self._events.add(BehavioralEventCreate(**event))

    async def insert_many(self, events: list[Fields]) -> None:
        await self.ingest(events)

    async def insert_new(self, events: list[Fields]) -> None:
        await self.ingest(events)

    async def ingest(self, events: list[Fields]) -> None:
        await self._events.ingest(_stream(events))

    async def record_batch(self, events: list[Fields]) -> None:
        await self._events.record_batch(events)

    async def update(self, session_id: str, changes: Fields) -> Any:
        return await self._states.update(session_id, LearnerModelStateUpdate(**changes))

    async def fold(self, session_id: str) -> Any:
        return await self._states.fold(
            session_id, lambda old: replace(old, data_points=old.data_points + 1)
        )

    async def like(self, content_id: str, session_id: str, characteristics: Fields) -> Any:  # noqa: ARG002  # the statement reads them from the content
        return await self._likes.like(LikeKey(content_id, session_id))

    async def transaction(self, content_id: str) -> Any:
        async with self._engine.transaction():
            row = await self._content.get(content_id)
            changes = ContentUpdate(duration=row.duration + 1)
            return await self._content.update(content_id, changes)

    async def stream(self) -> int:
        rows = 0
        async for _row in self._events.stream():
            rows += 1
        return rows

    def streams(self) -> dict[str, AsyncIterator[Any]]:
        sessions = ListeningSessionRepository(self._engine)
        return {
            "sessions": sessions.stream(),
            "learner states": self._states.stream(),
            "likes": self._likes.stream(),
        }


async def _stream(items: Iterable[T]) -> AsyncIterator[T]:
    for item in items:
        yield item
