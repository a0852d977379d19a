"""Upserts on every kind of declared unique constraint, alone and concurrent."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from learner_app.content.repositories import ContentRepository
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import Conflict, InvalidValue, MissingReference
from learner_app.listening.repositories import LikeRepository
from learner_app.listening.rows import LikeCreate
from tests.content.factories import add_contents, new_content
from tests.repository.shelves import BookCreate, BookRepository, SlotCreate, SlotKey, SlotRepository

content = ContentRepository()
CALLS = 100


async def test_upsert_inserts_and_then_updates_the_passed_fields_only(db: DatabaseEngine):
    added, created = await content.upsert(new_content(topic="sea", metadata={"a": 1}))
    assert created
    assert await content.get("c1") == added
    changed, created = await content.upsert(new_content(title="La torre", metadata={"b": 2}))
    assert not created
    assert (changed.title, changed.topic, changed.metadata) == ("La torre", "sea", {"b": 2})
    assert changed.updated_at > added.updated_at
    assert changed.created_at == added.created_at
    cleared, _ = await content.upsert(new_content(topic=None))
    assert cleared.topic is None


async def test_upsert_keeps_fields_that_update_cannot_change(db: DatabaseEngine):
    await content.upsert(new_content(session_id="s1", series_id="a"))
    row, created = await content.upsert(new_content(session_id="s2", series_id="b", title="t"))
    assert (created, row.session_id, row.series_id, row.title) == (False, "s1", "a", "t")


async def test_100_concurrent_upserts_insert_one_row(clone: DatabaseEngine):
    calls = (content.upsert(new_content(title=f"t{n}")) for n in range(CALLS))
    results = await asyncio.gather(*calls)
    assert [result.created for result in results].count(True) == 1
    assert await content.count() == 1
    assert (await content.get("c1")).title in {f"t{n}" for n in range(CALLS)}


async def test_100_concurrent_upserts_on_two_fields_insert_one_row(books: BookRepository):
    calls = (
        books.upsert(BookCreate(shelf="a", title="Il faro", note=f"n{n}"), on=("title", "shelf"))
        for n in range(CALLS)
    )
    results = await asyncio.gather(*calls)
    assert [result.created for result in results].count(True) == 1
    assert len({result.row.id for result in results}) == 1
    (row,) = await books.list()
    assert row.version == CALLS, "every call but the first one updated the row"


async def test_100_concurrent_upserts_without_a_field_to_change_insert_one_row(
    slots: SlotRepository,
):
    new = SlotCreate(room=UUID(int=1), name="n")
    results = await asyncio.gather(*(slots.upsert(new) for _ in range(CALLS)))
    assert [result.created for result in results].count(True) == 1
    assert {result.row for result in results} == {await slots.get(SlotKey(UUID(int=1), "n"))}


async def test_100_concurrent_calls_of_get_or_create_row_insert_one_row(books: BookRepository):
    calls = (books.get_or_create_row(BookCreate(shelf="b", code="c"), "code") for _ in range(CALLS))
    results = await asyncio.gather(*calls)
    assert [result.created for result in results].count(True) == 1
    assert {result.row.id for result in results} == {row.id for row in await books.list()}


ONE_FIELD_EACH: dict[str, Any] = {
    "key": (None, {"id": "b1"}),
    "key by name": ("id", {"id": "b1"}),
    "unique column": (["code"], {"code": "x"}),
    "unique constraint": (("shelf", "title"), {"title": "Il faro"}),
    "fields in another order": (("title", "shelf"), {"title": "Il faro"}),
    "partial index": (("shelf", "place"), {"place": 1}),
}


@pytest.mark.parametrize(("on", "fields"), ONE_FIELD_EACH.values(), ids=list(ONE_FIELD_EACH))
async def test_every_declared_unique_constraint_is_a_target(
    books: BookRepository, on: Any, fields: dict[str, Any]
):
    first, created = await books.upsert(BookCreate(shelf="a", note="one", **fields), on=on)
    assert (created, first.version) == (True, 1)
    second, created = await books.upsert(BookCreate(shelf="a", note="two", **fields), on=on)
    assert not created
    assert (second.id, second.note, second.version) == (first.id, "two", 2)
    found = await books.get_or_create_row(BookCreate(shelf="a", **fields), on)
    assert found == (second, False)
    assert await books.count() == 1


async def test_nulls_of_a_target_do_not_conflict(books: BookRepository):
    for on in ("code", ("shelf", "title"), ("shelf", "place")):
        for _ in range(2):
            assert (await books.upsert(BookCreate(shelf="a"), on=on)).created
    assert await books.count() == 6


async def test_a_composite_key_is_a_target(slots: SlotRepository):
    room = UUID(int=1)
    calls = (slots.upsert(SlotCreate(room=room, name="n", content=f"c{n}")) for n in range(20))
    results = await asyncio.gather(*calls)
    assert [result.created for result in results].count(True) == 1
    row, created = await slots.upsert(
        SlotCreate(room=room, name="n", content="last"), on=("name", "room")
    )
    assert (created, row.content) == (False, "last")
    assert await slots.get_or_create_row(SlotCreate(room=room, name="n")) == (row, False)


@pytest.mark.parametrize(
    "on", ["shelf", "note", "isbn", ("shelf", "code"), ("code", "code"), "", (), "lower(note)"]
)
async def test_other_targets_are_rejected_with_the_declared_ones(books: BookRepository, on: Any):
    with pytest.raises(InvalidValue) as caught:
        await books.upsert(BookCreate(shelf="a"), on=on)
    assert (caught.value.table, caught.value.fields) == ("test_books", ("on",))
    assert str(caught.value).endswith("declared are (id), (code), (shelf, title), (shelf, place)")
    assert await books.count() == 0


@pytest.mark.parametrize("on", [5, b"id", [None], [["id"]], {"id"}])
async def test_targets_are_names_of_fields(books: BookRepository, on: Any):
    with pytest.raises(InvalidValue) as caught:
        await books.upsert(BookCreate(shelf="a"), on=on)
    assert caught.value.fields == ("on",)


async def test_a_conflict_on_a_second_unique_constraint_is_raised(books: BookRepository):
    await books.add(BookCreate(id="b1", shelf="a", title="Il faro"))
    with pytest.raises(Conflict) as caught:
        await books.upsert(BookCreate(id="b2", shelf="a", title="Il faro", note="n"))
    assert caught.value.fields == ("shelf", "title")
    await books.add(BookCreate(id="b2", shelf="a", title="La torre"))
    with pytest.raises(Conflict):
        await books.upsert(BookCreate(id="b2", shelf="a", title="Il faro"))
    assert [row.version for row in await books.list()] == [1, 1]


async def test_upsert_needs_the_create_input(books: BookRepository):
    wrong: Any
    for wrong in ({"shelf": "a"}, None, SlotCreate(room=UUID(int=1), name="n")):
        with pytest.raises(InvalidValue) as caught:
            await books.upsert(wrong)
        assert caught.value.fields == ("new",)


async def test_upsert_of_a_row_that_refers_to_nothing_is_a_missing_reference(db: DatabaseEngine):
    await add_contents("c1")
    with pytest.raises(MissingReference):
        async with db.transaction():
            await LikeRepository().upsert(LikeCreate(content_id="c1", session_id="s1"))
