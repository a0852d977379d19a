"""The tables of the typed scenarios as SQLAlchemy's ORM has them, read from the database."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import registry


class Mapped(NamedTuple):
    """Classes made at run time, so untyped."""

    piece: Any
    event: Any


async def mapped(engine: AsyncEngine) -> Mapped:
    """Classes of the caller's own, with all columns and what the database sets."""
    names = registry()
    async with engine.connect() as connection:
        await connection.run_sync(names.metadata.reflect, only=["content", "behavioral_events"])

    class Piece:
        pass

    class Event:
        pass

    # not declared, since a declared class has no room for a column named metadata
    names.map_imperatively(Piece, names.metadata.tables["content"])
    names.map_imperatively(Event, names.metadata.tables["behavioral_events"])
    return Mapped(Piece, Event)
