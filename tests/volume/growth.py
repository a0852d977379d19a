"""Blocks and milliseconds of every operation at several numbers of events.

Usage: python -m tests.volume.growth URL URL ... [--only PART] [--load EVENTS]

Each URL is that of a migrated database. ``--load`` fills the one of the only URL, which must be
empty, as its owner; fsync may be off. The other form measures each operation on all URLs and prints
a table: the most blocks that one of nine calls reads, and the milliseconds of the fastest call. All
changes are rolled back. Set DB_POOL_MAX=1, so that all calls use the same prepared statements.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from time import perf_counter
from typing import Any

import asyncpg

from learner_app.conf import DB
from tests.volume.growth_data import fill
from tests.volume.million import START
from tests.volume.operations import OPERATIONS, drained, events, likes, prepare, sessions

Operation = Callable[[], Awaitable[Any]]
MAX_SECONDS = 5
"""Time after which an operation is not called again, but for the second time."""

BLOCKS = """
SELECT sum(heap_blks_hit + heap_blks_read + coalesce(idx_blks_hit + idx_blks_read, 0)
           + coalesce(toast_blks_hit + toast_blks_read, 0)
           + coalesce(tidx_blks_hit + tidx_blks_read, 0))::bigint
FROM pg_statio_all_tables WHERE schemaname = 'public'
"""

POPULAR: dict[str, Operation] = {
    "list_for_session, popular": lambda: events.list_for_session("spread"),
    "list_for_session, popular, brief": lambda: events.list_for_session("burst"),
    "recent_for_session, popular": lambda: events.recent_for_session("spread", limit=20),
    "list_for_session of 1,000": lambda: events.list_for_session("thousand", limit=1000),
    "export of 1,100": lambda: drained(events.export(session_id="thousand")),
    "list_for_content, popular": lambda: events.list_for_content("c0"),
    "list_for_content, popular, since": lambda: events.list_for_content(
        "c0", since=START + timedelta(hours=2), until=START + timedelta(hours=3)
    ),
    "list newest, popular content": lambda: events.list(content_id="c0", order="newest"),
    "list_for_content, unheard": lambda: events.list_for_content("c3"),
    "count_by_type, popular content": lambda: events.count_by_type(content_id="c0"),
    "engagement_for_content, popular": lambda: events.engagement_for_content("c0"),
    "page": lambda: events.page(),
    "page, type": lambda: events.page(event_type="play", order="newest"),
    "page, estimated": lambda: events.page(event_type="play", total="estimated"),
    "find_by_characteristics, common": lambda: events.find_by_characteristics(
        {"format": "podcast"}
    ),
    "find_by_characteristics, 4 %": lambda: events.find_by_characteristics({"genre": "genre7"}),
    "find_by_characteristics, 0.1 %": lambda: events.find_by_characteristics({"genre": "unusual"}),
    "find_by_characteristics, rare": lambda: events.find_by_characteristics({"genre": "rare"}),
    "find_by_characteristics, none": lambda: events.find_by_characteristics({"genre": "none"}),
    "find_by_characteristics, recent": lambda: events.find_by_characteristics({"recent": True}),
    "count": lambda: events.count(),
    "count, popular session": lambda: events.count(session_id="spread"),
    "likes.list_for_session, popular": lambda: likes.list_for_session("spread"),
    "likes.count_likes, popular": lambda: likes.count_likes("c0"),
    "sessions.list newest": lambda: sessions.list(order="newest"),
}


@dataclass(frozen=True)
class Cost:
    blocks: int
    """Blocks that one call reads, with the worse of the plans."""
    milliseconds: float
    """Time of the fastest call."""


class _Undone(Exception):
    """Rolls back a transaction."""


def operations() -> dict[str, Operation]:
    """Return every public operation, and some of them for popular rows."""
    named = {
        f"{repository.table._meta.tablename}.{name}": call
        for repository, calls in OPERATIONS.items()
        for name, call in calls.items()
    }
    return named | POPULAR


async def load(url: str, number: int) -> None:
    """Insert events and what the operations need into an empty migrated database."""
    connection = await asyncpg.connect(url)
    await fill(connection, number)
    await connection.close()
    DB.url = url
    async with DB.running():
        await prepare()
    DB.url = None


async def measure_all(url: str, only: str = "") -> dict[str, Cost]:
    """Return the costs of all operations whose name contains a text."""
    DB.url = url
    watcher = await asyncpg.connect(url)
    async with DB.running():
        costs = {
            name: await measure(operation, watcher)
            for name, operation in operations().items()
            if only in name
        }
    await watcher.close()
    DB.url = None
    return costs


async def measure(operation: Operation, watcher: asyncpg.Connection, calls: int = 9) -> Cost:
    """Return the cost of an operation on the pool of ``DB``, which must have one connection.

    The server counts the blocks of the tables and their indexes, those that triggers read included.
    From the sixth execution on it may use a plan for any values of the parameters.
    """
    blocks, times = [], []
    for _ in range(calls):
        before = await watcher.fetchval(BLOCKS)
        with suppress(_Undone):
            async with DB.transaction():
                start = perf_counter()
                await operation()
                times.append(perf_counter() - start)
                raise _Undone
        await DB.fetchval("SELECT pg_stat_force_next_flush()")
        blocks.append(await watcher.fetchval(BLOCKS) - before)
        if len(times) > 1 and sum(times) > MAX_SECONDS:
            break
    return Cost(max(blocks[1:]), min(times) * 1000)


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.volume.growth")
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--load", type=int)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if options.load:
        await load(options.urls[0], options.load)
        return
    costs = [await measure_all(url, options.only) for url in options.urls]
    print(f"| | {' | | '.join(options.urls)} | |")
    for name in costs[0]:
        row = [cost[name] for cost in costs]
        blocks = " | ".join(f"{cost.blocks:,}" for cost in row)
        times = " | ".join(f"{cost.milliseconds:.1f}" for cost in row)
        print(f"| `{name}` | {blocks} | {times} |")


if __name__ == "__main__":
    asyncio.run(main())
