"""Finishing what has to be finished although the caller is cancelled."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import anyio

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE_SECONDS = 3
"""How long a cancelled caller waits for the end; the work itself goes on after that."""

_left_running: set[asyncio.Task[Any]] = set()


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """The result of the work; a cancellation meanwhile is raised after its end.

    Safe from ``Task.cancel`` as from cancel scopes of anyio, which cancel again at every await.
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _outlast(task)
        raise


async def _outlast(task: asyncio.Task[Any]) -> None:
    _left_running.add(task)
    task.add_done_callback(_ended_late)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_SECONDS
    with anyio.CancelScope(shield=True):
        while not task.done() and loop.time() < deadline:
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task], timeout=deadline - loop.time())


def _ended_late(task: asyncio.Task[Any]) -> None:
    _left_running.discard(task)
    if not task.cancelled() and (error := task.exception()):
        log.warning("after the caller was cancelled: %s", error)
