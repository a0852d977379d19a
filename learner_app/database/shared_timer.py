"""One timer for all waits with the same time limit.

A timer of the event loop for each wait would cost an object, an insertion into the loop's heap and
a cancellation, more than all else that a short wait needs. As the limit is the same for all, the
oldest wait ends first: one timer for it is enough, which is set again for the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class SharedTimer:
    """Timer that calls a function as soon as one of several waits exceeds the time limit."""

    __slots__ = ("_expire", "_handle", "_loop", "_seconds", "is_set")

    def __init__(self, seconds: float, expire: Callable[[float], float | None]) -> None:
        """
        Args:
            seconds: time limit of each wait.
            expire: ends the waits that began at the given loop time or before. It returns the time
                at which the oldest other wait began, None if there is none.
        """
        self.is_set = False
        """True while the timer will call ``expire``, so that a new wait needs no :meth:`set`."""
        self._handle: asyncio.TimerHandle | None = None
        self._seconds = seconds
        self._expire = expire
        self._loop = asyncio.get_running_loop()

    def set(self, began_at: float) -> None:
        """Set the timer for a wait that began at a loop time, unless it is set already."""
        if not self.is_set:
            self.is_set = True
            self._handle = self._loop.call_at(began_at + self._seconds, self._on_time, began_at)

    def cancel(self) -> None:
        """Stop the timer, when there are no waits any more."""
        self.is_set = False
        if self._handle is not None:
            self._handle.cancel()

    def _on_time(self, began_at: float) -> None:
        self.is_set = False
        # began_at: by its rounding the clock may show less than the time for which the timer is set
        oldest = self._expire(max(began_at, self._loop.time() - self._seconds))
        if oldest is not None:
            self.set(oldest)
