"""Turns of the tasks that share the connection of one transaction."""

from __future__ import annotations

import asyncio
from typing import Any

from learner_app.errors import TransactionBusy


class Turns:
    """Lock that the task which holds it may take again, as for a statement inside its lease."""

    __slots__ = ("_depth", "_lock", "_owner")

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._owner: asyncio.Task[Any] | None = None
        self._depth = 0

    async def take(self, seconds: float) -> None:
        """Wait for the turn of this task.

        Raises:
            TransactionBusy: another task kept it for longer than that.
        """
        task = asyncio.current_task()
        if task is not None and task is self._owner:
            self._depth += 1
            return
        if self._lock.locked():
            await self._wait(seconds)
        else:
            await self._lock.acquire()
        self._owner = task
        self._depth = 1

    def release(self) -> None:
        """Give back what :meth:`take` took, from whichever task."""
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            self._lock.release()

    def is_last(self) -> bool:
        """Return whether the next release frees the lock."""
        return self._depth == 1

    def disown(self) -> None:
        """Make every task wait for the release, also the one that took the turn."""
        self._owner = None

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._lock.acquire()
        except TimeoutError:
            text = f"another task kept the transaction's connection for more than {seconds:g} s"
            raise TransactionBusy(text) from None
