"""The advisory lock that serialises migrations of a database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from learner_app.schema.migration_engine import MigrationEngine
from learner_app.schema.ownership import require_owner

ADVISORY_LOCK = 0x6C6561726E6572
"""Key of the lock, the letters of "learner"; PostgreSQL's advisory locks are per database."""

POLL_SECONDS = 0.1

# Both functions poll instead of waiting in pg_advisory_lock(). A waiting statement has a snapshot,
# and CREATE INDEX CONCURRENTLY in the process that has the lock waits for all older snapshots: the
# two processes would wait for each other.


@asynccontextmanager
async def locked_transaction(
    engine: MigrationEngine, *, lock_timeout: float | None
) -> AsyncIterator[Any]:
    """Begin a transaction with the advisory lock and yield its connection.

    Args:
        engine: engine of the database.
        lock_timeout: seconds that a statement waits for the lock of a table; no limit if None.

    Raises:
        MigrationError: the connected role may not change the schema.
    """
    while True:
        async with engine.transaction() as transaction:
            connection = transaction.connection
            if await connection.fetchval(f"SELECT pg_try_advisory_xact_lock({ADVISORY_LOCK})"):
                await require_owner(connection)
                if lock_timeout is not None:
                    await connection.execute(f"SET LOCAL lock_timeout = '{lock_timeout}s'")
                yield connection
                return
        await asyncio.sleep(POLL_SECONDS)


@asynccontextmanager
async def locked_session(engine: MigrationEngine) -> AsyncIterator[None]:
    """Hold the advisory lock on a connection of its own, for work outside a transaction.

    Raises:
        MigrationError: the connected role may not change the schema.
    """
    connection = await engine.get_new_connection()
    try:
        while not await connection.fetchval(f"SELECT pg_try_advisory_lock({ADVISORY_LOCK})"):
            await asyncio.sleep(POLL_SECONDS)
        await require_owner(connection)
        yield
    finally:
        await connection.close()
