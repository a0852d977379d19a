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
    SchemaChanged,
    SerializationFailure,
    TransactionAborted,
    TransactionFinished,
    TransactionRolledBack,
)

if TYPE_CHECKING:
    from learner_app.database.engine import DatabaseEngine
    from learner_app.database.transaction import Transaction

log = logging.getLogger(__name__)

T = TypeVar("T")

DEADLINE_SECONDS = 10.0
FIRST_PAUSE = 0.01
LONGEST_PAUSE = 1.0

AGAIN = (SerializationFailure, DeadlockDetected, SchemaChanged, ConnectionLost, DatabaseReadOnly)
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
        transaction = engine.transaction(**options)
        try:
            async with transaction:
                result = await unit()
        except CommitUnknown as error:
            committed = await _find_out(engine, transaction, error, ends - loop.time())
            if committed is None:
                raise
            if committed:
                return result
            failure: DatabaseError = ConnectionLost("the server did not commit the transaction")
            failure.__cause__ = error
        except (DatabaseError, BaseExceptionGroup) as error:
            passing = _passing(error)
            if is_nested or passing is None:
                raise  # inside another transaction only its own unit can be run again
            failure = passing
        else:
            return result
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt, 10))
        pause = random.uniform(0, longest)  # noqa: S311  # no secret
        if loop.time() + pause > ends:
            raise failure
        log.info("transaction runs again after %s (attempt %d)", type(failure).__name__, attempt)
        await asyncio.sleep(pause)


def _passing(error: BaseException) -> DatabaseError | None:
    """The reason to run the unit again, if the error is one; also out of a task group's."""
    if isinstance(error, BaseExceptionGroup):
        inner = [_passing(one) for one in error.exceptions]
        # beside it the other tasks may say that the transaction is aborted, and nothing else
        others = (TransactionAborted, TransactionFinished)
        is_clean = all(
            found or isinstance(one, others)
            for found, one in zip(inner, error.exceptions, strict=True)
        )
        return next((one for one in inner if one), None) if is_clean else None
    if isinstance(error, TransactionRolledBack):  # the unit had caught what made it fail
        return error if isinstance(error.__cause__, AGAIN) else None
    return error if isinstance(error, AGAIN) else None


async def _find_out(
    engine: DatabaseEngine, transaction: Transaction, error: CommitUnknown, seconds: float
) -> bool | None:
    """Whether our track_commit transaction was committed; None when that is not to be known."""
    ours = transaction.transaction_id
    if ours is None or error.transaction_id != ours or error.unconfirmed:
        return None
    try:
        return await engine.was_committed(ours, seconds=max(seconds, 0))
    except DatabaseError as second:
        raise error from second
