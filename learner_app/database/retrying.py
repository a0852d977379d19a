"""Running a unit of work again when concurrency, not the work, made it fail."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from learner_app.errors import (
    CommitUnknown,
    ConnectionLost,
    DatabaseError,
    DatabaseReadOnly,
    DeadlockDetected,
    SerializationFailure,
    TransactionRolledBack,
)

if TYPE_CHECKING:
    from learner_app.database.engine import DatabaseEngine

log = logging.getLogger(__name__)

T = TypeVar("T")

DEADLINE_SECONDS = 10.0
FIRST_PAUSE = 0.01
LONGEST_PAUSE = 1.0

AGAIN = (SerializationFailure, DeadlockDetected, ConnectionLost, DatabaseReadOnly)
"""After these surely nothing of the transaction was done, and the next try may go better."""


async def run_transaction(
    engine: DatabaseEngine,
    unit: Callable[[], Awaitable[T]],
    *,
    deadline: float,
    **options: Any,
) -> T:
    """See :meth:`DatabaseEngine.run_transaction`."""
    is_nested = engine.enclosing_transaction() is not None
    loop = asyncio.get_running_loop()
    ends = loop.time() + deadline
    attempt = 0
    while True:
        attempt += 1
        try:
            async with engine.transaction(**options):
                result = await unit()
        except CommitUnknown as error:
            committed = await _find_out(engine, error, ends - loop.time())
            if committed is None:
                raise
            if committed:
                return result
            failure: DatabaseError = error
        except DatabaseError as error:
            if is_nested or not _may_go_better(error):
                raise  # inside another transaction only its own unit can be run again
            failure = error
        else:
            return result
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt, 10))
        pause = random.uniform(0, longest)  # noqa: S311  # no secret
        if loop.time() + pause > ends:
            raise failure
        log.info("transaction runs again after %s (attempt %d)", type(failure).__name__, attempt)
        await asyncio.sleep(pause)


def _may_go_better(error: DatabaseError) -> bool:
    if isinstance(error, TransactionRolledBack):  # the unit had caught what made it fail
        return isinstance(error.__cause__, AGAIN)
    return isinstance(error, AGAIN)


async def _find_out(engine: DatabaseEngine, error: CommitUnknown, seconds: float) -> bool | None:
    """Whether a traced transaction was committed; None when that is not to be known."""
    if error.transaction_id is None:
        return None
    try:
        return await engine.was_committed(error.transaction_id, seconds=max(seconds, 0))
    except DatabaseError as second:
        raise error from second
