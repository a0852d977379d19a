"""Transaction ids that remain unique across reconnects and failovers."""

from learner_app.database.connection import Connection
from learner_app.errors import TransactionId

CLUSTER_AND_TIMELINE = """
    (SELECT system_identifier FROM pg_control_system())::text || '-' ||
    CASE WHEN pg_is_in_recovery() THEN 'standby'
         ELSE substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END"""
"""SQL expression of the cluster's system identifier and its timeline.

PostgreSQL's transaction ids are unique only within one timeline of one cluster.
"""

_TRANSACTION_ID = f"SELECT {CLUSTER_AND_TIMELINE} || '-' || pg_current_xact_id_if_assigned()::text"


async def read_transaction_id(connection: Connection) -> TransactionId | None:
    """Return the id of the connection's transaction, None if it has written nothing."""
    found = await connection.fetchval(_TRANSACTION_ID)
    return TransactionId(found) if found else None
