"""Functions that are called after the commit of a transaction."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

Callback = Callable[[], Awaitable[object] | object]
"""Function or async function without arguments."""


async def call_all(callbacks: list[Callback]) -> None:
    """Call all callbacks after a commit, and log the errors that they raise."""
    for callback in callbacks:
        try:
            result = callback()
            if inspect.isawaitable(result):
                await result
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task and task.cancelling():
                raise  # the task itself was cancelled, as at the end of the program
            log.exception("an after_commit callback failed, the transaction is committed")
