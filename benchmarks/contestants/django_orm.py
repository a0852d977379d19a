"""Django's asynchronous ORM, which runs in threads, on psycopg with its pool."""

# mypy: disable-error-code="import-untyped,untyped-decorator"
from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import django
import psycopg_pool  # noqa: F401  # without it Django fails at the first query
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.conf import settings
from django.db import close_old_connections, connections, transaction
from django.utils.timezone import now

from benchmarks.address import Address
from benchmarks.contestants.base import PAGE, POOL_SIZE, STREAM_BATCH, Contestant, Fields


class DjangoOrm(Contestant):
    title = "Django"
    packages = ("django", "psycopg", "psycopg-pool")

    async def start(self, address: Address) -> None:
        database = {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": address.host,
            "PORT": address.port,
            "USER": address.user,
            "NAME": address.database,
            "OPTIONS": {"pool": {"min_size": POOL_SIZE, "max_size": POOL_SIZE}},
        }
        settings.configure(DATABASES={"default": database}, USE_TZ=True, TIME_ZONE="UTC")
        django.setup()
        from benchmarks.contestants import django_models

        self._models: Any = django_models

    async def stop(self) -> None:
        connections["default"].close_pool()

    @asynccontextmanager
    async def task(self) -> AsyncIterator[None]:
        """Run in a thread and on a connection of its own, as Django's handler of a request does."""
        async with ThreadSensitiveContext():
            try:
                yield
            finally:
                await sync_to_async(close_old_connections)()

    def fields(self, row: Any) -> Fields:
        return {field.column: getattr(row, field.attname) for field in row._meta.concrete_fields}

    async def get(self, content_id: str) -> Any:
        return await self._models.Content.objects.aget(id=content_id)

    async def list_content(self, format: str) -> Any:  # noqa: A002  # the column
        query = self._models.Content.objects.filter(format=format)
        return [row async for row in query.order_by("-generated_at", "-id")[:PAGE]]

    async def list_events(self, session_id: str) -> Any:
        query = self._models.Event.objects.filter(session_id=session_id)
        return [row async for row in query.order_by("timestamp", "id")[:1000]]

    async def insert(self, event: Fields) -> Any:
        return await self._models.Event.objects.acreate(**event)

    async def insert_many(self, events: list[Fields]) -> None:
        event_class = self._models.Event
        await event_class.objects.abulk_create(event_class(**event) for event in events)

    async def insert_new(self, events: list[Fields]) -> None:
        event_class = self._models.Event
        rows = (event_class(**event) for event in events)
        await event_class.objects.abulk_create(rows, ignore_conflicts=True)

    async def record_batch(self, events: list[Fields]) -> None:
        await self.insert_new(events)

    async def update(self, session_id: str, changes: Fields) -> Any:
        states = self._models.State.objects
        await states.filter(session_id=session_id).aupdate(**changes, last_updated=now())
        return await states.aget(session_id=session_id)

    async def fold(self, session_id: str) -> Any:
        @transaction.atomic
        def fold() -> Any:
            query = self._models.State.objects.select_for_update(no_key=True)
            row = query.get(session_id=session_id)
            row.data_points += 1
            row.last_updated = now()
            row.save(update_fields=["data_points", "last_updated"])
            return row

        return await sync_to_async(fold)()

    async def like(self, content_id: str, session_id: str, characteristics: Fields) -> Any:
        row = self._models.Like(
            content_id=content_id,
            session_id=session_id,
            liked=True,
            liked_at=now(),
            reaction_type="like",
            content_characteristics=characteristics,
        )
        likes = self._models.Like.objects
        await likes.abulk_create(
            [row],
            update_conflicts=True,
            unique_fields=["content_id", "session_id"],
            update_fields=["liked", "unliked_at"],
        )
        return await likes.aget(content_id=content_id, session_id=session_id)

    async def transaction(self, content_id: str) -> Any:
        @transaction.atomic
        def change() -> Any:
            row = self._models.Content.objects.get(id=content_id)
            row.duration += 1
            row.save(update_fields=["duration"])
            return row

        return await sync_to_async(change)()

    async def stream(self) -> int:
        query = self._models.Event.objects.order_by("timestamp", "id")
        rows = 0
        async for _row in query.aiterator(chunk_size=STREAM_BATCH):
            rows += 1
        return rows
