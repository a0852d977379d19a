"""Lookup of the commit status of a transaction whose COMMIT got no answer."""

import asyncio

import asyncpg

from learner_app.database.executor import StatementExecutor
from learner_app.database.transaction_id import CLUSTER_AND_TIMELINE
from learner_app.errors import DatabaseError, TransactionId

_STATUS = f"SELECT CASE WHEN {CLUSTER_AND_TIMELINE} = $1 THEN pg_xact_status($2::text::xid8) END"
PAUSE_SECONDS = 0.1
"""Time between two queries while the transaction is in progress or the server unreachable."""


async def was_committed(
    executor: StatementExecutor, transaction_id: TransactionId, seconds: float
) -> bool | None:
    """Return the commit status, see ``DatabaseEngine.was_committed``."""
    cluster, _, number = transaction_id.rpartition("-")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        try:
            status = await executor.run(
                lambda connection: connection.fetchval(_STATUS, cluster, number),
                _STATUS,
                idempotent=True,
            )
        except DatabaseError as error:
            if isinstance(error.__cause__, asyncpg.DataError):
                return None  # an id that is malformed, or that this server has not assigned yet
            if not error.retry or loop.time() > deadline:
                raise
            status = "in progress"
        if status != "in progress":
            return None if status is None else status == "committed"
        if loop.time() > deadline:
            return None
        await asyncio.sleep(PAUSE_SECONDS)
