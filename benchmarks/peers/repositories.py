"""Our repositories, on our engine."""

from __future__ import annotations

from typing import Any

from benchmarks.contestant import Contestant
from benchmarks.database import Address, settings
from benchmarks.given import LAST_SEEN, PAGE
from learner_app.content.repositories import ContentRepository
from learner_app.content.rows import ContentCreate, ContentUpdate
from learner_app.database.engine import DatabaseEngine
from learner_app.listening.events import BehavioralEventRepository


class OursRepositories(Contestant):
    """Repositories of the package, with validated inputs and checked references."""

    name = "ours, repositories"

    async def start(self, address: Address) -> None:
        self._engine = DatabaseEngine(address.url)
        self._engine.settings = settings()
        await self._engine.start_connection_pool()
        self._content = ContentRepository(self._engine)
        self._events = BehavioralEventRepository(self._engine)
        last_seen = await self._content.get(LAST_SEEN)
        self._cursor = self._content.orders["key"].encode_cursor(last_seen)

    async def stop(self) -> None:
        await self._engine.close_connection_pool()

    async def typed_get(self, key: str) -> object:
        return await self._content.get(key)

    async def typed_page(self) -> object:
        return await self._content.page(limit=PAGE, after=self._cursor)

    async def typed_add(self, fields: dict[str, Any]) -> object:
        return await self._content.add(ContentCreate(**fields))

    async def typed_update(self, key: str, duration: int) -> object:
        return await self._content.update(key, ContentUpdate(duration=duration))

    async def record_batch(self, events: list[dict[str, Any]]) -> object:
        return await self._events.record_batch(events)
