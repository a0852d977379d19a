"""Repositories on tables of the tests' own."""

import pytest

from learner_app.database.engine import DatabaseEngine
from tests.repository.shelves import BookRepository, SlotRepository, create_tables


@pytest.fixture
async def books(clone: DatabaseEngine) -> BookRepository:
    await create_tables(clone)
    return BookRepository(clone)


@pytest.fixture
def slots(books: BookRepository) -> SlotRepository:
    return SlotRepository(books.engine)
