"""Operations that run on a connection, and their cancellation by the package."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from learner_app.database.checkout import Checkout, locate_task

Task = asyncio.Task[Any] | None


class RunningOperations:
    """Running operations of one connection, nested operations included."""

    __slots__ = ("_callbacks", "_cancelled", "limited", "limited_since", "tasks")

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        """Task of each running operation."""
        self.limited: Task = None
        """Task of the statement whose time limit a :class:`SharedTimer` enforces, or None."""
        self.limited_since = 0.0
        """Loop time at which that statement was sent."""
        self._cancelled: dict[Task, tuple[int, Exception]] = {}
        """Cancelled tasks, with ``Task.cancelling()`` before that and the error to raise."""
        self._callbacks: list[Callable[[], object]] = []

    def end(self, task: Task) -> None:
        """Remove an operation of a task, and call the callbacks if it was the last one."""
        self.tasks.remove(task)
        if self._cancelled and task not in self.tasks:
            self._cancelled.pop(task, None)
        if self._callbacks and not self.tasks:
            callbacks, self._callbacks = self._callbacks, []
            for callback in callbacks:
                callback()

    def locate(self) -> Checkout | None:
        """Return the code that waits for the oldest operation, None if there is no operation."""
        task = self.tasks[0] if self.tasks else None
        return None if task is None else locate_task(task)

    def call_when_idle(self, callback: Callable[[], object]) -> None:
        """Call a function once, when the running operations have ended."""
        self._callbacks.append(callback)

    async def wait_until_idle(self) -> None:
        """Wait until the running operations have ended."""
        while self.tasks:
            idle = asyncio.Event()
            self.call_when_idle(idle.set)
            await idle.wait()

    def cancel_all(self, error: Callable[[], Exception]) -> None:
        """Cancel the running operations, whose tasks get the error instead of CancelledError."""
        for task in set(self.tasks):
            self._cancel(task, error())

    def cancel_limited(self) -> None:
        """Cancel the statement with a time limit, whose task gets a TimeoutError.

        A statement that is already answered or cancelled ends by itself: its task only has not
        run since then, for instance because something has blocked the event loop.
        """
        waiter = _waiter_of(self.limited)
        if waiter is not None and not waiter.done():
            self._cancel(self.limited, TimeoutError())

    def _cancel(self, task: Task, error: Exception) -> None:
        waiter = _waiter_of(task)
        if waiter is not None and waiter.cancelled():
            return  # the caller has cancelled the task just before: that must not be withdrawn
        if task is not None and task not in self._cancelled:
            self._cancelled[task] = task.cancelling(), error
            task.cancel()

    def translate_cancellation(self, task: Task) -> None:
        """Raise the error of :meth:`cancel_all` if nothing else has cancelled the task.

        The task continues after that error, so its cancel request is withdrawn by ``uncancel``. If
        the task was also cancelled from elsewhere, it must end with the CancelledError.
        """
        if task is not None and task in self._cancelled:
            # compared with the earlier number, as Python 3.11 does not always count down to 0
            earlier, error = self._cancelled.pop(task)
            if task.uncancel() <= earlier:
                raise error from None


def _waiter_of(task: Task) -> asyncio.Future[Any] | None:
    """Return the future for which the task waits, None if the task is about to run.

    asyncio has no public attribute for it; anyio uses the same one.
    """
    waiter: asyncio.Future[Any] | None = getattr(task, "_fut_waiter", None)
    return waiter
