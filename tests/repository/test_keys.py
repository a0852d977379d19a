"""Conversion of the keys that callers pass, by the function of a ``TableKey``."""

from typing import Any

import pytest
from piccolo.columns import Integer
from piccolo.table import Table

from learner_app.errors import NotFound
from learner_app.repository.base import DeletingRepository
from learner_app.repository.keys import TableKey
from tests.repository.shelves import (
    Book,
    BookCreate,
    BookRepository,
    BookTable,
    BookUpdate,
    SlotTable,
)


def in_lower_case(key: Any) -> Any:
    return key.lower() if isinstance(key, str) else key


class CaseInsensitiveBookRepository(DeletingRepository[Book, str, BookCreate, BookUpdate]):
    table = BookTable
    row = Book
    filters = BookRepository.filters
    key = TableKey(BookTable, in_lower_case)


async def test_every_operation_by_key_normalises_the_key(books: BookRepository):
    repository = CaseInsensitiveBookRepository(books.engine)
    book = await repository.add(BookCreate(id="b1", shelf="a"))
    assert await repository.get("B1") == book
    assert await repository.get_many(["x", "B1"]) == [book]
    assert await repository.exists("B1")
    assert (await repository.update("B1", BookUpdate(title="Il faro"))).title == "Il faro"
    assert await repository.delete("B1")
    with pytest.raises(NotFound):
        await repository.get("b1")


async def test_keys_are_compared_as_passed_without_a_function(books: BookRepository):
    await books.add(BookCreate(id="b1", shelf="a"))
    assert await books.find("B1") is None


def test_a_key_that_is_malformed_after_normalisation_has_no_params():
    key = TableKey(BookTable, in_lower_case)
    assert key.params("B1") == ("b1",)
    assert key.params(1) is None
    assert key.params("") is None


def test_a_composite_key_is_normalised_as_a_whole():
    room = "0192f0c1-0000-7000-8000-000000000001"
    swapped = TableKey(SlotTable, lambda key: key[::-1])
    assert swapped.params(("north", room)) == TableKey(SlotTable).params((room, "north"))


def test_a_key_column_that_is_neither_text_nor_uuid_is_rejected():
    class PlaceTable(Table, tablename="test_places"):
        number = Integer(primary_key=True)

    with pytest.raises(TypeError, match=r"test_places\.number: .* not as INTEGER"):
        TableKey(PlaceTable)
