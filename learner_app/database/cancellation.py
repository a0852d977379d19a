"""Complete work although the caller is cancelled."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import anyio

log = logging.getLogger(__name__)

T = TypeVar("T")

CANCEL_GRACE_SECONDS = 3
"""Time that a cancelled caller waits for its work; after that the work goes on without it."""

_detached: set[asyncio.Task[Any]] = set()
"""Strong references to tasks whose callers were cancelled; the event loop keeps weak ones only."""


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Await work to its end, then raise a cancellation of the caller.

    COMMIT and ROLLBACK must not be interrupted: the connection would stay in an unknown state. The
    work runs in a task of its own, which neither ``Task.cancel`` nor a cancel scope of anyio
    reaches. The latter cancels the caller again at every await, hence the shielded scope below.
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _wait_with_grace(task)
        raise


async def _wait_with_grace(task: asyncio.Task[Any]) -> None:
    _detached.add(task)
    task.add_done_callback(_log_failure)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + CANCEL_GRACE_SECONDS
    with anyio.CancelScope(shield=True):
        while not task.done() and loop.time() < deadline:
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task], timeout=deadline - loop.time())


def _log_failure(task: asyncio.Task[Any]) -> None:
    _detached.discard(task)
    if not task.cancelled() and (error := task.exception()):
        log.warning("after the caller was cancelled: %s", error)
