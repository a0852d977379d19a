"""What schema objects enforce, and the SQL that they generate."""

from collections.abc import Callable

import asyncpg
import pytest
from piccolo.columns import Integer, Text, Varchar
from piccolo.table import Table

from learner_app.conf import DB
from learner_app.errors import Conflict, SchemaError
from learner_app.schema.constraints import constraint_columns
from learner_app.schema.objects import (
    Check,
    Deferrable,
    Exclude,
    Index,
    IndexKey,
    Unique,
)
from learner_app.schema.tables import SchemaTable
from tests.schema.changing import App, article


class Booking(SchemaTable, Table, tablename="booking"):
    id = Integer(primary_key=True, default=None)
    room = Integer(default=None)
    starts = Integer(default=None)
    ends = Integer(default=None)
    place = Integer(default=None)
    no_overlap = Exclude(
        [("int4range(room, room, '[]')", "&&"), ("int4range(starts, ends)", "&&")],
        where="starts < ends",
    )
    place_key = Unique([place], deferrable=Deferrable.DEFERRED, include=[room])


async def test_overlaps_are_a_conflict(make_app: Callable[[], App]):
    await make_app().migrate([Booking])
    insert = "INSERT INTO booking VALUES ($1, $2, $3, $4, $1)"
    await DB.execute(insert, 1, 7, 10, 12)
    await DB.execute(insert, 2, 7, 12, 14)
    await DB.execute(insert, 3, 8, 10, 12)
    with pytest.raises(Conflict) as refused:
        await DB.execute(insert, 4, 7, 11, 13)
    assert refused.value.constraint == "no_overlap"
    assert refused.value.fields == constraint_columns("booking", "no_overlap")
    assert set(refused.value.fields) == {"room", "starts", "ends"}
    assert constraint_columns("booking", "place_key") == ("place",)


async def test_deferred_uniqueness_is_checked_at_commit(make_app: Callable[[], App]):
    await make_app().migrate([Booking])
    await DB.execute("INSERT INTO booking VALUES (1, 1, 1, 2, 1), (2, 2, 1, 2, 2)")
    connection = await DB.get_new_connection()
    async with connection.transaction():
        await connection.execute("UPDATE booking SET place = 3 - place")
        await connection.execute("UPDATE booking SET place = 2")
        await connection.execute("UPDATE booking SET place = id")
    with pytest.raises(asyncpg.UniqueViolationError):
        async with connection.transaction():
            await connection.execute("UPDATE booking SET place = 2")
            assert await connection.fetchval("SELECT count(*) FROM booking WHERE place = 2") == 2
    await connection.close()


async def test_included_columns_serve_index_only_scans(make_app: Callable[[], App]):
    await make_app().migrate(article(idx_a=Index("status", include=["score"])))
    async with DB.transaction():
        await DB.execute("SET LOCAL enable_seqscan = off")
        await DB.execute("SET LOCAL enable_bitmapscan = off")
        plan = await DB.fetch("EXPLAIN SELECT score FROM article WHERE status = 'a'")
    assert "Index Only Scan using idx_a" in str(plan)


@pytest.mark.parametrize(
    ("key", "sql"),
    [
        (IndexKey("lower(a)"), "(lower(a))"),
        (IndexKey("a", "text_pattern_ops"), "(a) text_pattern_ops"),
        (
            IndexKey("a", collation='my "C"', descending=True, nulls="first"),
            '(a) COLLATE "my ""C""" DESC NULLS FIRST',
        ),
        (IndexKey("a", nulls="last"), "(a) NULLS LAST"),
    ],
)
def test_keys_as_sql(key: IndexKey, sql: str):
    assert key.sql == sql


def test_columns_are_quoted_by_their_names_in_the_database():
    class Word(SchemaTable, Table, tablename="word"):
        title = Varchar(9, db_column_name="Title")
        body = Text()
        idx_a = Index([IndexKey(title, "text_pattern_ops"), body], include=[title])
        no_two = Exclude([(IndexKey(title), "=")], method="btree")

    found = {constraint.database_name: constraint.params for constraint in Word._meta.constraints}
    assert found["idx_a"]["on"] == ['"Title" text_pattern_ops', '"body"']
    assert found["idx_a"]["include"] == ["Title"]
    assert found["no_two"]["elements"] == [['"Title"', "="]]


def test_names_are_still_limited():
    with pytest.raises(SchemaError, match="63 bytes"):
        article(**{"c" * 64: Check("true")})
