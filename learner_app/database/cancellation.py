"""Finishing what has to be finished although the caller is cancelled."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import anyio

log = logging.getLogger(__name__)

T = TypeVar("T")
Callback = Callable[[], Awaitable[object] | object]

CANCEL_GRACE_SECONDS = 3
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
    deadline = loop.time() + CANCEL_GRACE_SECONDS
    with anyio.CancelScope(shield=True):
        while not task.done() and loop.time() < deadline:
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task], timeout=deadline - loop.time())


def _ended_late(task: asyncio.Task[Any]) -> None:
    _left_running.discard(task)
    if not task.cancelled() and (error := task.exception()):
        log.warning("after the caller was cancelled: %s", error)


async def call_back(callbacks: list[Callback]) -> None:
    """Call all of them, whatever one of them raises: what they follow is done."""
    for callback in callbacks:
        try:
            result = callback()
            if inspect.isawaitable(result):
                await result
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                raise  # the program is ending
            log.exception("a callback after the commit failed; the commit stands")
