"""Lists of thousands of contents are navigated and paged in linear time."""

import json
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import pytest

from learner_app.content.tables import ContentTable
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue
from learner_app.listening import playlist_sql
from learner_app.listening.repositories import ListeningSessionRepository
from learner_app.listening.rows import Position
from tests.content.factories import add_contents

sessions = ListeningSessionRepository()
LENGTH = 5000
MILLISECONDS = 200
"""Far above the linear cost (2 to 10 ms), below the quadratic one (1,000 to 6,000 ms)."""

IDS = [f"01a1fede-88a3-72d4-a49f-{n:012}" for n in range(LENGTH)]
MIDDLE = LENGTH // 2
ADD_CONTENT = """
INSERT INTO content (id, title, text_content, audio_url, format, template_id, difficulty, duration,
                     model_parameters, session_id)
SELECT id, 'Il faro', 'text', 'https://audio.example/a.mp3', 'narrative', 't1', 'lexical-heavy',
       300, '{}', 's1' FROM unnest($1::text[]) AS id
"""


@pytest.fixture
async def long_list(db: DatabaseEngine) -> str:
    """A session with 5,000 contents, the middle one current."""
    await db.execute(ADD_CONTENT, IDS)
    await sessions.get_or_create("s1")
    await sessions.append_many("s1", IDS)
    await sessions.set_current("s1", IDS[MIDDLE])
    return "s1"


async def fastest(call: Callable[[], Awaitable[Any]], times: int = 3) -> float:
    """Return the milliseconds of the fastest call, to reduce the influence of other load."""
    elapsed = []
    for _ in range(times):
        start = perf_counter()
        await call()
        elapsed.append((perf_counter() - start) * 1000)
    return min(elapsed)


async def test_navigation_of_5000_contents_is_not_quadratic(long_list: str):
    removed = iter(IDS[MIDDLE - 100 :])
    calls: dict[str, Callable[[], Awaitable[Any]]] = {
        "move_next": lambda: sessions.move_next("s1"),
        "move_previous": lambda: sessions.move_previous("s1"),
        "next_content": lambda: sessions.next_content("s1"),
        "previous_content": lambda: sessions.previous_content("s1"),
        "position": lambda: sessions.position("s1"),
        "list_content": lambda: sessions.list_content("s1", after=IDS[MIDDLE]),
        "append_content": lambda: sessions.append_content("s1", IDS[0]),
        "set_current": lambda: sessions.set_current("s1", IDS[MIDDLE]),
        "remove_content": lambda: sessions.remove_content("s1", next(removed)),
    }
    elapsed = {name: await fastest(call) for name, call in calls.items()}
    assert max(elapsed.values()) < MILLISECONDS, elapsed


async def test_long_lists_are_stored_uncompressed(long_list: str, db: DatabaseEngine):
    """Compression takes most of the time of every change of a long list."""
    await sessions.append_content("s1", IDS[0])
    await sessions.remove_content("s1", IDS[1])
    stored = "SELECT pg_column_compression(content_ids) FROM sessions"
    assert await db.fetchval(stored) is None


async def test_removing_the_current_content_of_5000_is_not_quadratic(long_list: str):
    current = IDS[MIDDLE]

    async def remove() -> None:
        nonlocal current
        row = await sessions.remove_content("s1", current)
        assert row.current_content_id == IDS[IDS.index(current) - 1]
        current = row.current_content_id

    assert await fastest(remove) < MILLISECONDS


async def test_deleting_content_of_many_long_lists_is_not_quadratic(
    long_list: str, db: DatabaseEngine
):
    holders = 10
    await db.execute(
        f"""
        INSERT INTO sessions (id, content_ids, current_content_id)
        SELECT 'h' || n, $1::text[], $2 FROM generate_series(1, {holders}) AS n
        """,
        IDS,
        IDS[MIDDLE],
    )
    assert (
        await fastest(lambda: sessions.delete_content(IDS[MIDDLE]), times=1)
        < MILLISECONDS * holders
    )
    for session in ("s1", "h1", f"h{holders}"):
        row = await sessions.get(session)
        assert row.current_content_id == IDS[MIDDLE - 1]
        assert row.content_ids == IDS[:MIDDLE] + IDS[MIDDLE + 1 :]


async def test_appending_5000_contents_returns_their_places(db: DatabaseEngine):
    await db.execute(ADD_CONTENT, IDS)
    await sessions.get_or_create("s1")
    places = await sessions.append_many("s1", [*IDS, IDS[7]])
    assert places == [*((n, True) for n in range(LENGTH)), (7, False)]
    again = await sessions.append_many("s1", IDS[::-1])
    assert again == [(n, False) for n in range(LENGTH - 1, -1, -1)]


async def test_navigation_skips_thousands_of_deleted_contents(long_list: str, db: DatabaseEngine):
    """Contents deleted by other means remain in the list, so that the neighbor is far away."""
    deleted = IDS[10:MIDDLE] + IDS[MIDDLE + 1 : LENGTH - 10]
    await ContentTable.delete().where(ContentTable.id.is_in(deleted))
    for neighbor, content_id in (
        (sessions.next_content, IDS[LENGTH - 10]),
        (sessions.previous_content, IDS[9]),
    ):
        found = await neighbor("s1")
        assert found is not None
        assert found.id == content_id
        assert await fastest(lambda one=neighbor: one("s1")) < MILLISECONDS
    assert await sessions.position("s1") == Position(10, 21)
    last = [row.id for row in await sessions.list_content("s1", after=IDS[MIDDLE])]
    assert last == IDS[-10:]
    moved = await sessions.move_next("s1")
    assert moved is not None
    assert moved.id == IDS[LENGTH - 10]


async def test_all_pages_together_are_the_list(long_list: str):
    seen: list[str] = []
    after = None
    while rows := await sessions.list_content("s1", limit=700, after=after):
        seen += [row.id for row in rows]
        after = seen[-1]
    assert seen == IDS


async def test_a_page_reads_only_its_own_contents(long_list: str, db: DatabaseEngine):
    key = (IDS[MIDDLE],)
    for after in ((None,), key):
        sql = f"EXPLAIN (ANALYZE, FORMAT JSON) {playlist_sql.LIST.sql}"
        plan = json.loads(await db.fetchval(sql, "s1", *after, 100))[0]["Plan"]
        scanned = [rows for node, rows in scans(plan) if node == "content"]
        assert scanned == [100], plan


def scans(plan: dict[str, Any]) -> list[tuple[str | None, int]]:
    """Return the scanned tables of a plan, each with the number of rows read."""
    own = [(plan.get("Relation Name"), round(plan["Actual Rows"] * plan["Actual Loops"]))]
    return own + [scan for inner in plan.get("Plans", []) for scan in scans(inner)]


async def test_the_neighbor_is_found_without_reading_the_other_contents(
    long_list: str, db: DatabaseEngine
):
    for statement in (playlist_sql.NEXT, playlist_sql.PREVIOUS):
        explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.sql}"
        plan = json.loads(await db.fetchval(explain, "s1"))[0]["Plan"]
        assert sum(rows for node, rows in scans(plan) if node == "content") == 2
        assert all(rows <= 1 for _, rows in scans(plan)), plan


async def test_paging_continues_after_changes_of_the_list(db: DatabaseEngine):
    await add_contents(*"abcdefg")
    await sessions.get_or_create("s1")
    await sessions.append_many("s1", list("abcde"))

    async def page(after: str | None = None) -> str:
        return "".join(row.id for row in await sessions.list_content("s1", limit=2, after=after))

    assert await page() == "ab"
    await sessions.remove_content("s1", "a")
    assert await page("b") == "cd"
    await sessions.append_content("s1", "f")
    assert await page("d") == "ef"
    assert await page("f") == ""
    await ContentTable.delete().where(ContentTable.id == "d")
    assert await page("c") == "ef"
    assert await page("d") == "ef", "a deleted content remains in the list"


@pytest.mark.parametrize("after", ["a", "nothing", "", "x\0", "x" * 256, 5])
async def test_a_page_after_content_outside_the_list_is_invalid(db: DatabaseEngine, after: Any):
    await add_contents("a", "b")
    await sessions.get_or_create("s1")
    await sessions.append_many("s1", ["a", "b"])
    await sessions.remove_content("s1", "a")
    with pytest.raises(InvalidValue) as caught:
        await sessions.list_content("s1", after=after)
    assert caught.value.fields == ("after",)
    assert await sessions.list_content("nobody", after=after) == []


async def test_a_list_with_a_duplicate_is_navigated_to_its_end(db: DatabaseEngine):
    """No operation writes such a list, but the schema does not prevent it."""
    await add_contents("a", "b")
    await db.execute("INSERT INTO sessions (id, content_ids) VALUES ('s1', '{a,a,b}')")
    moved = [await sessions.move_next("s1") for _ in range(3)]
    assert [content and content.id for content in moved] == ["a", "b", None]
    await sessions.set_current("s1", "a")
    row = await sessions.remove_content("s1", "a")
    assert (row.content_ids, row.current_content_id) == (["b"], "b")
