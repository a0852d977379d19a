"""Advisory locks, and checks of the isolation level for operations that lock."""

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import TransactionError
from learner_app.repository.sql import Statement

__all__ = [
    "ISOLATION",
    "advisory_xact_lock",
    "require_read_committed",
    "require_read_committed_level",
]

ISOLATION = "current_setting('transaction_isolation')"
"""SQL for the isolation level of the transaction.

A statement that locks selects it too and passes it to :func:`require_read_committed_level`, which
saves a query.
"""

LOCK = Statement(
    "advisory_xact_lock",
    f"SELECT {ISOLATION} FROM pg_advisory_xact_lock(hashtextextended($1, 0))",
)
SHOW_ISOLATION = Statement("show_isolation", f"SELECT {ISOLATION}")


async def advisory_xact_lock(engine: DatabaseEngine, name: str) -> None:
    """Acquire the advisory lock of that name until the end of the transaction.

    Raises:
        TransactionError: the transaction is ``repeatable read`` or ``serializable``.
        LockTimeout: another transaction has held the lock for longer than DB_LOCK_TIMEOUT.
    """
    require_read_committed_level(await LOCK.fetchval(engine, name))


async def require_read_committed(engine: DatabaseEngine) -> None:
    """Raise if the transaction does not see rows that others commit while it runs.

    Raises:
        TransactionError: the transaction is ``repeatable read`` or ``serializable``.
    """
    require_read_committed_level(await SHOW_ISOLATION.fetchval(engine))


def require_read_committed_level(isolation: str) -> None:
    """Raise if statements after a lock would not see changes of earlier holders of the lock.

    A ``repeatable read`` or ``serializable`` transaction may read from a snapshot that was taken
    before it acquired the lock.

    Raises:
        TransactionError: the isolation level is not ``read committed``.
    """
    if isolation != "read committed":
        raise TransactionError(
            "the operation requires the isolation level read committed: "
            'call it inside `async with DB.transaction(isolation="read committed"):`'
        )
