"""SQLAlchemy Core on the asyncpg dialect."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql

from benchmarks.address import Address
from benchmarks.contestants.base import PAGE, STREAM_BATCH, Contestant, Fields
from benchmarks.contestants.sqlalchemy_tables import Base, make_engine

tables = Base.metadata.tables
CONTENT, EVENTS = tables["content"], tables["behavioral_events"]
STATES, LIKES = tables["learner_model_state"], tables["like_engagement"]

GET = select(CONTENT).where(CONTENT.c.id == bindparam("key"))
LIST_CONTENT = (
    select(CONTENT)
    .where(CONTENT.c.format == bindparam("format"))
    .order_by(CONTENT.c.generated_at.desc(), CONTENT.c.id.desc())
    .limit(PAGE)
)
LIST_EVENTS = (
    select(EVENTS)
    .where(EVENTS.c.session_id == bindparam("session"))
    .order_by(EVENTS.c.timestamp, EVENTS.c.id)
    .limit(1000)
)
INSERT = insert(EVENTS).returning(EVENTS)
INSERT_NEW = postgresql.insert(EVENTS).on_conflict_do_nothing()
UPDATE = (
    update(STATES)
    .where(STATES.c.session_id == bindparam("session"))
    .values(last_updated=func.now())
    .returning(STATES)
)
LOCK_STATE = (
    select(STATES)
    .where(STATES.c.session_id == bindparam("session"))
    .with_for_update(key_share=True)
)
LIKE = (
    postgresql.insert(LIKES)
    .values(liked=True, liked_at=func.now(), reaction_type="like")
    .on_conflict_do_update(
        index_elements=["content_id", "session_id"], set_={"liked": True, "unliked_at": None}
    )
    .returning(LIKES)
)
SET_DURATION = (
    update(CONTENT)
    .where(CONTENT.c.id == bindparam("key"))
    .values(duration=bindparam("new_duration"))
    .returning(CONTENT)
)


class SqlAlchemyCore(Contestant):
    """Single statements in the AUTOCOMMIT mode, since each would begin a transaction otherwise."""

    title = "SQLAlchemy Core"
    packages = ("sqlalchemy",)

    async def start(self, address: Address) -> None:
        self._engine = make_engine(address)
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    async def stop(self) -> None:
        await self._engine.dispose()

    def fields(self, row: Any) -> Fields:
        return dict(row._mapping)

    async def get(self, content_id: str) -> Any:
        return await self._one(GET, {"key": content_id})

    async def list_content(self, format: str) -> Any:  # noqa: A002  # the column
        return await self._all(LIST_CONTENT, {"format": format})

    async def list_events(self, session_id: str) -> Any:
        return await self._all(LIST_EVENTS, {"session": session_id})

    async def insert(self, event: Fields) -> Any:
        return await self._one(INSERT, event)

    async def insert_many(self, events: list[Fields]) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(insert(EVENTS), events)

    async def insert_new(self, events: list[Fields]) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(INSERT_NEW, events)

    async def record_batch(self, events: list[Fields]) -> None:
        await self.insert_new(events)

    async def update(self, session_id: str, changes: Fields) -> Any:
        return await self._one(UPDATE, {"session": session_id, **changes})

    async def fold(self, session_id: str) -> Any:
        async with self._engine.begin() as connection:
            key = {"session": session_id}
            row = (await connection.execute(LOCK_STATE, key)).one()
            changes = {"data_points": row.data_points + 1}
            return (await connection.execute(UPDATE, key | changes)).one()

    async def like(self, content_id: str, session_id: str, characteristics: Fields) -> Any:
        like = {
            "content_id": content_id,
            "session_id": session_id,
            "content_characteristics": characteristics,
        }
        return await self._one(LIKE, like)

    async def transaction(self, content_id: str) -> Any:
        async with self._engine.begin() as connection:
            key = {"key": content_id}
            row = (await connection.execute(GET, key)).one()
            changes = {"new_duration": row.duration + 1}
            return (await connection.execute(SET_DURATION, key | changes)).one()

    async def stream(self) -> int:
        query = select(EVENTS).order_by(EVENTS.c.timestamp, EVENTS.c.id)
        rows = 0
        async with self._engine.connect() as connection:
            options = {"yield_per": STREAM_BATCH}
            async with connection.stream(query, execution_options=options) as result:
                async for partition in result.partitions():  # faster than row by row
                    for _row in partition:
                        rows += 1
        return rows

    async def _one(self, statement: Any, values: Fields) -> Any:
        async with self._autocommit.connect() as connection:
            return (await connection.execute(statement, values)).one()

    async def _all(self, statement: Any, values: Fields) -> Any:
        async with self._autocommit.connect() as connection:
            return (await connection.execute(statement, values)).all()
