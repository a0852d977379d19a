"""Finding out what became of a transaction whose COMMIT got no answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg

from learner_app.errors import DatabaseError, TransactionId

if TYPE_CHECKING:
    from learner_app.database.connection import Connection
    from learner_app.database.engine import DatabaseEngine

_IDENTITY = """
    (SELECT system_identifier FROM pg_control_system())::text || '-' ||
    CASE WHEN pg_is_in_recovery() THEN 'standby'
         ELSE substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END"""
_READ_ID = f"SELECT {_IDENTITY} || '-' || pg_current_xact_id_if_assigned()::text"
_STATUS = f"SELECT CASE WHEN {_IDENTITY} = $1 THEN pg_xact_status($2::text::xid8) END"
PAUSE_SECONDS = 0.1


async def read_transaction_id(connection: Connection) -> TransactionId | None:
    """Server, timeline and id of the transaction; None when it has written nothing."""
    found = await connection.fetchval(_READ_ID)
    return TransactionId(found) if found else None


async def was_committed(
    engine: DatabaseEngine, transaction_id: TransactionId, seconds: float
) -> bool | None:
    """See :meth:`DatabaseEngine.was_committed`."""
    identity, _, number = transaction_id.rpartition("-")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        try:
            status = await engine.fetchval(_STATUS, identity, number, idempotent=True)
        except DatabaseError as error:
            if isinstance(error.__cause__, asyncpg.DataError):
                return None  # an id that this server has not reached yet
            if not error.retry or loop.time() > deadline:
                raise
            status = "in progress"
        if status != "in progress":
            return None if status is None else status == "committed"
        if loop.time() > deadline:
            return None
        await asyncio.sleep(PAUSE_SECONDS)
