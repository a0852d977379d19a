"""Protection of work that must be completed although its caller is cancelled."""

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import anyio

log = logging.getLogger(__name__)

T = TypeVar("T")

CANCEL_GRACE_SECONDS = 3
"""Time that a cancelled caller waits for its work, which continues in its own task after that."""

_detached: set[asyncio.Task[Any]] = set()
"""Strong references to tasks whose callers were cancelled.

The event loop has only weak references, so that the tasks could be garbage-collected while running.
"""


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run work in a task that a cancellation of the caller does not reach, and return its result.

    COMMIT and ROLLBACK must not be interrupted: the connection would stay in an unknown state. If
    the caller is cancelled by ``Task.cancel`` or by a cancel scope of anyio, the cancellation is
    raised when the work has ended, but after 3 seconds at the latest. The work then continues in
    its task, and an error of it is logged.
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _wait_with_grace(task)
        raise


async def _wait_with_grace(task: asyncio.Task[Any]) -> None:
    """Wait for a task up to CANCEL_GRACE_SECONDS, whatever cancels the caller meanwhile.

    A cancel scope of anyio cancels the caller again at each await, hence the shielded scope.
    """
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
        log.warning("work that was completed after its caller was cancelled failed: %s", error)
