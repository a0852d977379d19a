"""Opening of connections in background tasks, with reconnection after an outage.

While the server is reachable, requested connections are opened concurrently. In an outage there is
one attempt after another, with a random pause of at most half a second between them. That is less
than the second for which a caller waits, so that callers get a connection if the server is
available again. The pause is random so that many processes do not connect at the same moment.

Hedged attempts: in a network that drops packets an attempt neither succeeds nor fails. Waiting for
its timeout would delay the reconnection by seconds, and cancelling it early would never succeed in
a slow network. Therefore another attempt is started in parallel after half a second without an
answer, and the first one that succeeds is used.

Cool-down: after a refusal, such as a wrong password, retries in the background would fill the
server's log and could lock the account. For 30 s only a waiting caller triggers an attempt.
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
"""Its maximum is below the second for which a caller waits in an outage."""

HEDGE_SECONDS = 0.5
"""Time without an answer after which another attempt is started in parallel."""

MAX_SILENT_ATTEMPTS = 20
"""Limit of the parallel attempts without an answer; beyond it the oldest one is cancelled."""

REFUSED_COOLDOWN_SECONDS = 30
"""Time after a refusal during which only a request for a waiting caller triggers an attempt."""


class ReconnectLoop:
    """Attempts to connect on request, repeated until one succeeds or is refused."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[Connection]],
        on_connected: Callable[[Connection], None],
        on_failure: Callable[[LearnerError], None],
        *,
        is_quiet: bool = False,
    ) -> None:
        """
        Args:
            name: name of the target for the log, without a password.
            connect: opens one connection.
            on_connected: called with each new connection.
            on_failure: called with the error of an attempt that failed or got no answer, unless the
                server was reached and is out of connections.
            is_quiet: log attempts at DEBUG, as the loop of the pool reports the outage.
        """
        self.outage: LearnerError | None = None
        """Error of the last attempt if it did not reach the server, else None."""
        self.last_error: LearnerError | None = None
        """Error of the last attempt if it is retried: an outage, or a server out of connections."""
        self.failing_since = 0.0
        """Loop time of the first failure since the last success, 0 if there was none."""
        self._name = name
        self._connect = connect
        self._on_connected = on_connected
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._attempts: set[asyncio.Task[None]] = set()
        self._silent_attempts: dict[asyncio.Task[None], None] = {}
        """Attempts without an answer, oldest first; a dict because a set has no order."""
        self._timer: asyncio.TimerHandle | None = None
        self._failures = 0
        self._cooldown_until = 0.0
        self._is_closed = False
        self._is_quiet = is_quiet
        self._last_connect_seconds = 0.0

    @property
    def is_silent(self) -> bool:
        """True while an attempt has had no answer for longer than HEDGE_SECONDS."""
        return bool(self._silent_attempts)

    def request(self, count: int, *, is_urgent: bool) -> None:
        """Start attempts until ``count`` are in progress, or only one in an outage.

        Args:
            count: number of missing connections.
            is_urgent: a caller is waiting, so that an attempt is started even in the cool-down.
        """
        if self._is_closed or self._timer is not None:
            return
        if not is_urgent and self._loop.time() < self._cooldown_until:
            return
        if self.outage is not None or self._silent_attempts:
            count = min(count, 1)
        for _ in range(count - len(self._attempts)):
            self._start_attempt()

    def close(self) -> None:
        """Cancel all attempts and start no more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in (*self._attempts, *self._silent_attempts):
            task.cancel()

    def _start_attempt(self) -> None:
        task = self._loop.create_task(self._attempt())
        self._attempts.add(task)
        # longer in a slow network, where half a second without an answer is normal
        seconds = max(HEDGE_SECONDS, 2 * self._last_connect_seconds)
        hedge = self._loop.call_later(seconds, self._start_parallel_attempt, task)
        task.add_done_callback(lambda _task: hedge.cancel())

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
            log.exception("%s: connecting failed with an unexpected error", self._name)
            self._forget(task)
            kind = type(error).__name__
            self._after_failure(DatabaseRefused(f"{self._name}: cannot connect ({kind})"), number)
        except BaseException:
            self._forget(task)
            raise
        else:
            self._forget(task)
            seconds = self._loop.time() - started
            level = logging.INFO if number == 1 else logging.WARNING  # WARNING ends an outage
            self._last_connect_seconds = seconds
            self._log(level, "%s: connected (attempt %d, %.2f s)", self._name, number, seconds)
            self._after_success(connection)

    def _after_success(self, connection: Connection) -> None:
        self.outage = self.last_error = None
        self.failing_since = 0.0
        self._failures = 0
        self._cooldown_until = 0.0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in self._silent_attempts:
            task.cancel()
        self._on_connected(connection)

    def _after_failure(self, error: LearnerError, number: int) -> None:
        if self._is_closed:
            return
        self._failures += 1
        self.failing_since = self.failing_since or self._loop.time()
        if not isinstance(error, DatabaseUnavailable):
            self._log(logging.ERROR, "%s (attempt %d, not retried)", error, number)
            self.outage = self.last_error = None
            self._cooldown_until = self._loop.time() + REFUSED_COOLDOWN_SECONDS
            self._on_failure(error)
            return
        # SQLSTATE class 53: the server is reachable, and the existing connections work
        is_full = (error.sqlstate or "").startswith("53")
        self.outage, self.last_error = None if is_full else error, error
        pause = BACKOFF.pause(self._failures)
        self._log(logging.WARNING, "%s (attempt %d, next in %.2f s)", error, number, pause)
        self._retry_after(pause)
        if not is_full:
            self._on_failure(error)

    def _start_parallel_attempt(self, task: asyncio.Task[None]) -> None:
        """Start another attempt if the given one still has no answer."""
        if task in self._attempts:
            self._attempts.discard(task)
            self._silent_attempts[task] = None
            if len(self._silent_attempts) > MAX_SILENT_ATTEMPTS:
                next(iter(self._silent_attempts)).cancel()
            self._retry_after(0)
            self.failing_since = self.failing_since or self._loop.time()
            self._on_failure(DatabaseUnavailable("the server does not answer"))

    def _retry_after(self, seconds: float) -> None:
        if self._timer is None and not self._is_closed:
            self._timer = self._loop.call_later(seconds, self._retry)

    def _retry(self) -> None:
        self._timer = None
        if not self._attempts:
            self._start_attempt()

    def _log(self, level: int, text: str, *args: object) -> None:
        log.log(logging.DEBUG if self._is_quiet else level, text, *args)

    def _forget(self, task: asyncio.Task[None] | None) -> None:
        if task is not None:
            self._attempts.discard(task)
            self._silent_attempts.pop(task, None)


def copy_exception(error: LearnerError) -> LearnerError:
    """Return a copy of an error, to raise it for another caller.

    Each ``raise`` appends to the traceback of the exception, so callers cannot share one.
    """
    copied = copy(error)
    copied.__cause__ = error.__cause__
    return copied
