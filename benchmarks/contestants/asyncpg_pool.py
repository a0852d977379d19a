"""Hand-written SQL on asyncpg's default pool, with JSON through orjson: the baseline."""

from __future__ import annotations

from typing import Any

import asyncpg
import orjson

from benchmarks.address import Address
from benchmarks.contestants.base import PAGE, POOL_SIZE, STREAM_BATCH, Contestant, Fields
from benchmarks.data import DUPLICATE, duplicate_indexes

EVENT_COLUMNS = (
    "id",
    "content_id",
    "event_type",
    "timestamp",
    "playback_position",
    "playback_position_percent",
    "duration",
    "session_id",
    "content_characteristics",
    "device_info",
    "network_type",
    "context",
)
COLUMN_LIST = ", ".join(EVENT_COLUMNS)
PLACEHOLDERS = ", ".join(f"${number}" for number in range(1, len(EVENT_COLUMNS) + 1))

GET = "SELECT * FROM content WHERE id = $1"
LIST_CONTENT = (
    f"SELECT * FROM content WHERE format = $1 ORDER BY generated_at DESC, id DESC LIMIT {PAGE}"
)
LIST_EVENTS = """
SELECT * FROM behavioral_events WHERE session_id = $1 ORDER BY timestamp, id LIMIT 1000
"""
INSERT = f"INSERT INTO behavioral_events ({COLUMN_LIST}) VALUES ({PLACEHOLDERS}) RETURNING *"
INSERT_STAGED = f"""
INSERT INTO behavioral_events ({COLUMN_LIST}) SELECT {COLUMN_LIST} FROM staging
ON CONFLICT (id) DO NOTHING
"""
CREATE_STAGING = f"""
CREATE TEMPORARY TABLE staging ON COMMIT DROP AS
SELECT {COLUMN_LIST} FROM behavioral_events WITH NO DATA
"""
UPDATE = """
UPDATE learner_model_state SET preference_weights = $2, comprehension_level = $3,
    content_type_preferences = $4, data_points = $5, last_updated = now()
WHERE session_id = $1 RETURNING *
"""
LOCK_STATE = "SELECT * FROM learner_model_state WHERE session_id = $1 FOR NO KEY UPDATE"
FOLD = """
UPDATE learner_model_state SET data_points = $2, last_updated = now()
WHERE session_id = $1 RETURNING *
"""
LIKE = """
INSERT INTO like_engagement
    (content_id, session_id, liked, liked_at, reaction_type, content_characteristics)
VALUES ($1, $2, true, now(), 'like', $3)
ON CONFLICT (content_id, session_id) DO UPDATE SET liked = true, unliked_at = NULL
RETURNING *
"""
SET_DURATION = "UPDATE content SET duration = $2 WHERE id = $1 RETURNING *"
STREAM = "SELECT * FROM behavioral_events ORDER BY timestamp, id"

CHUNK = 5000
"""Events of a transaction of ``ingest``, as in the package."""


class _Pool(Contestant):
    packages = ("asyncpg", "orjson")

    async def start(self, address: Address) -> None:
        self._pool = await asyncpg.create_pool(
            **address.arguments(), min_size=POOL_SIZE, max_size=POOL_SIZE, init=_use_orjson
        )

    async def stop(self) -> None:
        await self._pool.close()

    def fields(self, row: Any) -> Fields:
        return dict(row)


class AsyncpgPool(_Pool):
    title = "asyncpg"

    async def get(self, content_id: str) -> Any:
        return await self._pool.fetchrow(GET, content_id)

    async def list_content(self, format: str) -> Any:  # noqa: A002  # the column
        return await self._pool.fetch(LIST_CONTENT, format)

    async def list_events(self, session_id: str) -> Any:
        return await self._pool.fetch(LIST_EVENTS, session_id)

    async def insert(self, event: Fields) -> Any:
        return await self._pool.fetchrow(INSERT, *event.values())

    async def insert_new(self, events: list[Fields]) -> None:
        async with self._pool.acquire() as connection:
            await _insert_staged(connection, events)

    async def ingest(self, events: list[Fields]) -> None:
        async with self._pool.acquire() as connection:
            for start in range(0, len(events), CHUNK):
                await _insert_staged(connection, events[start : start + CHUNK])

    async def record_batch(self, events: list[Fields]) -> None:
        await self.insert_new(events)

    async def update(self, session_id: str, changes: Fields) -> Any:
        return await self._pool.fetchrow(UPDATE, session_id, *changes.values())

    async def fold(self, session_id: str) -> Any:
        async with self._pool.acquire() as connection, connection.transaction():
            row: Any = await connection.fetchrow(LOCK_STATE, session_id)
            return await connection.fetchrow(FOLD, session_id, row["data_points"] + 1)

    async def like(self, content_id: str, session_id: str, characteristics: Fields) -> Any:
        return await self._pool.fetchrow(LIKE, content_id, session_id, characteristics)

    async def transaction(self, content_id: str) -> Any:
        async with self._pool.acquire() as connection, connection.transaction():
            row: Any = await connection.fetchrow(GET, content_id)
            return await connection.fetchrow(SET_DURATION, content_id, row["duration"] + 1)

    async def stream(self) -> int:
        rows = 0
        async with self._pool.acquire() as connection, connection.transaction():
            cursor = await connection.cursor(STREAM)
            while batch := await cursor.fetch(STREAM_BATCH):  # faster than row by row
                for _row in batch:
                    rows += 1
        return rows


class AsyncpgCopy(_Pool):
    """COPY straight into the table, which neither skips duplicates nor reports invalid events."""

    title = "asyncpg, COPY"

    async def insert_many(self, events: list[Fields]) -> None:
        async with self._pool.acquire() as connection:
            await _copy(connection, "behavioral_events", events)

    async def insert_new(self, events: list[Fields]) -> None:
        """Insert as many events, each with an id of its own."""
        for index in duplicate_indexes(len(events)):
            events[index]["id"] += DUPLICATE
        await self.insert_many(events)

    async def record_batch(self, events: list[Fields]) -> None:
        await self.insert_new(events)


async def _use_orjson(connection: Any) -> None:
    """Encode and decode JSONB in its binary format, a version byte and the text."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: b"\x01" + orjson.dumps(value),
        decoder=lambda data: orjson.loads(data[1:]),
        format="binary",
    )


async def _copy(connection: Any, table: str, events: list[Fields]) -> None:
    records = [tuple(event.values()) for event in events]
    await connection.copy_records_to_table(table, records=records, columns=EVENT_COLUMNS)


async def _insert_staged(connection: Any, events: list[Fields]) -> None:
    async with connection.transaction():
        await connection.execute(CREATE_STAGING)
        await _copy(connection, "staging", events)
        await connection.execute(INSERT_STAGED)
