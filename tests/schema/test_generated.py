"""Generated columns: made, changed, renamed, dropped, and left out of what Piccolo writes."""

from collections.abc import Callable

import pytest
from piccolo.apps.migrations.commands.forwards import run_forwards
from piccolo.columns import Array, BigInt, Integer, Text, Varchar
from piccolo.table import Table

from learner_app.conf import DB
from learner_app.schema.columns import Generated
from learner_app.schema.objects import (
    Check,
    ForeignKeyConstraint,
    Index,
    Policy,
    RowLevelSecurity,
    Unique,
)
from learner_app.schema.tables import SchemaTable
from tests.schema.changing import App, article, without_order

LOWER = {"slug": Generated(Varchar(30), "lower(status)")}

CHANGES: dict[str, tuple[dict, dict]] = {
    "added": ({}, LOWER),
    "added with what it is made of": (
        {},
        {
            "a_sum": Generated(Integer(), "z_part * 2", null=True, help_text="Twice."),
            "z_part": Integer(default=1),
            "check_a": Check("a_sum >= 0"),
            "idx_a": Index("a_sum"),
        },
    ),
    "expression": (
        {**LOWER, "idx_a": Index("slug"), "key_a": Unique(["slug", "score"])},
        {
            "slug": Generated(Varchar(30), "upper(status)"),
            "idx_a": Index("slug"),
            "key_a": Unique(["slug", "score"]),
        },
    ),
    "expression under a policy": (
        {**LOWER, "rls": RowLevelSecurity(), "own": Policy(using="slug <> ''")},
        {
            "slug": Generated(Text(), "upper(status)"),
            "rls": RowLevelSecurity(),
            "own": Policy(using="slug <> ''"),
        },
    ),
    "expression under a foreign key of the same table": (
        {
            **LOWER,
            "parent": Varchar(30, default=None, null=True),
            "key_slug": Unique(["slug"]),
            "fk_parent": ForeignKeyConstraint(["parent"], "self", ["slug"]),
        },
        {
            "slug": Generated(Varchar(30), "upper(status)"),
            "parent": Varchar(30, default=None, null=True),
            "key_slug": Unique(["slug"]),
            "fk_parent": ForeignKeyConstraint(["parent"], "self", ["slug"]),
        },
    ),
    "expression, index and null": (
        {"slug": Generated(Varchar(30), "lower(status)", index=True)},
        {"slug": Generated(Varchar(30), "upper(status)", null=True, unique=True)},
    ),
    "null alone": (LOWER, {"slug": Generated(Varchar(30), "lower(status)", null=True)}),
    "index alone": (LOWER, {"slug": Generated(Varchar(30), "lower(status)", index=True)}),
    "type": (LOWER, {"slug": Generated(Text(), "lower(status)")}),
    "type of what it is made of": (
        {"twice": Generated(BigInt(), "score * 2", null=True), "idx_a": Index("twice")},
        {
            "score": BigInt(default=None, null=True),
            "twice": Generated(BigInt(), "score * 2", null=True),
            "idx_a": Index("twice"),
        },
    ),
    "array": (
        {"words": Generated(Array(Text()), "ARRAY[status::text]")},
        {"words": Generated(Array(Varchar(30)), "ARRAY[status]")},
    ),
    "dropped with what it is made of": (
        {"a_part": Integer(default=1), "z_sum": Generated(Integer(), "a_part * 2")},
        {},
    ),
    "from ordinary": ({"slug": Varchar(30, default="x")}, LOWER),
    "to ordinary": (LOWER, {"slug": Varchar(40, default="x")}),
    "comment": (LOWER, {"slug": Generated(Varchar(30), "lower(status)", help_text="Lower.")}),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_change_goes_both_ways(change: str, make_app: Callable[[], App]):
    before, after = CHANGES[change]
    app = make_app()
    old = without_order(await app.migrate(article(**before)))
    new = without_order(await app.migrate(article(**after)))
    assert new != old
    assert without_order(await app.back()) == old
    assert (await run_forwards(app.name)).success
    assert without_order(await app.schema()) == new
    assert await app.back("all") == {"functions": {}}
    assert without_order(await make_app().migrate(article(**after))) == new


async def test_values_follow_a_changed_expression(make_app: Callable[[], App]):
    app = make_app()
    await app.migrate(article(tenant_id=Varchar(9, default="t"), **LOWER))
    await DB.execute("INSERT INTO article (id, status) VALUES ('1', 'New')")
    assert await DB.fetchval("SELECT slug FROM article") == "new"
    upper = {"slug": Generated(Varchar(30), "upper(status)")}
    await app.migrate(article(tenant_id=Varchar(9, default="t"), **upper))
    assert await DB.fetchval("SELECT slug FROM article") == "NEW"
    await app.migrate(article(tenant_id=Varchar(9, default="t"), slug=Varchar(30, default="")))
    await DB.execute("UPDATE article SET slug = slug || '!'")
    assert await DB.fetchval("SELECT slug FROM article") == "NEW!"


async def test_renamed_columns_keep_the_value(make_app: Callable[[], App]):
    def tables(source: str, name: str) -> list[type[Table]]:
        members = {
            "id": Varchar(8, primary_key=True, default=None),
            source: Varchar(8, default=None),
            name: Generated(Varchar(9), f"lower({source})"),
            "idx_slug": Index(name),
            "__module__": __name__,
        }
        return [type(Table)("Word", (SchemaTable, Table), members, tablename="word")]

    app = make_app()
    old = await app.migrate(tables("title", "slug"))
    await DB.execute("INSERT INTO word VALUES ('1', 'Uno')")
    await app.migrate(tables("title", "mark"), "y")
    assert await DB.fetchval("SELECT mark FROM word") == "uno"
    await app.migrate(tables("heading", "mark"), "y")
    assert await DB.fetchval("SELECT mark FROM word") == "uno"
    await app.back()
    assert without_order(await app.back()) == without_order(old)


async def test_piccolo_writes_rows_without_it(make_app: Callable[[], App]):
    class Word(SchemaTable, Table, tablename="word"):
        id = Varchar(8, primary_key=True, default=None)
        title = Varchar(8, default=None)
        slug = Generated(Varchar(9), "lower(title)")

    await make_app().migrate([Word])
    word = Word(id="1", title="Uno")
    await word.save()
    await Word.insert(Word(id="2", title="Due"))
    word.title = "Tre"
    await word.save()
    await word.refresh()
    assert word.slug == "tre"
    assert await Word.select(Word.id, Word.slug).where(Word.slug == "due") == [
        {"id": "2", "slug": "due"}
    ]
