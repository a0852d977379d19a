"""Retries of transactions that failed by concurrency or outages, and of the first connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from learner_app.database.backoff import Backoff
from learner_app.database.connections import Connections
from learner_app.database.engine_parts import EngineParts
from learner_app.database.transaction import (
    Transaction,
    enclosing_transaction,
)
from learner_app.database.transaction_options import TransactionOptions
from learner_app.errors import (
    CommitUnknown,
    ConnectionLost,
    DatabaseError,
    DatabaseReadOnly,
    DatabaseUnavailable,
    DeadlockDetected,
    SchemaChanged,
    SerializationFailure,
    TransactionAborted,
    TransactionFinished,
    TransactionId,
    TransactionRolledBack,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

DEADLINE_SECONDS = 10.0
"""Default of the time after which no attempt begins."""
CLOSE_SECONDS = 1
"""Time limit for closing the connection that :func:`wait_until_ready` has opened."""
BACKOFF = Backoff(initial=0.02, maximum=1.0)
"""Pauses between the attempts of a transaction."""

RETRYABLE = (
    SerializationFailure,
    DeadlockDetected,
    SchemaChanged,
    ConnectionLost,
    DatabaseReadOnly,
)
"""Errors after which nothing was committed and another attempt may succeed."""


class TransactionRunner:
    """Runner of a unit of work that retries it after a failure of :data:`RETRYABLE`."""

    def __init__(
        self,
        parts: EngineParts,
        options: TransactionOptions,
        was_committed: Callable[[TransactionId, float], Awaitable[bool | None]],
        *,
        deadline: float,
    ) -> None:
        """
        Args:
            parts: parts of the engine.
            options: options of the transaction of each attempt.
            was_committed: returns the commit status of a transaction within a number of seconds.
            deadline: seconds after which no attempt begins.
        """
        self._parts = parts
        self._options = options
        self._was_committed = was_committed
        self._is_nested = enclosing_transaction(parts.current) is not None
        self._ends_at = asyncio.get_running_loop().time() + deadline

    async def run(self, unit: Callable[[], Awaitable[T]]) -> T:
        """Run the unit, see ``DatabaseEngine.run_transaction``."""
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            attempt += 1
            transaction = Transaction(self._parts, self._options)
            try:
                async with transaction:
                    result = await unit()
            except CommitUnknown as error:
                committed = await self._resolve_unknown_commit(transaction, error)
                if committed is None:
                    raise
                if committed:
                    return result
                failure: DatabaseError = ConnectionLost("the server did not commit the transaction")
                failure.__cause__ = error
            except (DatabaseError, BaseExceptionGroup) as error:
                cause = _retryable_cause(error)
                # A savepoint cannot be retried: after these errors the whole transaction has
                # failed, and only the outermost unit can be retried.
                if self._is_nested or cause is None:
                    raise
                failure = cause
            else:
                return result
            pause = BACKOFF.pause(attempt)
            if loop.time() + pause > self._ends_at:
                raise failure
            log.info(
                "retrying a transaction after %s (attempt %d)", type(failure).__name__, attempt
            )
            transaction.notify_error(failure, is_retried=True)
            await asyncio.sleep(pause)

    async def _resolve_unknown_commit(
        self, transaction: Transaction, error: CommitUnknown
    ) -> bool | None:
        """Return the commit status of this attempt's transaction, None if it is unknown."""
        ours = transaction.transaction_id
        if ours is None or error.transaction_id != ours or error.unconfirmed:
            return None
        seconds = self._ends_at - asyncio.get_running_loop().time()
        try:
            return await self._was_committed(ours, max(seconds, 0))
        except DatabaseError as second:
            raise error from second


def _retryable_cause(error: BaseException) -> DatabaseError | None:
    """Return the error because of which the unit can be retried, None if there is none.

    A task group raises several errors. Its unit can be retried if at least one error is retryable
    and all others are consequences of it: the transaction is aborted or has ended.
    """
    if isinstance(error, BaseExceptionGroup):
        causes = [_retryable_cause(one) for one in error.exceptions]
        consequences = (TransactionAborted, TransactionFinished)
        has_other_errors = any(
            cause is None and not isinstance(one, consequences)
            for cause, one in zip(causes, error.exceptions, strict=True)
        )
        return None if has_other_errors else next((cause for cause in causes if cause), None)
    if isinstance(error, TransactionRolledBack):  # the unit had caught the error, now its cause
        return error if isinstance(error.__cause__, RETRYABLE) else None
    return error if isinstance(error, RETRYABLE) else None


async def wait_until_ready(connections: Connections) -> None:
    """Wait until the server accepts connections, see ``DatabaseEngine.wait_until_ready``."""
    settings = connections.settings
    attempts = settings.db_retry_attempts
    backoff = Backoff(
        initial=settings.db_retry_initial,
        maximum=settings.db_retry_max,
        multiplier=settings.db_retry_multiplier,
    )
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.db_retry_deadline
    for attempt in range(1, attempts + 1):
        started = loop.time()
        try:
            connection = await connections.connect()
        except DatabaseUnavailable as error:
            pause = backoff.pause(attempt)
            if attempt == attempts or loop.time() + pause > deadline:
                log.warning("%s (attempt %d of %d, the last)", error, attempt, attempts)
                raise
            log.warning("%s (attempt %d of %d, next in %.1f s)", error, attempt, attempts, pause)
            await asyncio.sleep(pause)
        else:
            await connection.close(timeout=CLOSE_SECONDS)
            seconds = loop.time() - started
            log.info("%s: connected (attempt %d, %.2f s)", connections.target, attempt, seconds)
            return
