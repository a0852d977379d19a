"""Statements that wait for a lock."""

import asyncio
from typing import Any

COUNT_LOCK_WAITS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


async def lock_wait(connection: Any) -> None:
    """Wait until a statement of another connection waits for a lock."""
    async with asyncio.timeout(10):
        while not await connection.fetchval(COUNT_LOCK_WAITS):
            await asyncio.sleep(0.01)
