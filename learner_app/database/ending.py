"""How a transaction's own statements are sent, and what their failures mean."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import asyncpg

from learner_app.database.error_mapping import DRIVER_ERRORS, outcome_is_unknown
from learner_app.errors import (
    CommitUnknown,
    ConnectionLost,
    TransactionError,
    TransactionId,
    TransactionRolledBack,
)

if TYPE_CHECKING:
    from learner_app.database.connection import Connection
    from learner_app.database.engine import DatabaseEngine

log = logging.getLogger(__name__)

UNDO_SECONDS = 2
"""How long a rollback may take; then the connection is cut, which undoes everything as well."""


async def commit(
    engine: DatabaseEngine,
    connection: Connection,
    transaction_id: TransactionId | None,
    *,
    read_only: bool,
) -> None:
    """Send COMMIT.

    Raises:
        CommitUnknown: it was sent, and whether it was done is not known.
        TransactionRolledBack: the server answered ROLLBACK.
        DatabaseError: nothing was committed.
    """
    if connection.is_closed():
        raise ConnectionLost("the connection broke before COMMIT: nothing was committed")
    if not connection.is_in_transaction():
        raise TransactionError("the transaction was ended inside its block, by other means")
    try:
        tag = await connection.control("COMMIT")
    except DRIVER_ERRORS as error:
        if outcome_is_unknown(error) and not read_only:
            connection.terminate()
            raise CommitUnknown(
                f"COMMIT was sent and its answer lost ({type(error).__name__})", transaction_id
            ) from error
        raise engine.failure(error, "COMMIT", connection) from error
    if tag != "COMMIT":
        raise TransactionRolledBack(
            "nothing was committed: an error inside the transaction had been caught"
        )
    if connection.is_unconfirmed:
        raise CommitUnknown(
            "committed on one server, not confirmed by its standby",
            transaction_id,
            unconfirmed=True,
        )


async def release(engine: DatabaseEngine, connection: Connection, savepoint: str) -> None:
    """Keep what was done since the savepoint.

    Raises:
        TransactionRolledBack: an error had been caught meanwhile; all since then is undone.
        DatabaseError: the connection is lost.
    """
    try:
        await connection.control(f"RELEASE SAVEPOINT {savepoint}")
    except asyncpg.InFailedSQLTransactionError:
        await undo(connection, savepoint)
        raise TransactionRolledBack(
            "the nested block was rolled back: an error inside it had been caught"
        ) from None
    except DRIVER_ERRORS as error:
        raise engine.failure(error, "RELEASE", connection) from error


async def undo(connection: Connection, savepoint: str | None) -> None:
    """Roll back, to the savepoint if there is one; where that fails, everything by a cut."""
    if connection.is_closed():
        return
    statement = "ROLLBACK"
    if savepoint is not None:
        statement = f"ROLLBACK TO SAVEPOINT {savepoint}; RELEASE SAVEPOINT {savepoint}"
    try:
        async with asyncio.timeout(UNDO_SECONDS):
            await connection.control(statement)
    except Exception as error:  # noqa: BLE001  # logged; the first error goes on
        log.warning("rollback failed with %s, connection cut", type(error).__name__)
        connection.terminate()


async def begin(engine: DatabaseEngine, statement: str) -> Connection:
    """A connection with a transaction begun; once more when the first one proves dead."""
    try:
        return await _begin_once(engine, statement)
    except ConnectionLost:
        return await _begin_once(engine, statement)


async def _begin_once(engine: DatabaseEngine, statement: str) -> Connection:
    connection = await engine.take_connection()
    try:
        await connection.control(statement)
    except DRIVER_ERRORS as error:
        failure = engine.failure(error, statement, connection)  # given back it may be closed
        await engine.give_back(connection)
        raise failure from error
    except BaseException:
        await engine.give_back(connection)
        raise
    connection.is_managed = True
    return connection
