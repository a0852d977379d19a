"""Ids of transactions, which identify a lost COMMIT across reconnects and failovers."""

from learner_app.database.connection import Connection
from learner_app.errors import TransactionId

SERVER_IDENTITY = """
    (SELECT system_identifier FROM pg_control_system())::text || '-' ||
    CASE WHEN pg_is_in_recovery() THEN 'standby'
         ELSE substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END"""
"""SQL of the cluster's identifier and timeline: a transaction id is unique within both only."""

_TRANSACTION_ID = f"SELECT {SERVER_IDENTITY} || '-' || pg_current_xact_id_if_assigned()::text"


async def read_transaction_id(connection: Connection) -> TransactionId | None:
    """Return cluster, timeline and id of the transaction, None if it has written nothing."""
    found = await connection.fetchval(_TRANSACTION_ID)
    return TransactionId(found) if found else None
