"""psycopg 3 with its asynchronous pool."""

from __future__ import annotations

from typing import Any

from psycopg_pool import AsyncConnectionPool

from benchmarks.contestant import Contestant
from benchmarks.database import POOL, Address
from benchmarks.peers import raw


def _placeholders(sql: str) -> str:
    """With ``%s`` for the values, in the order of use."""
    return sql.replace("$1", "%s").replace("$2", "%s")


_GET, _GET_CONTENT = _placeholders(raw.GET), _placeholders(raw.GET_CONTENT)
_INSERT = _placeholders(raw.INSERT)
_UPDATE = "UPDATE bench_item SET amount = %s WHERE id = %s"


class PsycopgPool(Contestant):
    """In autocommit mode, as the others; prepared by itself at the fifth use of a statement."""

    name = "psycopg pool"
    packages = ("psycopg", "psycopg-pool")
    _pool: Any

    async def start(self, address: Address) -> None:
        self._pool = AsyncConnectionPool(
            address.url, min_size=POOL, max_size=POOL, open=False, kwargs={"autocommit": True}
        )
        await self._pool.open(wait=True)

    async def stop(self) -> None:
        await self._pool.close()

    async def get(self, key: int) -> object:
        return await self._first(_GET, key)

    async def get_content(self, key: str) -> object:
        return await self._first(_GET_CONTENT, key)

    async def select_1(self) -> object:
        return await self._first("SELECT 1")

    async def insert(self, number: int) -> object:
        async with self._pool.connection() as connection:
            return await connection.execute(_INSERT, ("new", number))

    async def transaction(self, key: int) -> object:
        async with self._pool.connection() as connection, connection.transaction():
            row = await (await connection.execute(_GET, (key,))).fetchone()
            return await connection.execute(_UPDATE, ((row[2] + 1) % 1000, key))

    async def checkout(self) -> object:
        async with self._pool.connection() as connection:
            return connection

    async def stream(self) -> int:
        rows = 0
        async with (
            self._pool.connection() as connection,
            connection.transaction(),
            connection.cursor(name="bench") as cursor,
        ):
            cursor.itersize = 1000
            await cursor.execute(raw.ALL)
            async for _row in cursor:
                rows += 1
        return rows

    async def _first(self, sql: str, *args: object) -> object:
        async with self._pool.connection() as connection:
            return await (await connection.execute(sql, args)).fetchone()
