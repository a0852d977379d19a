"""A million events: in by COPY, out by pages, at any depth alike and in constant memory."""

import json
from datetime import timedelta
from typing import Any

import pytest

from learner_app.conf import DB
from learner_app.listening.repositories import BehavioralEventRepository
from tests.memory import memory_in_use
from tests.volume.million import EVENTS, SESSIONS, START, STEP, Million

pytestmark = pytest.mark.stress
events = BehavioralEventRepository()
BY_TIME = events.orders["time"]
MEGABYTE = 1_000_000
DEEP = EVENTS - STEP // 10


async def test_ingest_stores_a_million_in_flat_memory(million: Million):
    result = million.result
    assert (result.recorded, result.duplicates, result.failed) == (EVENTS - 10, 1000, 10)
    assert [failure.index for failure in result.failures] == list(range(0, EVENTS, STEP))
    assert await events.count() == EVENTS - 10
    assert len(million.memory) == 10
    assert max(million.memory) - million.memory[0] < 40 * MEGABYTE, million.memory


async def test_export_and_stream_in_constant_memory(million: Million):
    until = START + timedelta(seconds=10 * 3 * STEP)
    for rows in (events.export(until=until), events.stream(until=until)):
        memory, count, newest = [], 0, START
        async for row in rows:
            assert row.timestamp >= newest
            newest, count = row.timestamp, count + 1
            if count % (STEP // 2) == STEP // 4:
                memory.append(memory_in_use())
        assert count == 3 * STEP - 3
        assert max(memory) - memory[0] < 40 * MEGABYTE, memory


async def blocks(sql: str, args: list[Any]) -> int:
    """Blocks that a statement reads, from wherever they are."""
    plan = await DB.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *args)
    top = json.loads(plan)[0]["Plan"]
    return top["Shared Hit Blocks"] + top["Shared Read Blocks"]


async def test_pages_at_depth_cost_what_the_first_one_costs(million: Million):
    first = await events.page(limit=100, since=START)
    deep_row = await events.get(f"e{DEEP:07}")
    deep = await events.page(limit=100, since=START, after=BY_TIME.encode_cursor(deep_row))
    assert [row.id for row in deep.rows[:2]] == [f"e{DEEP + 1:07}", f"e{DEEP + 2:07}"]
    assert len(first.rows) == len(deep.rows) == 100
    costs = []
    for row in (first.rows[0], deep_row):
        statement = events.statements.page(events.filters, ["since"], BY_TIME, 101, after=True)
        args = statement.args({"since": START, **BY_TIME.position(row)})
        costs.append(await blocks(statement.sql, args))
    assert costs[1] <= costs[0] + 20, costs


async def test_lists_of_what_is_new_do_not_look_through_what_is_old(million: Million):
    """The newest session, and a piece that nobody has heard so far."""
    newest, unheard = {"session_id": f"s{SESSIONS - 1}"}, {"content_id": "c-new"}
    for given, most in ((newest, 300), (unheard, 50)):
        for limit in (1, 100):
            statement = events.statements.page(events.filters, given, BY_TIME, limit, after=False)
            assert await blocks(statement.sql, list(given.values())) < most
    assert len(await events.list_for_session(f"s{SESSIONS - 1}")) == 50
    assert [row.id for row in await events.recent_for_session("s0", limit=1)] == ["e0000049"]


async def test_totals_estimated_are_near(million: Million):
    page = await events.page(limit=1, total="estimated", event_type="play")
    assert page.total == pytest.approx(EVENTS / 5, rel=0.2)
    exact = await events.page(limit=1, total="exact", session_id="s1")
    assert exact.total == 50
