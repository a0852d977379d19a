"""update_where and delete_where: filters, batches, locks and concurrent writers."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from learner_app.content.repositories import ContentRepository
from learner_app.errors import InvalidValue, StillReferenced
from learner_app.repository.batches import MAX_BATCH
from tests.repository.shelves import (
    BookCreate,
    BookRepository,
    BookUpdate,
    SlotCreate,
    SlotRepository,
    SlotUpdate,
)

COUNT = 25


@pytest.fixture
async def filled(books: BookRepository) -> BookRepository:
    """25 books on two shelves, added in random order."""
    new = [BookCreate(id=f"b{n:02}", shelf="ab"[n % 2], place=n) for n in range(COUNT)]
    random.Random(1).shuffle(new)
    await books.add_many(new)
    return books


@pytest.mark.parametrize("batch", [1, 4, 12, 13, 1000])
async def test_update_where_changes_every_matching_row_once(filled: BookRepository, batch: int):
    assert await filled.update_where(BookUpdate(note=None), shelf="a", batch=batch) == 13
    assert {row.version for row in await filled.list(shelf="a")} == {2}
    assert {row.version for row in await filled.list(shelf="b")} == {1}


@pytest.mark.parametrize("batch", [1, 4, 12, 13, 1000])
async def test_delete_where_deletes_every_matching_row(filled: BookRepository, batch: int):
    assert await filled.delete_where(shelf="a", batch=batch) == 13
    assert await filled.count(shelf="a") == 0
    assert await filled.count(shelf="b") == 12


async def test_a_change_of_the_filtered_field_ends(filled: BookRepository):
    assert await filled.update_where(BookUpdate(shelf="c"), shelf="a", batch=2) == 13
    assert await filled.update_where(BookUpdate(place=None), min_place=20, batch=2) == 5


async def test_filters_are_combined(filled: BookRepository):
    changes = BookUpdate(title=None, note=None)
    assert await filled.update_where(changes, shelf="a", min_place=10, batch=3) == 8
    assert await filled.delete_where(shelf="b", min_place=20) == 2


async def test_composite_keys(slots: SlotRepository):
    rooms = [UUID(int=n) for n in (3, 1, 2)]
    await slots.add_many([SlotCreate(room=r, name=f"n{n}") for r in rooms for n in range(7)])
    assert await slots.update_where(SlotUpdate(content="x"), all_rows=True, batch=4) == 21
    assert await slots.delete_where(room=rooms[0], batch=3) == 7
    assert await slots.delete_where(content="x", batch=5) == 14


@pytest.mark.parametrize("operation", ["update_where", "delete_where"])
async def test_without_a_filter_all_rows_must_be_requested(filled: BookRepository, operation: str):
    changes = [BookUpdate(note=None)] if operation == "update_where" else []
    call: Callable[..., Awaitable[int]] = getattr(filled, operation)
    for options in ({}, {"all_rows": False}, {"all_rows": True, "shelf": "a"}):
        with pytest.raises(InvalidValue) as caught:
            await call(*changes, **options)
        assert caught.value.fields == ("all_rows",)
        assert operation in str(caught.value)
    assert {row.version for row in await filled.list()} == {1}
    assert await call(*changes, all_rows=True, batch=7) == COUNT


WRONG: list[dict[str, Any]] = [
    *({"shelf": "a", "batch": batch} for batch in (0, -1, MAX_BATCH + 1, True, "5", None)),
    *({"shelf": None}, {"shelf": 5}, {"nothing": "a"}, {"limit": 5, "shelf": "a"}),
    *({"all_rows": 1}, {"all_rows": "yes"}, {"all_rows": None}),
]


@pytest.mark.parametrize("options", WRONG, ids=str)
async def test_wrong_arguments_are_rejected(filled: BookRepository, options: dict[str, Any]):
    for call in (filled.delete_where(**options), filled.update_where(BookUpdate(), **options)):
        with pytest.raises(InvalidValue):
            await call
    assert await filled.count() == COUNT


async def test_changes_are_the_update_input(filled: BookRepository):
    wrong: Any
    for wrong in ({"note": None}, None, BookCreate(shelf="a")):
        with pytest.raises(InvalidValue) as caught:
            await filled.update_where(wrong, shelf="a")
        assert caught.value.fields == ("changes",)


async def test_without_a_change_nothing_is_written(filled: BookRepository):
    assert await filled.update_where(BookUpdate(), shelf="a") == 0
    assert await filled.delete_where(shelf="\0") == 0
    assert await filled.update_where(BookUpdate(note=None), shelf="\0") == 0
    assert {row.version for row in await filled.list()} == {1}


async def test_bulk_operations_belong_to_the_callers_transaction(filled: BookRepository):
    with pytest.raises(ZeroDivisionError):
        async with filled.engine.transaction():
            assert await filled.update_where(BookUpdate(note=None), all_rows=True, batch=10) == 25
            assert await filled.delete_where(shelf="a", batch=5) == 13
            _ = 1 / 0
    assert await filled.count() == COUNT
    assert {row.version for row in await filled.list()} == {1}


async def test_every_batch_is_a_transaction_of_its_own(filled: BookRepository):
    """An error keeps the batches before it, and the same call continues."""
    await filled.engine.execute("CREATE TABLE test_refs (id varchar REFERENCES test_books)")
    await filled.engine.execute("INSERT INTO test_refs VALUES ('b14')")
    with pytest.raises(StillReferenced):
        await filled.delete_where(shelf="a", batch=3)
    left = [row.id for row in await filled.list(shelf="a", order="key")]
    assert left == ["b12", "b14", "b16", "b18", "b20", "b22", "b24"], "two batches are deleted"
    await filled.engine.execute("DELETE FROM test_refs")
    assert await filled.delete_where(shelf="a", batch=3) == len(left)


async def test_a_row_that_stops_matching_while_it_is_locked_is_left_out(filled: BookRepository):
    changed = asyncio.Event()

    async def move() -> None:
        async with filled.engine.transaction():
            await filled.update("b04", BookUpdate(shelf="c"))
            await filled.update("b06", BookUpdate(note="kept"))
            changed.set()
            await asyncio.sleep(0.3)

    async def change() -> int:
        await changed.wait()
        return await filled.update_where(BookUpdate(title=None), shelf="a", batch=5)

    _, count = await asyncio.gather(move(), change())
    assert count == 12
    moved, waited_for = await filled.get("b04"), await filled.get("b06")
    assert (moved.shelf, moved.version) == ("c", 2)
    assert (waited_for.note, waited_for.version) == ("kept", 3)


async def test_concurrent_bulk_operations_neither_deadlock_nor_lose_updates(
    filled: BookRepository,
):
    def update(number: int) -> Awaitable[int]:
        shelf = {} if number % 3 else {"shelf": "a"}
        return filled.update_where(
            BookUpdate(note=None), **shelf or {"min_place": 0}, batch=1 + number
        )

    counts = await asyncio.gather(*(update(number) for number in range(12)))
    assert counts == [13 if number % 3 == 0 else COUNT for number in range(12)]
    versions = {row.id: row.version for row in await filled.list()}
    assert versions == {f"b{n:02}": 13 if n % 2 == 0 else 9 for n in range(COUNT)}


async def test_concurrent_deletes_count_every_row_once(filled: BookRepository):
    counts = await asyncio.gather(*(filled.delete_where(all_rows=True, batch=3) for _ in range(8)))
    assert sum(counts) == COUNT
    assert await filled.count() == 0


def test_content_is_not_deleted_by_filters():
    assert not hasattr(ContentRepository(), "delete_where")
