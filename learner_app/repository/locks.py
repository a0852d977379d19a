"""Locks on what is no row yet."""

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import TransactionError

LOCK = """
SELECT current_setting('transaction_isolation')
FROM pg_advisory_xact_lock(hashtextextended($1, 0))
"""


async def lock_name(engine: DatabaseEngine, name: str) -> None:
    """Wait until nobody else has a lock of that name; held until the end of the transaction.

    Raises:
        TransactionError: a ``repeatable read`` transaction would not see what others did under
            the lock before.
        LockTimeout: it was not free within DB_LOCK_TIMEOUT.
    """
    isolation = await engine.fetchval(LOCK, name)
    if isolation == "repeatable read":
        raise TransactionError("needs a read committed or serializable transaction")
