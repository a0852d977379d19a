"""Operations that a contestant may implement. Without an operation it skips those workloads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from benchmarks.address import Address

POOL_SIZE = 10
"""Connections of every contestant's pool, the default of asyncpg."""

PAGE = 50
"""Rows of a list of content."""

STREAM_BATCH = 2000
"""Rows that a stream reads at once, where that can be chosen."""

Fields = dict[str, Any]


class Contestant:
    """One way to use the database. Each method is one operation as its users would write it."""

    title = ""
    packages: tuple[str, ...] = ()
    """Distributions whose versions are reported."""

    async def start(self, address: Address) -> None:
        """Open a pool with POOL_SIZE connections."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Close the pool."""
        raise NotImplementedError

    def task(self) -> AbstractAsyncContextManager[None]:
        """Return the context of a task, as a web framework creates one for each request."""
        return nullcontext()

    def fields(self, row: Any) -> Fields:
        """Return the columns of a row with their values."""
        raise NotImplementedError

    async def get(self, content_id: str) -> Any:
        """Return a content item by its key."""
        raise NotImplementedError

    async def list_content(self, format: str) -> Any:  # noqa: A002  # the column
        """Return the 50 newest content items of a format."""
        raise NotImplementedError

    async def list_events(self, session_id: str) -> Any:
        """Return the first 1,000 events of a session, oldest first."""
        raise NotImplementedError

    async def insert(self, event: Fields) -> Any:
        """Insert an event and return the row."""
        raise NotImplementedError

    async def insert_many(self, events: list[Fields]) -> None:
        """Insert new events by the fastest way."""
        raise NotImplementedError

    async def insert_new(self, events: list[Fields]) -> None:
        """Insert the events whose ids are not stored, and skip the others."""
        raise NotImplementedError

    async def ingest(self, events: list[Fields]) -> None:
        """Do the same for a stream of any length, in chunks."""
        raise NotImplementedError

    async def record_batch(self, events: list[Fields]) -> None:
        """Do the same for a batch of a client."""
        raise NotImplementedError

    async def update(self, session_id: str, changes: Fields) -> Any:
        """Change a learner state and return the row."""
        raise NotImplementedError

    async def fold(self, session_id: str) -> Any:
        """Increase ``data_points`` of a learner state under a row lock and return the row."""
        raise NotImplementedError

    async def like(self, content_id: str, session_id: str, characteristics: Fields) -> Any:
        """Insert or activate a like and return the row."""
        raise NotImplementedError

    async def transaction(self, content_id: str) -> Any:
        """Read a content item, increase its duration and return the row, in one transaction."""
        raise NotImplementedError

    async def stream(self) -> int:
        """Read all events by time in constant memory and return their number."""
        raise NotImplementedError

    def streams(self) -> dict[str, AsyncIterator[Any]]:
        """Return streams of all rows of the tables whose memory is measured."""
        return {}

    def can(self, operation: str) -> bool:
        """Return True if the contestant implements the operation."""
        return getattr(type(self), operation) is not getattr(Contestant, operation)
