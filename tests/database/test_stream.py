"""Streams hold no connection between pages, and close when the caller stops early."""

import asyncio
import gc
import tracemalloc

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import StatementRefused
from learner_app.listening.tables import LikeEngagementTable, ListeningSessionTable
from learner_app.operations.seed.insert import insert_seed
from tests.database.sessions import add

ROWS = 2500
PORTALS = "SELECT count(*) FROM pg_cursors WHERE name LIKE '%portal%'"


@pytest.fixture
async def filled(small_pool: DatabaseEngine) -> DatabaseEngine:
    await small_pool.execute(
        "INSERT INTO sessions (id) SELECT 's' || to_char(i, 'FM00000') FROM generate_series(1, $1)"
        " AS i",
        ROWS,
    )
    return small_pool


def sessions():
    return ListeningSessionTable.select(ListeningSessionTable.id)


@pytest.mark.parametrize("batch", [1000, 2500, 7, 5000])
async def test_pages_return_every_row_once_in_order(filled: DatabaseEngine, batch: int):
    found = [row["id"] async for row in filled.stream(sessions(), batch=batch)]
    assert found == [f"s{number:05}" for number in range(1, ROWS + 1)]


async def test_no_connection_is_held_between_pages(filled: DatabaseEngine):
    pool = filled.pool
    assert pool is not None
    count = 0
    async for _ in filled.stream(sessions(), batch=500):
        assert not pool.in_use
        assert not filled.transaction_exists()
        count += 1
    assert count == ROWS


async def test_filters_apply_to_rows_inserted_meanwhile(filled: DatabaseEngine):
    query = sessions().where(ListeningSessionTable.id >= "s02400")
    found = []
    async for row in filled.stream(query, batch=10):
        found.append(row["id"])
        if len(found) == 5:
            await add("s99999")
            await add("s00000")
    assert found[0] == "s02400"
    assert found[-1] == "s99999"
    assert len(found) == 102


async def test_a_composite_key_orders_the_rows(filled: DatabaseEngine):
    rows = [row async for row in filled.stream(ListeningSessionTable.select(), batch=999)]
    assert len(rows) == ROWS
    assert rows[0].keys() == {column._meta.name for column in ListeningSessionTable._meta.columns}
    await insert_seed(filled)
    likes = [row async for row in filled.stream(LikeEngagementTable.select(), batch=2)]
    keys = [(row["content_id"], row["session_id"]) for row in likes]
    assert len(set(keys)) == len(keys) == await LikeEngagementTable.count() > 10


async def test_a_stream_in_a_transaction_reads_one_snapshot(filled: DatabaseEngine):
    async with filled.transaction():
        found = []
        async for row in filled.stream(sessions(), batch=100):
            if not found:
                assert await filled.fetchval(PORTALS) == 1
                await add("s99999")
            found.append(row["id"])
        assert len(found) == ROWS
        assert await filled.fetchval(PORTALS) == 0


@pytest.mark.parametrize("how", ["closed", "dropped", "error"])
async def test_stopping_early_closes_the_cursor(filled: DatabaseEngine, how: str):
    async with filled.transaction():
        rows = filled.stream(sessions(), batch=100)
        if how == "error":
            with pytest.raises(ZeroDivisionError):
                async for _ in rows:
                    raise ZeroDivisionError
        else:
            await anext(rows)
        if how == "closed":
            await rows.aclose()
        else:
            del rows
            gc.collect()
            await asyncio.sleep(0.05)
        assert await filled.fetchval(PORTALS) == 0
        await add("after")
    assert await filled.fetchval("SELECT count(*) FROM sessions") == ROWS + 1


async def test_an_open_stream_does_not_prevent_the_commit(filled: DatabaseEngine):
    async with filled.transaction():
        rows = filled.stream(sessions(), batch=100)
        await anext(rows)
    await rows.aclose()
    assert await filled.fetchval("SELECT count(*) FROM sessions") == ROWS


@pytest.mark.parametrize(
    ("query", "key", "says"),
    [
        (sessions().limit(5), (), "no order"),
        (sessions().order_by(ListeningSessionTable.id), (), "no order"),
        (ListeningSessionTable.select(ListeningSessionTable.content_ids), (), "id"),
        (sessions(), (ListeningSessionTable.started_at,), "started_at"),
    ],
)
async def test_queries_that_cannot_be_streamed_are_refused(
    filled: DatabaseEngine, query, key, says: str
):
    with pytest.raises(StatementRefused, match=says):
        async for _ in filled.stream(query, key=key):
            pass


@pytest.mark.slow
async def test_memory_does_not_grow_with_the_number_of_rows(filled: DatabaseEngine):
    await filled.execute(
        "INSERT INTO sessions (id) SELECT 't' || i FROM generate_series(1, 40000) i"
    )
    peaks = []
    for query in (sessions().where(ListeningSessionTable.id < "t"), sessions()):
        gc.collect()
        tracemalloc.start()
        async for _ in filled.stream(query, batch=500):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 3 * peaks[0]
