"""Locks under which something is looked up that is no row yet."""

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import TransactionError

ISOLATION = "current_setting('transaction_isolation')"
"""To be selected by the statement that locks, for :func:`require_read_committed_level`."""

LOCK = f"SELECT {ISOLATION} FROM pg_advisory_xact_lock(hashtextextended($1, 0))"


async def advisory_xact_lock(engine: DatabaseEngine, name: str) -> None:
    """Wait until nobody else has a lock of that name; held until the end of the transaction.

    Raises:
        TransactionError: as of :func:`require_read_committed_level`.
        LockTimeout: it was not free within DB_LOCK_TIMEOUT.
    """
    require_read_committed_level(await engine.fetchval(LOCK, name))


async def require_read_committed(engine: DatabaseEngine) -> None:
    """See to it that what follows in the transaction sees what others did until then.

    Raises:
        TransactionError: as of :func:`require_read_committed_level`.
    """
    require_read_committed_level(await engine.fetchval(f"SELECT {ISOLATION}"))


def require_read_committed_level(isolation: str) -> None:
    """See to it that the statements behind a lock see what others did under it before.

    Raises:
        TransactionError: a ``repeatable read`` or ``serializable`` transaction does not: it sees
            everything as it was before it waited.
    """
    if isolation != "read committed":
        raise TransactionError("needs a read committed transaction")
