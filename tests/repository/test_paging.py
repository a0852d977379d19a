"""Pages, cursors, totals, streams and filters."""

import base64
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from learner_app.content.repositories import ContentRepository
from learner_app.content.rows import Content, ContentCreate, ContentUpdate
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue
from learner_app.listening.repositories import ListeningSessionRepository
from learner_app.listening.rows import ListeningSessionCreate
from learner_app.repository.paging import LIMITS, MAX_LIMIT, Page, rounded_limit
from tests.content.factories import add_contents, new_content

content, sessions = ContentRepository(), ListeningSessionRepository()
START = datetime(2026, 1, 1, tzinfo=UTC)

Paged = Callable[..., Awaitable[Page[Content]]]


@pytest.fixture
async def contents(db: DatabaseEngine) -> list[Content]:
    """23 contents, several of which were generated at the same time."""
    ids = [f"c{number:02}" for number in range(23)]
    random.shuffle(ids)
    return await content.add_many(
        [new_content(one, generated_at=START + timedelta(hours=int(one[1:]) % 5)) for one in ids]
    )


async def pages(paged: Paged, limit: int, **filters: Any) -> AsyncIterator[list[Content]]:
    after = None
    for _ in range(100):
        page = await paged(limit=limit, after=after, **filters)
        yield page.rows
        if page.next is None:
            return
        after = page.next
    pytest.fail("the pages do not end")


@pytest.mark.parametrize("limit", [1, 3, 7, 22, 23, 24, 1000])
async def test_pages_contain_every_row_once_in_order(contents: list[Content], limit: int):
    by_id = sorted(contents, key=lambda row: row.id)
    newest = sorted(contents, key=lambda row: (row.generated_at, row.id), reverse=True)
    for order, expected in (("key", by_id), ("newest", newest), ("oldest", newest[::-1])):
        found = [rows async for rows in pages(content.page, limit, order=order)]
        assert [len(rows) for rows in found[:-1]] == [limit] * ((len(contents) - 1) // limit)
        assert [row for rows in found for row in rows] == expected


async def test_concurrent_inserts_neither_repeat_nor_hide_rows(contents: list[Content]):
    seen: list[Content] = []
    async for rows in pages(content.page, 4, order="newest"):
        seen += rows
        await add_contents(f"n{len(seen)}", generated_at=START + timedelta(hours=len(seen)))
        await add_contents(f"o{len(seen)}", generated_at=rows[-1].generated_at)
    assert len({row.id for row in seen}) == len(seen)
    assert {row.id for row in contents} <= {row.id for row in seen}


async def test_filters_apply_to_every_page(contents: list[Content]):
    until = START + timedelta(hours=3)
    filters = {"generated_since": START + timedelta(hours=1), "generated_until": until}
    found = [
        row async for rows in pages(content.page, 2, order="newest", **filters) for row in rows
    ]
    assert {row.id for row in found} == {f"c{n:02}" for n in range(23) if n % 5 in {1, 2}}
    assert await content.count(**filters) == len(found) == 10


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1, 2**70, True, False, 1.0, "5", None])
async def test_limits_out_of_range_are_rejected(db: DatabaseEngine, limit: Any):
    for call in (content.page, content.list, sessions.page):
        with pytest.raises(InvalidValue) as caught:
            await call(limit=limit)
        assert caught.value.fields == ("limit",)


async def test_the_default_limit_is_100(db: DatabaseEngine):
    await sessions.add_many([ListeningSessionCreate() for _ in range(101)])
    page = await sessions.page()
    assert (len(page.rows), page.total) == (100, None)
    assert len((await sessions.page(after=page.next)).rows) == 1


def forged(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode()


TAG = "-generated_at,id"
FORGED: dict[str, Any] = {
    "empty": "",
    "no base64": "%%%",
    "not ASCII": "é",
    "a lone surrogate": "\ud800",
    "NUL": "\0",
    "no text": 5,
    "base64 of nothing": base64.urlsafe_b64encode(b"\xff\0").decode(),
    "a number": forged(5),
    "of another list": forged("id", ["c1"]),
    "of the other direction": forged("generated_at,id", ["2026-01-01T00:00:00Z", "c1"]),
    "too few": forged(TAG, ["2026-01-01T00:00:00Z"]),
    "too many": forged(TAG, ["2026-01-01T00:00:00Z", "c1", "c2"]),
    "wrong types": forged(TAG, ["c1", "2026-01-01T00:00:00Z"]),
    "null": forged(TAG, [None, "c1"]),
    "a NUL in it": forged(TAG, ["2026-01-01T00:00:00Z", "c\0"]),
    "naive": forged(TAG, ["2026-01-01T00:00:00", "c1"]),
    "before the first moment": forged(TAG, ["0001-01-01T00:00:00+23:00", "c1"]),
    "behind the last moment": forged(TAG, ["9999-12-31T23:59:59-23:00", "c1"]),
    "deep": base64.urlsafe_b64encode(b"[" * 100_000).decode(),
}


@pytest.mark.parametrize("cursor", list(FORGED.values()), ids=list(FORGED))
async def test_forged_cursors_are_rejected(contents: list[Content], cursor: Any):
    with pytest.raises(InvalidValue) as caught:
        await content.page(order="newest", after=cursor)
    assert (caught.value.fields, caught.value.table) == (("after",), "content")
    assert len(str(caught.value)) < 100
    assert caught.value.__cause__ is None


async def test_pages_continue_after_infinite_times(contents: list[Content]):
    times = "CASE id WHEN 'c00' THEN '-infinity' ELSE 'infinity' END::timestamptz"
    await content.engine.execute(f"UPDATE content SET generated_at = {times} WHERE id < 'c03'")
    found = [row.id async for rows in pages(content.page, 1, order="newest") for row in rows]
    assert (found[:2], found[-1], len(found)) == (["c02", "c01"], "c00", 23)


async def test_a_truncated_cursor_is_rejected(contents: list[Content]):
    cursor = (await content.page(order="newest", limit=3)).next
    assert cursor
    for length in range(len(cursor.rstrip("="))):
        with pytest.raises(InvalidValue):
            await content.page(order="newest", after=cursor[:length])


async def test_a_cursor_of_another_order_is_rejected(contents: list[Content]):
    by_id, by_time = (
        (await content.page(limit=3)).next,
        (await content.page(order="newest", limit=3)).next,
    )
    for call in (content.page(order="newest", after=by_id), content.page(after=by_time)):
        with pytest.raises(InvalidValue):
            await call


async def test_a_cursor_of_a_deleted_row_is_valid(db: DatabaseEngine):
    await sessions.add_many([ListeningSessionCreate(id=one) for one in "abcd"])
    cursor = (await sessions.page(limit=2)).next
    assert await sessions.delete("b")
    assert [row.id for row in (await sessions.page(after=cursor)).rows] == ["c", "d"]


async def test_totals_count_all_pages(contents: list[Content]):
    page = await content.page(order="newest", limit=5, total="exact")
    assert page.total == 23
    assert (await content.page(order="newest", limit=5, after=page.next, total="exact")).total == 23
    assert (await content.page(order="newest", genre="none", total="exact")).total == 0
    assert (await content.page(order="newest", genre="a\0", total="exact")).total == 0


async def test_an_estimated_total_is_the_planners_estimate(db: DatabaseEngine):
    await sessions.add_many([ListeningSessionCreate() for _ in range(400)])
    await db.execute("ANALYZE sessions")
    assert (await sessions.page(total="estimated")).total == 400
    recent = await sessions.page(total="estimated", active_since=START)
    assert recent.total is not None
    assert 300 < recent.total <= 400


async def test_unknown_totals_are_rejected(db: DatabaseEngine):
    wrong: Any
    for wrong in ("guessed", "", True, 0):
        with pytest.raises(InvalidValue) as caught:
            await content.page(total=wrong)
        assert caught.value.fields == ("total",)


@pytest.mark.parametrize("count", [0, 1, MAX_LIMIT, MAX_LIMIT + 1, 2 * MAX_LIMIT + 5])
async def test_a_stream_yields_the_rows_of_all_pages(db: DatabaseEngine, count: int):
    await sessions.add_many([ListeningSessionCreate() for _ in range(count)])
    streamed = [row.id async for row in sessions.stream()]
    paged = [row.id async for rows in pages(sessions.page, 700) for row in rows]  # type: ignore[arg-type]  # rows of another type
    assert len(set(streamed)) == count
    assert streamed == paged


async def test_a_stream_holds_no_connection_while_the_caller_works(clone: DatabaseEngine):
    await sessions.add_many([ListeningSessionCreate() for _ in range(3)])
    assert clone.pool is not None
    async for row in sessions.stream():
        assert not clone.pool.in_use
        assert await sessions.delete(row.id)
    assert await sessions.count() == 0


WRONG_FILTERS: list[tuple[str, Any]] = [
    ("formt", "podcast"),
    ("title", "t"),
    ("format", "podcasts"),
    ("format", None),
    ("genre", None),
    ("genre", 5),
    ("generated_since", START.replace(tzinfo=None)),
    ("generated_until", "soon"),
    ("min_quality", "good"),
    ("min_quality", float("nan")),
    ("min_quality", Decimal("Infinity")),
    *(("min_quality", Decimal(number)) for number in ("-0.01", "1.01", "1E+1000000", "1E-99999")),
]


@pytest.mark.parametrize(("name", "value"), WRONG_FILTERS)
async def test_wrong_filters_are_rejected(db: DatabaseEngine, name: str, value: Any):
    for call in (content.count, content.page, content.list, content.exists):
        with pytest.raises(InvalidValue) as caught:
            await call(**{name: value})
        assert (caught.value.fields, caught.value.table) == ((name,), "content")
    with pytest.raises(InvalidValue):
        async for _ in content.stream(**{name: value}):
            pass


@pytest.mark.parametrize("text", ["\0", "mystery\0", "\ud800", "", "x" * 100_000])
async def test_text_that_no_row_can_have_matches_nothing(contents: list[Content], text: str):
    assert await content.count(genre=text) == 0
    page = await content.page(order="newest", genre=text, session_id="s1", total="exact")
    assert (page.rows, page.next, page.total) == ([], None, 0)
    assert [row async for row in content.stream(session_id=text)] == []
    assert await content.list_for_session(text) == []


async def test_min_quality_excludes_content_without_a_score(db: DatabaseEngine):
    for name, score in (("a", None), ("b", 0.5), ("c", Decimal("0.49")), ("d", 1)):
        await add_contents(name, quality_score=score)
    assert [row.id for row in (await content.page(min_quality=Decimal("0.5"))).rows] == ["b", "d"]
    assert await content.count(min_quality=Decimal("0.50000000000000000000000001")) == 1


async def test_statements_are_few_and_cached(contents: list[Content]):
    queries, filters = content.statements, content.filters
    newest = content.orders["newest"]
    cached = queries.page(filters, ["format"], newest, 11, after=False)
    assert queries.page(filters, ["format"], newest, 11, after=False) is cached
    assert ContentRepository().statements.insert(ContentCreate) is queries.insert(ContentCreate)
    before = len(queries._statements)
    for limit in range(1, MAX_LIMIT + 1, 3):
        await content.page(limit=limit, language="it", genre="mystery")
    for limit in range(1, MAX_LIMIT + 1, 3):
        await content.page(limit=limit, genre="mystery", language="it")
    assert len(queries._statements) <= before + len(LIMITS)


def test_rounded_limits_are_never_too_small():
    steps = {rounded_limit(limit) for limit in range(1, MAX_LIMIT + 1)}
    assert steps == set(LIMITS)
    assert all(rounded_limit(limit) >= limit for limit in range(1, MAX_LIMIT + 1))


@pytest.mark.parametrize(
    "order", ["", "latest", "generated_at", "Newest", 5, True, ["key"], b"key"]
)
async def test_unknown_orders_are_rejected(db: DatabaseEngine, order: Any):
    for call in (content.list, content.page):
        with pytest.raises(InvalidValue) as caught:
            await call(order=order)
        assert caught.value.fields == ("order",)
        assert str(caught.value).endswith("must be one of key, newest, oldest")
    with pytest.raises(InvalidValue):
        await anext(content.stream(order=order), None)


async def test_list_and_stream_have_the_order_of_pages(contents: list[Content]):
    for order in content.orders:
        paged = [row async for rows in pages(content.page, 7, order=order) for row in rows]
        assert [row async for row in content.stream(order=order)] == paged
        assert await content.list(order=order, limit=9) == paged[:9]
    assert await content.list() == await content.list(order="key")


async def test_list_is_limited_and_filtered(contents: list[Content]):
    until = START + timedelta(hours=1)
    found = await content.list(generated_until=until, order="oldest", limit=3)
    assert [row.id for row in found] == ["c00", "c05", "c10"]
    assert len(await content.list(generated_until=until)) == 5


async def test_exists_takes_a_key_or_filters(contents: list[Content]):
    assert await content.exists("c00")
    assert await content.exists(genre="mystery", generated_since=START)
    assert not await content.exists(genre="mystery", generated_since=START + timedelta(days=9))
    assert not await content.exists(genre="\0")
    assert not await content.exists(None)  # type: ignore[call-overload]  # a malformed key
    wrong: dict[str, Any]
    for wrong in ({}, {"key": "c00", "genre": "mystery"}, {"formt": "podcast"}, {"genre": None}):
        with pytest.raises(InvalidValue):
            await content.exists(**wrong)


async def test_statements_have_the_name_of_table_and_operation(contents: list[Content]):
    content.statements._statements.clear()
    await content.get("c00")
    await content.page(total="exact", order="newest")
    await content.page(total="estimated")
    await content.list_for_session("s1")
    await content.exists(genre="mystery")
    await content.update_where(ContentUpdate(genre=None), genre="none")
    await content.upsert(new_content("c00"))
    names = {statement.name for statement in content.statements._statements.values()}
    operations = "get page count estimate list_for_session exists update_where upsert"
    assert names == {f"content.{operation}" for operation in operations.split()}


async def test_the_engine_receives_the_names(
    contents: list[Content], monkeypatch: pytest.MonkeyPatch
):
    received: list[Any] = []
    fetch = type(content.engine).fetch

    async def noted(self: DatabaseEngine, sql: str, *args: Any, **options: Any) -> list[Any]:
        received.append(options["name"])
        return await fetch(self, sql, *args, **options)

    monkeypatch.setattr(type(content.engine), "fetch", noted)
    await content.list(limit=1)
    await content.list_series("s1", "a")
    assert received == ["content.list", "content.list_series"]
