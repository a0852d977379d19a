"""Storage of a stream of events in chunks, each validated while the previous one is stored."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from learner_app.database.cancellation import finish
from learner_app.database.engine import DatabaseEngine
from learner_app.listening.batch_insert import insert_batch
from learner_app.listening.batch_parsing import EventInput, ToParams, parse_batch
from learner_app.listening.rows import BatchResult, EventFailure, IngestResult

T = TypeVar("T")

MAX_FAILURES = 1000
"""Maximum number of failures that the result of a stream describes."""


async def ingest_stream(
    engine: DatabaseEngine,
    events: AsyncIterable[EventInput],
    to_params: ToParams,
    *,
    size: int,
    ensure_sessions: bool,
) -> IngestResult:
    """Store a stream of events.

    Args:
        engine: the engine.
        events: the stream.
        to_params: conversion of field values to statement parameters.
        size: maximum size of a chunk.
        ensure_sessions: create the sessions that do not exist.
    """
    received = 0
    insert = partial(insert_batch, engine, ensure_sessions=ensure_sessions)
    storage = _Storage(engine)
    async with aclosing(_chunks(events, size)) as chunks, storage:
        async for chunk in chunks:
            batch = await parse_batch(chunk, to_params, first_index=received)
            received += len(chunk)
            await storage.add(partial(insert, batch))
    return storage.result()


class _Storage:
    """Storage of complete chunks, one after another, in a task besides that of the caller.

    If the stream fails, the chunk before is stored nevertheless, as if nothing overlapped. If the
    caller is cancelled, so is the task.
    """

    def __init__(self, engine: DatabaseEngine) -> None:
        self._engine = engine
        self._task: asyncio.Task[BatchResult] | None = None
        self._recorded = self._duplicates = self._failed = 0
        self._failures: list[EventFailure] = []

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exception is None or isinstance(exception, Exception):
            await self._finish_chunk()
        elif self._task is not None:
            self._task.cancel()
            await finish(_ended(self._task))

    async def add(self, insert: Callable[[], Coroutine[Any, Any, BatchResult]]) -> None:
        """Begin to store a chunk when the one before is stored.

        Raises:
            DatabaseError: the chunk before could not be stored.
        """
        await self._finish_chunk()
        # Inside a transaction nothing overlaps, as the stream may read from the same connection. An
        # asynchronous generator may also have begun the transaction, between two of its items.
        if self._engine.transaction_exists():
            self._count(await insert())
        else:
            self._task = asyncio.create_task(insert())

    def result(self) -> IngestResult:
        """Return the sum of the results of all chunks."""
        return IngestResult(self._recorded, self._duplicates, self._failed, self._failures)

    async def _finish_chunk(self) -> None:
        """Wait until the chunk before is stored.

        Raises:
            DatabaseError: it could not be stored.
        """
        task, self._task = self._task, None
        if task is not None:
            self._count(await task)

    def _count(self, result: BatchResult) -> None:
        self._recorded += result.recorded
        self._duplicates += result.duplicates
        self._failed += len(result.failed)
        self._failures += result.failed[: MAX_FAILURES - len(self._failures)]


async def _ended(task: asyncio.Task[Any]) -> None:
    await asyncio.gather(task, return_exceptions=True)


async def _chunks(items: AsyncIterable[T], size: int) -> AsyncGenerator[list[T], None]:
    chunk: list[T] = []
    async for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
