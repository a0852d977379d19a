"""Making sure of a connection before the next one gets it."""

import asyncio

from learner_app.database.connection import Connection

CHECK_SECONDS = 0.5
MEND_SECONDS = 2


async def check(connection: Connection) -> None:
    """Raise unless it answers within half a second."""
    async with asyncio.timeout(CHECK_SECONDS):
        await connection.fetchval("SELECT 1")


async def mend(connection: Connection) -> None:
    """Roll back, and forget what was left in the session; raise when that takes over 2 s."""
    async with asyncio.timeout(MEND_SECONDS):
        if connection.is_busy():
            await connection.forget_transaction()
        if connection.has_session_state:
            await connection.reset_session()
