"""A changed element type of an array reaches the database, and the rows stay."""

import asyncio
from collections.abc import Callable
from enum import Enum

import pytest
from piccolo.apps.migrations.commands.forwards import run_forwards
from piccolo.columns import (
    JSONB,
    UUID,
    Array,
    BigInt,
    Boolean,
    Bytea,
    Date,
    DoublePrecision,
    Integer,
    Interval,
    Numeric,
    Text,
    Time,
    Timestamptz,
    Varchar,
)

from learner_app.conf import DB
from learner_app.errors import MigrationError
from learner_app.schema.columns import Now
from tests.schema.changing import App, Tables, article

ELEMENTS = [
    BigInt(),
    Boolean(),
    Bytea(),
    Date(),
    DoublePrecision(),
    Interval(),
    JSONB(),
    Numeric((5, 2)),
    Text(),
    Time(),
    Timestamptz(default=Now()),
    UUID(),
    Varchar(5, default=None, choices=Enum("Size", {"SMALL": "s"})),
    Array(Array(Varchar(5))),
]

TYPE = """
SELECT format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = 'article'::regclass AND attname = 'tags'
"""


def tagged(column: Array) -> Tables:
    return article(tags=column, tenant_id=Varchar(36, default="t"))


async def rows() -> list:
    return [row[0] for row in await DB.fetch("SELECT tags FROM article ORDER BY id")]


@pytest.mark.parametrize(
    ("before", "after", "kept", "type_", "converted"),
    [
        (Integer(), BigInt(), [1, 2], "bigint[]", [1, 2]),
        (Varchar(10), Varchar(20), ["a", "it's"], "character varying(20)[]", ["a", "it's"]),
        (Text(), Integer(), ["1", "20"], "integer[]", [1, 20]),
        (Text(), Varchar(20), ["a"], "character varying(20)[]", ["a"]),
        (Array(Integer()), Array(Text()), [[1], [2]], "text[]", [["1"], ["2"]]),
    ],
    ids=["wider", "longer", "numbers", "bounded", "nested"],
)
async def test_rows_are_converted_there_and_back(
    make_app: Callable[[], App],
    before: object,
    after: object,
    kept: list,
    type_: str,
    converted: list,
):
    app = make_app()
    await app.migrate(tagged(Array(before)))
    await DB.execute("INSERT INTO article (id, status, tags) VALUES ('1', 's', $1)", kept)
    await app.migrate(tagged(Array(after)))
    assert (await DB.fetchval(TYPE), await rows()) == (type_, [converted])
    await app.back()
    assert await rows() == [kept]


@pytest.mark.parametrize("any_server", ["embedded"], indirect=True)
async def test_texts_that_are_too_long_stop_the_migration(make_app: Callable[[], App]):
    app = make_app()
    await app.migrate(tagged(Array(Text())))
    await DB.execute("INSERT INTO article (id, status, tags) VALUES ('1', 's', '{secret word}')")
    await app.write(tagged(Array(Varchar(5))))
    with pytest.raises(
        MigrationError, match=r"value too long .* statement: ALTER TABLE"
    ) as refused:
        await run_forwards(app.name)
    assert "secret" not in str(refused.value)
    assert (await DB.fetchval(TYPE), await rows()) == ("text[]", [["secret word"]])


@pytest.mark.parametrize("any_server", ["embedded"], indirect=True)
async def test_a_number_is_not_cut_when_it_becomes_a_short_text(make_app: Callable[[], App]):
    app = make_app()
    await app.migrate(article(tags=Integer(default=None), tenant_id=Varchar(36, default="t")))
    await DB.execute("INSERT INTO article (id, status, tags) VALUES ('1', 's', 123456)")
    await app.write(article(tags=Varchar(3, default=None), tenant_id=Varchar(36, default="t")))
    with pytest.raises(MigrationError, match="value too long"):
        await run_forwards(app.name)
    assert await rows() == [123456]


@pytest.mark.slow
@pytest.mark.parametrize("any_server", ["embedded"], indirect=True)
async def test_a_locked_table_does_not_make_the_change_disappear(
    make_app: Callable[[], App], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("learner_app.schema.migration_runner.LOCK_TIMEOUT_SECONDS", 1)
    app = make_app()
    await app.migrate(tagged(Array(Integer())))
    await app.write(tagged(Array(BigInt())))
    reader = await DB.get_new_connection()
    block = reader.transaction()
    await block.start()
    await reader.fetch("SELECT * FROM article")
    migrating = asyncio.create_task(run_forwards(app.name))
    await asyncio.sleep(1.5)
    await block.rollback()
    await reader.close()
    assert (await migrating).success
    assert await DB.fetchval(TYPE) == "bigint[]"


@pytest.mark.parametrize("any_server", ["embedded"], indirect=True)
async def test_a_dropped_column_comes_back_as_it_was_altered(make_app: Callable[[], App]):
    app = make_app()
    await app.migrate(article(note=Varchar(10, default="a"), tags=Array(Integer())))
    altered = await app.migrate(
        article(note=Varchar(30, default="b", help_text="Any."), tags=Array(BigInt(), index=True))
    )
    await app.migrate(article())
    assert await app.back() == altered


@pytest.mark.parametrize("any_server", ["embedded"], indirect=True)
async def test_unchanged_elements_are_no_change(make_app: Callable[[], App]):
    columns = {f"tags_{at}": Array(element) for at, element in enumerate(ELEMENTS)}
    new = await make_app().migrate(article(**columns))
    assert len(new["article"]["columns"]) == len(ELEMENTS) + 4
