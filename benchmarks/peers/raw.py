"""asyncpg itself: through its own pool, and on one held connection as the floor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import asyncpg

from benchmarks.contestant import Contestant
from benchmarks.database import CONTENT_COLUMNS, POOL, Address
from benchmarks.given import (
    EVENT_FIELDS,
    JSON_EVENT_FIELDS,
    JSON_FIELDS,
    LAST_SEEN,
    PAGE,
    PIECE_FIELDS,
)
from learner_app.content.rows import Content

GET = "SELECT id, name, amount, created_at FROM bench_item WHERE id = $1"
GET_CONTENT = f"SELECT {', '.join(CONTENT_COLUMNS)} FROM content WHERE id = $1"
INSERT = "INSERT INTO bench_new (name, amount) VALUES ($1, $2)"
UPDATE = "UPDATE bench_item SET amount = $2 WHERE id = $1"
ALL = "SELECT id, name, amount, created_at FROM bench_item"

_CONTENT = ", ".join(Content.__struct_fields__)
TYPED_GET = f"SELECT {_CONTENT} FROM content WHERE id = $1"
TYPED_PAGE = f"SELECT {_CONTENT} FROM content WHERE id > $1 ORDER BY id LIMIT {PAGE}"
TYPED_UPDATE = f"UPDATE content SET duration = $2 WHERE id = $1 RETURNING {_CONTENT}"


def _insert(table: str, fields: Sequence[str]) -> str:
    marks = ", ".join(f"${number}" for number in range(1, len(fields) + 1))
    return f"INSERT INTO {table} ({', '.join(fields)}) VALUES ({marks})"


TYPED_ADD = f"{_insert('content', PIECE_FIELDS)} RETURNING {_CONTENT}"
RECORD = f"{_insert('behavioral_events', EVENT_FIELDS)} ON CONFLICT DO NOTHING"


def piece_values(fields: dict[str, Any]) -> list[Any]:
    """As the driver takes them, JSON as text."""
    return [json.dumps(it) if name in JSON_FIELDS else it for name, it in fields.items()]


def event_values(event: dict[str, Any]) -> list[Any]:
    return [json.dumps(it) if name in JSON_EVENT_FIELDS else it for name, it in event.items()]


class _Asyncpg(Contestant):
    """What a pool and a connection of asyncpg have in common."""

    packages = ("asyncpg",)
    handle: Any

    async def stop(self) -> None:
        await self.handle.close()

    async def get(self, key: int) -> object:
        return await self.handle.fetchrow(GET, key)

    async def get_content(self, key: str) -> object:
        return await self.handle.fetchrow(GET_CONTENT, key)

    async def select_1(self) -> object:
        return await self.handle.fetchval("SELECT 1")

    async def insert(self, number: int) -> object:
        return await self.handle.execute(INSERT, "new", number)

    async def typed_get(self, key: str) -> object:
        return await self.handle.fetchrow(TYPED_GET, key)

    async def typed_page(self) -> object:
        return await self.handle.fetch(TYPED_PAGE, LAST_SEEN)

    async def typed_add(self, fields: dict[str, Any]) -> object:
        return await self.handle.fetchrow(TYPED_ADD, *piece_values(fields))

    async def typed_update(self, key: str, duration: int) -> object:
        return await self.handle.fetchrow(TYPED_UPDATE, key, duration)

    async def record_batch(self, events: list[dict[str, Any]]) -> object:
        return await self.handle.executemany(RECORD, map(event_values, events))


async def _transaction(connection: Any, key: int) -> None:
    async with connection.transaction():
        row = await connection.fetchrow(GET, key)
        await connection.execute(UPDATE, key, (row["amount"] + 1) % 1000)


async def _stream(connection: Any) -> int:
    rows = 0
    async with connection.transaction():
        async for _row in connection.cursor(ALL, prefetch=1000):
            rows += 1
    return rows


class AsyncpgPool(_Asyncpg):
    name = "asyncpg pool"

    async def start(self, address: Address) -> None:
        self.handle = await asyncpg.create_pool(address.url, min_size=POOL, max_size=POOL)

    async def transaction(self, key: int) -> object:
        async with self.handle.acquire() as connection:
            return await _transaction(connection, key)

    async def checkout(self) -> object:
        async with self.handle.acquire() as connection:
            return connection

    async def stream(self) -> int:
        async with self.handle.acquire() as connection:
            return await _stream(connection)


class AsyncpgHeld(_Asyncpg):
    name = "asyncpg held"
    concurrent = False

    async def start(self, address: Address) -> None:
        self.handle = await asyncpg.connect(address.url)

    async def transaction(self, key: int) -> object:
        return await _transaction(self.handle, key)

    async def stream(self) -> int:
        return await _stream(self.handle)
