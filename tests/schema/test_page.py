"""The tables of docs/schema.md can be migrated and do what the page says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from piccolo.table import Table

from learner_app.conf import DB
from learner_app.errors import Conflict, MissingReference
from tests.schema.changing import App
from tests.snippets import run, snippets


async def test_tables_of_the_page(make_app: Callable[[], App], checkout: Path):
    names: dict[str, Any] = {"__name__": __name__}
    found = snippets(checkout / "docs/schema.md")
    assert len(found) == 5
    for code in found:
        await run(code, names)
    classes = [value for name, value in names.items() if name.endswith("Table")]
    tables = [each for each in classes if each is not Table and issubclass(each, Table)]
    assert len(tables) == 6
    schema = await make_app().migrate(tables)
    assert schema["articles"]["comments"] == {"id": "Key."}
    assert schema["documents"]["generated"] == {"words": b"s"}

    await DB.execute("INSERT INTO rooms VALUES ('north', 1)")
    await DB.execute("INSERT INTO doors VALUES ('d1', 'north', 1, 'd2'), ('d2', 'north', 1, NULL)")
    with pytest.raises(MissingReference):
        await DB.execute("INSERT INTO doors VALUES ('d3', 'north', 2)")
    book = "INSERT INTO bookings VALUES ($1, $2, '2026-01-01', '2026-01-03', $3)"
    await DB.execute(book, "a", 1, 1)
    await DB.execute(book, "b", 2, 2)
    with pytest.raises(Conflict):
        await DB.execute(book, "c", 2, 3)
    await DB.execute("INSERT INTO documents (id, title) VALUES ('1', 'two words')")
    assert await DB.fetchval("SELECT words FROM documents") == 2
    await names["create_extensions"](DB)
