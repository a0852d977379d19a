"""Lock that gives one task exclusive access to the connection of a transaction."""

from __future__ import annotations

import asyncio
from typing import Any

from learner_app.errors import TransactionBusy


class ExclusiveLock:
    """Re-entrant lock, which the task that owns it can acquire again.

    It is re-entrant because a task that has leased the transaction's connection may also call
    methods of the engine, which acquire the lock for each statement.
    """

    __slots__ = ("_depth", "_lock", "_owner")

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._owner: asyncio.Task[Any] | None = None
        self._depth = 0

    async def acquire(self, seconds: float) -> None:
        """Acquire the lock for this task.

        Args:
            seconds: time limit for waiting until another task releases it.

        Raises:
            TransactionBusy: another task did not release the lock within the time.
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
        """Undo one :meth:`acquire`, which any task may do."""
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            self._lock.release()

    @property
    def is_acquired_once(self) -> bool:
        """True if the next release frees the lock."""
        return self._depth == 1

    def disown(self) -> None:
        """Keep the lock acquired without an owner, so that this task has to wait as others do."""
        self._owner = None

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._lock.acquire()
        except TimeoutError:
            raise TransactionBusy(
                f"another task used the transaction's connection for more than {seconds:g} s"
            ) from None
