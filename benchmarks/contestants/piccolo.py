"""Piccolo's queries on its own engine."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from piccolo.columns import JSONB
from piccolo.engine.postgres import PostgresEngine

from benchmarks.address import Address
from benchmarks.contestants.base import PAGE, POOL_SIZE, STREAM_BATCH, Contestant, Fields
from learner_app.content.tables import ContentTable
from learner_app.learner.tables import LearnerModelStateTable
from learner_app.listening.tables import BehavioralEventTable, LikeEngagementTable


class Content(ContentTable, tablename="content"):
    pass


class Event(BehavioralEventTable, tablename="behavioral_events"):
    pass


class State(LearnerModelStateTable, tablename="learner_model_state"):
    pass


class Like(LikeEngagementTable, tablename="like_engagement"):
    pass


MAX_ROWS = 2500
"""Rows of one INSERT: asyncpg accepts up to 32,767 parameters, and an event has 12 or more."""

TABLES = (Content, Event, State, Like)


class Piccolo(Contestant):
    """Rows are dictionaries, which Piccolo creates faster than objects."""

    title = "Piccolo"
    packages = ("piccolo",)

    async def start(self, address: Address) -> None:
        self._engine = PostgresEngine(address.arguments(), extensions=())
        await self._engine.start_connection_pool(min_size=POOL_SIZE, max_size=POOL_SIZE)
        for table in TABLES:
            table._meta._db = self._engine

    async def stop(self) -> None:
        await self._engine.close_connection_pool()

    def fields(self, row: Any) -> Fields:
        return dict(row)

    async def get(self, content_id: str) -> Any:
        query = Content.select().where(Content.id == content_id).first()
        return await query.output(load_json=True)

    async def list_content(self, format: str) -> Any:  # noqa: A002  # the column
        query = (
            Content.select()
            .where(Content.format == format)
            .order_by(Content.generated_at, Content.id, ascending=False)
            .limit(PAGE)
        )
        return await query.output(load_json=True)

    async def list_events(self, session_id: str) -> Any:
        query = (
            Event.select()
            .where(Event.session_id == session_id)
            .order_by(Event.timestamp, Event.id)
            .limit(1000)
        )
        return await query.output(load_json=True)

    async def insert(self, event: Fields) -> Any:
        query = Event.insert(Event(**event)).returning(*Event.all_columns())
        return _decoded(Event, await query)

    async def insert_many(self, events: list[Fields]) -> None:
        async with self._engine.transaction():
            for first in range(0, len(events), MAX_ROWS):
                await Event.insert(*(Event(**it) for it in events[first : first + MAX_ROWS]))

    async def insert_new(self, events: list[Fields]) -> None:
        async with self._engine.transaction():
            for first in range(0, len(events), MAX_ROWS):
                rows = (Event(**it) for it in events[first : first + MAX_ROWS])
                await Event.insert(*rows).on_conflict(action="DO NOTHING")

    async def record_batch(self, events: list[Fields]) -> None:
        await self.insert_new(events)

    async def update(self, session_id: str, changes: Fields) -> Any:
        values: dict[Any, Any] = {**changes, "last_updated": datetime.now(UTC)}
        query = (
            State.update(values)
            .where(State.session_id == session_id)
            .returning(*State.all_columns())
        )
        return _decoded(State, await query)

    async def fold(self, session_id: str) -> Any:
        async with self._engine.transaction():
            query = State.select().where(State.session_id == session_id)
            row = await query.first().lock_rows("NO KEY UPDATE")
            return await self.update(session_id, {"data_points": row["data_points"] + 1})

    async def like(self, content_id: str, session_id: str, characteristics: Fields) -> Any:
        row = Like(
            content_id=content_id,
            session_id=session_id,
            liked=True,
            liked_at=datetime.now(UTC),
            reaction_type="like",
            content_characteristics=characteristics,
        )
        query = Like.insert(row).on_conflict(
            target=(Like.content_id, Like.session_id),
            action="DO UPDATE",
            values=[(Like.liked, True), (Like.unliked_at, None)],
        )
        return _decoded(Like, await query.returning(*Like.all_columns()))

    async def transaction(self, content_id: str) -> Any:
        async with self._engine.transaction():
            row: Any = await Content.select().where(Content.id == content_id).first()
            query = Content.update({Content.duration: row["duration"] + 1})
            query = query.where(Content.id == content_id).returning(*Content.all_columns())
            return _decoded(Content, await query)

    async def stream(self) -> int:
        query = Event.select().order_by(Event.timestamp, Event.id).output(load_json=True)
        rows = 0
        async with await query.batch(batch_size=STREAM_BATCH) as batch:
            async for page in batch:
                for _row in page:
                    rows += 1
        return rows


def _decoded(table: Any, rows: Any) -> Fields:
    """Return the only row with its JSON decoded, for which RETURNING has no option."""
    (row,) = rows
    for column in table._meta.json_columns:
        if isinstance(column, JSONB) and row[column._meta.name] is not None:
            row[column._meta.name] = orjson.loads(row[column._meta.name])
    return dict(row)
