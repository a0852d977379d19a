"""The verdict finds what it looks for: each wrong, made on purpose, is counted."""

import asyncio

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.settings import Settings
from tests.faults.cluster import Cluster
from tests.faults.load import INSERT_A, INSERT_B, ROW_CANARY, TABLES, Book
from tests.faults.verdict import PASSWORD_CANARY, count

pytestmark = pytest.mark.faults


async def test_each_wrong_is_counted(cluster: Cluster) -> None:
    cluster.execute(TABLES)
    engine = DatabaseEngine(cluster.url())
    engine.settings = Settings(db_pool_max=3)
    async with engine.running():
        for key in ("fine", "twice", "twice"):
            await engine.execute(INSERT_A, key, "x")
            await engine.execute(INSERT_B, key, "x")
        await engine.execute(INSERT_A, "half", "x")
        async with engine.transaction(track_commit=True) as lost:
            await engine.execute(INSERT_A, "track_commit", "x")
            await engine.execute(INSERT_B, "track_commit", "x")
        cluster.execute("DELETE FROM acked_a WHERE key = 'track_commit'")
        cluster.execute("DELETE FROM acked_b WHERE key = 'track_commit'")
        leaked = await engine.connections.acquire()
        await leaked.execute("BEGIN")
        await asyncio.sleep(0.6)
        book = Book(
            acknowledged=["fine", "twice", "gone"],
            unknown={"track_commit": lost.transaction_id},
            failed=["fine"],
            hung=["a call"],
            strangers=[ZeroDivisionError()],
        )
        texts = ["harmless", f"password {PASSWORD_CANARY}", f"row {ROW_CANARY}"]
        found = await count(engine, cluster, book, [], texts, may_forget=False)
        await engine.connections.release(leaked)
    problems = found.problems()
    problems.pop("details")
    assert problems == {
        "missing": 1,
        "duplicates": 2,
        "half_done": 1,
        "failed_but_there": 1,
        "untold_truth": 1,
        "leaked_slots": 2,  # it is held, and cannot be had
        "hung_calls": 1,
        "idle_in_transaction": 1,
        "secrets_in_logs": 2,
        "strangers": 1,
    }
