"""Plain asyncpg clients: what a fault looks like without the layer under test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg

from tests.faults.cluster import Cluster

Client: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
LOST = (asyncpg.ConnectionDoesNotExistError, asyncpg.InterfaceError, ConnectionError)
SILENCE = 0.3


@asynccontextmanager
async def client_of(url: str, **options: Any) -> AsyncIterator[Client]:
    client = await asyncpg.connect(url, **options)
    try:
        yield client
    finally:
        client.terminate()


async def answers(client: Client) -> bool:
    return bool(await client.fetchval("SELECT 1", timeout=5) == 1)


async def is_silent(work: Awaitable[object]) -> bool:
    try:
        await asyncio.wait_for(work, SILENCE)
    except TimeoutError:
        return True
    return False


async def insert(client: Client, commit: Callable[[Client], Awaitable[object]]) -> None:
    await client.execute("CREATE TABLE IF NOT EXISTS word (id int)")
    await client.execute("BEGIN")
    await client.execute("INSERT INTO word VALUES (1)")
    await commit(client)


def rows(cluster: Cluster) -> int:
    return int(cluster.execute("SELECT count(*) FROM word"))
