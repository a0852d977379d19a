"""Opening connections for the pool in the background, also through an outage.

While the server is well each wanted connection is opened at once. After a failure one attempt
follows another after short random pauses, and one that stays silent is overtaken by the next, so
that a server that is back is found within half a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from copy import copy

from learner_app.database.backoff import Backoff
from learner_app.database.connection import Connection
from learner_app.errors import DatabaseRefused, DatabaseUnavailable, LearnerError

log = logging.getLogger(__name__)

BACKOFF = Backoff(initial=0.1, maximum=0.5)
"""The maximum is below the second that a request may spend on connecting."""

SILENT_SECONDS = 0.5
"""After this time an attempt without an answer is overtaken by another one."""

MOST_SILENT = 20

REST_SECONDS = 30
"""After a refusal, as of a wrong password, nobody but a caller makes us knock again."""


class ReconnectLoop:
    """Attempts to connect, and what is known about the server from them."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[Connection]],
        opened: Callable[[Connection], None],
        failed: Callable[[LearnerError], None],
        *,
        is_quiet: bool = False,
    ) -> None:
        """
        Args:
            name: of the target, for the log; without a password.
            connect: opens one connection.
            opened: is given each new connection.
            failed: is told of each failure.
            is_quiet: log attempts for debugging only, since another opener reports the outage.
        """
        self.outage: LearnerError | None = None
        """Why the last attempt failed; None when it did not."""
        self.obstacle: LearnerError | None = None
        """As ``outage``, also of a server that answers but is out of connections."""
        self.failing_since = 0.0
        """Loop time of the first failure since the last success, 0 when there is none."""
        self._name = name
        self._connect = connect
        self._opened = opened
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._fresh: set[asyncio.Task[None]] = set()
        self._silent: dict[asyncio.Task[None], None] = {}
        self._next: asyncio.TimerHandle | None = None
        self._failures = 0
        self._rest_until = 0.0
        self._closed = False
        self._is_quiet = is_quiet
        self._usual_seconds = 0.0

    @property
    def pending(self) -> int:
        """Connections that will probably be there in a moment."""
        return len(self._fresh)

    @property
    def is_silent(self) -> bool:
        """Whether an attempt has been without an answer for a while."""
        return bool(self._silent)

    def want(self, number: int, *, is_urgent: bool) -> None:
        """See to it that so many are on their way; in an outage only one at a time is tried.

        After a refusal only somebody who waits makes it urgent to try again.
        """
        if self._closed or self._next is not None:
            return
        if not is_urgent and self._loop.time() < self._rest_until:
            return
        if self.outage is not None or self._silent:
            number = min(number, 1)
        for _ in range(number - len(self._fresh)):
            self._start()

    def close(self) -> None:
        self._closed = True
        if self._next is not None:
            self._next.cancel()
        for task in (*self._fresh, *self._silent):
            task.cancel()

    def _start(self) -> None:
        task = self._loop.create_task(self._attempt())
        self._fresh.add(task)
        patience = max(SILENT_SECONDS, 2 * self._usual_seconds)  # a slow network is not silent
        overtake = self._loop.call_later(patience, self._overtake, task)
        task.add_done_callback(lambda _task: overtake.cancel())

    async def _attempt(self) -> None:
        task = asyncio.current_task()
        started = self._loop.time()
        number = self._failures + 1
        try:
            connection = await self._connect()
        except LearnerError as error:
            self._forget(task)
            self._after_failure(error, number)
        except Exception as error:
            log.exception("%s: connecting failed in an unknown way", self._name)
            self._forget(task)
            kind = type(error).__name__
            self._after_failure(DatabaseRefused(f"{self._name}: cannot connect ({kind})"), number)
        except BaseException:
            self._forget(task)
            raise
        else:
            self._forget(task)
            seconds = self._loop.time() - started
            level = logging.INFO if number == 1 else logging.WARNING  # the end of an outage
            self._usual_seconds = seconds
            self._log(level, "%s: connected (attempt %d, %.2f s)", self._name, number, seconds)
            self._after_success(connection)

    def _after_success(self, connection: Connection) -> None:
        self.outage = self.obstacle = None
        self.failing_since = 0.0
        self._failures = 0
        self._rest_until = 0.0
        if self._next is not None:
            self._next.cancel()
            self._next = None
        for task in self._silent:
            task.cancel()
        self._opened(connection)

    def _after_failure(self, error: LearnerError, number: int) -> None:
        if self._closed:
            return
        self._failures += 1
        self.failing_since = self.failing_since or self._loop.time()
        if not isinstance(error, DatabaseUnavailable):
            self._log(logging.ERROR, "%s (attempt %d, not tried again)", error, number)
            self.outage = self.obstacle = None
            self._rest_until = self._loop.time() + REST_SECONDS
            self._failed(error)
            return
        is_full = (error.sqlstate or "").startswith("53")  # there, but without room for one more
        self.outage, self.obstacle = None if is_full else error, error
        pause = BACKOFF.pause(self._failures)
        self._log(logging.WARNING, "%s (attempt %d, next in %.2f s)", error, number, pause)
        self._try_after(pause)
        if not is_full:
            self._failed(error)

    def _overtake(self, task: asyncio.Task[None]) -> None:
        if task in self._fresh:
            self._fresh.discard(task)
            self._silent[task] = None
            if len(self._silent) > MOST_SILENT:
                next(iter(self._silent)).cancel()
            self._try_after(0)
            self.failing_since = self.failing_since or self._loop.time()
            self._failed(DatabaseUnavailable("the server does not answer"))

    def _try_after(self, seconds: float) -> None:
        if self._next is None and not self._closed:
            self._next = self._loop.call_later(seconds, self._try)

    def _try(self) -> None:
        self._next = None
        if not self._fresh:
            self._start()

    def _log(self, level: int, text: str, *args: object) -> None:
        log.log(logging.DEBUG if self._is_quiet else level, text, *args)

    def _forget(self, task: asyncio.Task[None] | None) -> None:
        if task is not None:
            self._fresh.discard(task)
            self._silent.pop(task, None)


def again(error: LearnerError) -> LearnerError:
    """A copy for one more caller: a raised exception collects the tracebacks of all."""
    twin = copy(error)
    twin.__cause__ = error.__cause__
    return twin
