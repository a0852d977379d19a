"""Every kind of change to a declared table is noticed by auto migrations and goes both ways."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import pytest
from piccolo.apps.migrations.commands.forwards import run_forwards
from piccolo.apps.migrations.commands.new import _create_new_migration
from piccolo.columns import (
    JSONB,
    UUID,
    Array,
    BigInt,
    Boolean,
    ForeignKey,
    Integer,
    Numeric,
    Serial,
    Text,
    Varchar,
)
from piccolo.columns.base import OnDelete, OnUpdate
from piccolo.constraints import Unique as PiccoloUnique
from piccolo.table import Table

from learner_app.conf import DB
from learner_app.errors import SchemaError
from learner_app.schema.columns import Reference
from learner_app.schema.objects import (
    Check,
    Deferrable,
    Exclude,
    ForeignKeyConstraint,
    Index,
    IndexKey,
    OneOf,
    Policy,
    PrimaryKey,
    RowLevelSecurity,
    Uncompressed,
    Unique,
    UpdatedAtTrigger,
)
from learner_app.schema.tables import SchemaTable
from tests.schema.changing import App, Tables, article, reference, without_order

CHANGES: dict[str, tuple[dict, dict]] = {
    "index added": ({}, {"idx_a": Index("status")}),
    "index columns": ({"idx_a": Index("status")}, {"idx_a": Index(["status", "score"])}),
    "index order": ({"idx_a": Index("score")}, {"idx_a": Index("score DESC NULLS LAST")}),
    "index expression": ({"idx_a": Index("status")}, {"idx_a": Index("lower(status)")}),
    "index predicate": (
        {"idx_a": Index("status", where="score > 1")},
        {"idx_a": Index("status", where="score > 2 AND status <> 'it''s'")},
    ),
    "index predicate dropped": (
        {"idx_a": Index("status", where="score > 1")},
        {"idx_a": Index("status")},
    ),
    "index method": ({"idx_a": Index("status")}, {"idx_a": Index("status", method="hash")}),
    "index unique": ({"idx_a": Index("status")}, {"idx_a": Index("status", unique=True)}),
    "check added": ({}, {"check_a": Check("score > 0")}),
    "check changed": ({"check_a": Check("score > 0")}, {"check_a": Check("score > 1")}),
    "check with quotes": (
        {"check_a": Check("status <> 'a'")},
        {"check_a": Check("status <> 'it''s \"{}\" 100%'")},
    ),
    "values changed": (
        {"check_a": OneOf("status", ["a", "b"])},
        {"check_a": OneOf("status", ["a", "b", "l'altro"])},
    ),
    "unique added": ({}, {"key_a": Unique(["status", "score"])}),
    "unique changed": (
        {"key_a": Unique(["status", "score"])},
        {"key_a": Unique(["status", "score"], nulls_distinct=False)},
    ),
    "piccolo's unique": ({}, {"key_b": PiccoloUnique(["status", "score"])}),
    "row security added": ({}, {"rls": RowLevelSecurity()}),
    "row security forced": ({"rls": RowLevelSecurity(force=False)}, {"rls": RowLevelSecurity()}),
    "policy changed": (
        {"rls": RowLevelSecurity(), "own": Policy(using="status = 'a'")},
        {"rls": RowLevelSecurity(), "own": Policy(using="status = 'b'", command="SELECT")},
    ),
    "policy check changed": (
        {"own": Policy(using="true", with_check="true")},
        {"own": Policy(using="true", with_check="score > 0")},
    ),
    "uncompressed": ({"note": Text()}, {"note": Text(), "long_note": Uncompressed("note")}),
    "uncompressed of another column": (
        {"note": Text(), "long_note": Uncompressed("note")},
        {"note": Text(), "long_note": Uncompressed("status")},
    ),
    "uncompressed column added": ({}, {"note": Text(), "long_note": Uncompressed("note")}),
    "uncompressed of another type": (
        {"note": Varchar(10, default=None), "long_note": Uncompressed("note")},
        {"note": Text(default=None), "long_note": Uncompressed("note")},
    ),
    "uncompressed array of another type": (
        {"tags": Array(Integer()), "long_tags": Uncompressed("tags")},
        {"tags": Array(Text()), "long_tags": Uncompressed("tags")},
    ),
    "trigger added": ({}, {"touch": UpdatedAtTrigger("score")}),
    "trigger column": (
        {"touch": UpdatedAtTrigger("score")},
        {"touch": UpdatedAtTrigger("status")},
    ),
    "default added": ({}, {"status": Varchar(20, default="it's new")}),
    "default changed": (
        {"status": Varchar(20, default="old")},
        {"status": Varchar(20, default="it's \\ new")},
    ),
    "default of a list": (
        {"tags": Array(Text(), default=["a"])},
        {"tags": Array(Text(), default=["it's", 'say "b"'])},
    ),
    "default of a number": (
        {"price": Numeric((5, 2), default=Decimal("1.5"))},
        {"price": Numeric((5, 2), default=Decimal("2"))},
    ),
    "text to number": (
        {"price": Varchar(10, default=None, null=True)},
        {"price": Numeric((5, 2), default=None, null=True)},
    ),
    "bounded to unbounded text": (
        {"note": Varchar(10, default=None), "idx_note": Index("note")},
        {"note": Text(default=None), "idx_note": Index("note")},
    ),
    "null and length": ({}, {"status": Varchar(30, default=None, null=True)}),
    "reference added": ({}, {"author_id": reference(OnDelete.cascade)}),
    "reference action": (
        {"author_id": reference(OnDelete.cascade)},
        {"author_id": reference(OnDelete.restrict)},
    ),
    "reference optional": (
        {"author_id": reference(OnDelete.cascade)},
        {"author_id": reference(OnDelete.set_null, null=True)},
    ),
    "array of a wider number": (
        {"tags": Array(Integer(), default=[1, 2]), "idx_tags": Index("tags", method="gin")},
        {"tags": Array(BigInt(), default=[1, 2]), "idx_tags": Index("tags", method="gin")},
    ),
    "array of longer texts": (
        {"tags": Array(Varchar(10))},
        {"tags": Array(Varchar(20))},
    ),
    "array of bounded texts": (
        {"tags": Array(Text(), default=["it's"], null=True)},
        {"tags": Array(Varchar(20), default=["it's"], null=True)},
    ),
    "array of numbers from texts": (
        {"tags": Array(Text(), default=["1"])},
        {"tags": Array(Integer(), default=[2])},
    ),
    "array of digits": (
        {"tags": Array(Numeric((5, 2)), default=None)},
        {"tags": Array(Numeric((9, 3)), default=None)},
    ),
    "array of arrays": (
        {"tags": Array(Array(Integer()))},
        {"tags": Array(Array(BigInt()), null=True)},
    ),
    "array from text": (
        {"tags": Text(default=None)},
        {"tags": Array(Text(), default=["a"])},
    ),
    "array to bounded text": (
        {"tags": Array(Text(), default=["a"])},
        {"tags": Varchar(50, default=None, null=True)},
    ),
    "comment added": ({}, {"status": Varchar(20, default=None, help_text='It\'s 100% "x" $1 {}')}),
    "comment changed": (
        {"status": Varchar(20, default=None, help_text="one")},
        {"status": Varchar(20, default=None, help_text="two\nlines \\ ünïcode 🎧")},
    ),
    "comment removed": (
        {"status": Varchar(20, default=None, help_text="one")},
        {"status": Varchar(20, default=None)},
    ),
    "comment of a new column": (
        {},
        {"note": Text(null=True, help_text="Any."), "tags": Array(Text(), help_text="Labels.")},
    ),
    "comment and type": (
        {"status": Varchar(20, default=None, help_text="one")},
        {"status": Text(default=None, help_text="two")},
    ),
    "comment of a reference": (
        {"author_id": reference(OnDelete.cascade)},
        {"author_id": reference(OnDelete.cascade, help_text="Who wrote it.")},
    ),
    "index include": (
        {"idx_a": Index("status")},
        {"idx_a": Index("status", unique=True, include=["score", "id"], where="score > 1")},
    ),
    "index operator class": (
        {"idx_a": Index(IndexKey("status", "varchar_ops"))},
        {"idx_a": Index(IndexKey("status", "varchar_pattern_ops"))},
    ),
    "index keys with options": (
        {"idx_a": Index(["status", "score"])},
        {
            "idx_a": Index(
                [
                    IndexKey("lower(status)", collation="C"),
                    IndexKey("score", descending=True, nulls="last"),
                ]
            )
        },
    ),
    "index jsonb_path_ops": (
        {"data": JSONB(default=None), "idx_a": Index("data", method="gin")},
        {
            "data": JSONB(default=None),
            "idx_a": Index(IndexKey("data", "jsonb_path_ops"), method="gin"),
        },
    ),
    "unique include": (
        {"key_a": Unique(["status"])},
        {"key_a": Unique(["status"], include=["score"])},
    ),
    "unique deferrable": (
        {"key_a": Unique(["status"], deferrable=Deferrable.IMMEDIATE)},
        {"key_a": Unique(["status"], deferrable=Deferrable.DEFERRED)},
    ),
    "reference deferrable": (
        {"author_id": reference(OnDelete.cascade)},
        {"author_id": reference(OnDelete.cascade, deferrable=Deferrable.DEFERRED)},
    ),
    "exclusion added": ({}, {"no_overlap": Exclude([("int4range(0, score)", "&&")])}),
    "exclusion changed": (
        {"no_overlap": Exclude([("int4range(0, score)", "&&")])},
        {
            "no_overlap": Exclude(
                [("int4range(0, score)", "&&"), (IndexKey("int4range(score, 100)"), "=")],
                where="score > 0",
                deferrable=Deferrable.DEFERRED,
            )
        },
    ),
    "composite foreign key added": (
        {"title": Varchar(40, default=None), "key_a": Unique(["id", "title"])},
        {
            "title": Varchar(40, default=None),
            "key_a": Unique(["id", "title"]),
            "parent": Varchar(40, default=None, null=True),
            "fk_a": ForeignKeyConstraint(["parent", "title"], "self", ["id", "title"]),
        },
    ),
    "composite foreign key with its key": (
        {"title": Varchar(40, default=None)},
        {
            "title": Varchar(40, default=None),
            "a_fk": ForeignKeyConstraint(["status", "title"], "article", ["id", "title"]),
            "z_key": Unique(["id", "title"]),
        },
    ),
    "composite foreign key changed": (
        {
            "key_a": Unique(["id", "score"]),
            "fk_a": ForeignKeyConstraint(["status", "score"], "self", ["id", "score"]),
        },
        {
            "key_a": Unique(["id", "score"]),
            "fk_a": ForeignKeyConstraint(
                ["status", "score"],
                "self",
                ["id", "score"],
                OnDelete.set_null,
                OnUpdate.cascade,
                deferrable=Deferrable.IMMEDIATE,
            ),
        },
    ),
    "column with all": (
        {},
        {
            "active": Boolean(default=True),
            "check_active": Check("active OR score IS NULL"),
            "idx_active": Index("active", where="active"),
        },
    ),
}


def every_third_by_default(names: Iterable[str]) -> list[Any]:
    """Return the names as parameters, two thirds of them marked slow."""
    return [
        name if number % 3 == 0 else pytest.param(name, marks=pytest.mark.slow)
        for number, name in enumerate(names)
    ]


@pytest.mark.parametrize("change", every_third_by_default(CHANGES))
async def test_change_goes_both_ways(change: str, make_app: Callable[[], App]):
    before, after = CHANGES[change]
    app = make_app()
    old = await app.migrate(article(**before))
    new = await app.migrate(article(**after))
    assert new != old
    assert await app.back() == old
    assert (await run_forwards(app.name)).success
    assert await app.schema() == new
    assert await app.back("all") == {"functions": {}}

    assert await make_app().migrate(article(**after)) == new, "made anew it is the same"


@pytest.mark.slow
@pytest.mark.parametrize("any_server", ["embedded"], indirect=True)
@pytest.mark.parametrize("change", [name for name in CHANGES if "added" in name or "index" in name])
@pytest.mark.variants
async def test_change_undone_by_another_migration(change: str, make_app: Callable[[], App]):
    before, after = CHANGES[change]
    app = make_app()
    old = await app.migrate(article(**before))
    new = await app.migrate(article(**after))
    assert without_order(await app.migrate(article(**before))) == without_order(old)
    assert without_order(await app.back()) == without_order(new)


async def test_renamed_column_takes_its_index_along(make_app: Callable[[], App]):
    app = make_app()
    old = await app.migrate(article(level=Integer(default=None), idx_a=Index("level")))
    new = await app.migrate(article(grade=Integer(default=None), idx_a=Index("grade")), "y")
    assert [c["name"] for c in new["article"]["columns"]][-1] == "grade"
    assert "(grade)" in new["article"]["indexes"]["idx_a"]
    assert await app.back() == old


async def test_renamed_column_stays_uncompressed(make_app: Callable[[], App]):
    app = make_app()
    old = await app.migrate(article(text=Text(), long_text=Uncompressed("text")))
    assert old["article"]["storage"] == {"text": "e"}
    new = await app.migrate(article(body=Text(), long_text=Uncompressed("body")), "y")
    assert new["article"]["storage"] == {"body": "e"}
    assert await app.back() == old


async def test_renamed_table_equals_one_made_anew(make_app: Callable[[], App]):
    def tables(name: str) -> Tables:
        return [
            type(Table)(
                "Article",
                (SchemaTable, Table),
                {
                    "id": Varchar(40, primary_key=True, default=None),
                    "status": Varchar(20, default=None),
                    "idx_status": Index("status", where=f"status <> '{name}'"),
                    "__module__": __name__,
                },
                tablename=name,
            )
        ]

    app = make_app()
    old = await app.migrate(tables("paper"))
    new = await app.migrate(tables("essay"))
    assert "essay_pkey" in new["essay"]["constraints"]
    assert await app.back() == old
    await app.back("all")
    assert await make_app().migrate(tables("essay")) == new


async def test_renamed_table_that_others_refer_to(make_app: Callable[[], App]):
    def tables(name: str) -> Tables:
        class Author(SchemaTable, Table, tablename=name):
            id = Varchar(40, primary_key=True, default=None)

        class Book(SchemaTable, Table, tablename="book"):
            id = Varchar(40, primary_key=True, default=None)
            author_id = Reference(Author, "fk_book_author", OnDelete.cascade)
            parent_id = Reference("self", "fk_book_parent", null=True)

        return [Author, Book]

    app = make_app()
    old = await app.migrate(tables("author"))
    new = await app.migrate(tables("writer"))
    assert "REFERENCES writer(id)" in new["book"]["constraints"]["fk_book_author"]
    assert "REFERENCES book(id)" in new["book"]["constraints"]["fk_book_parent"]
    assert await app.back() == old


async def test_composite_key_of_renamed_columns(make_app: Callable[[], App]):
    class Vote(SchemaTable, Table, tablename="vote"):
        person = Varchar(40, default=None, db_column_name="person_id")
        subject = Varchar(40, default=None)
        vote_pkey = PrimaryKey([person, subject])

    new = await make_app().migrate([Vote])
    assert new["vote"]["constraints"] == {"vote_pkey": "PRIMARY KEY (person_id, subject)"}


def keyed(**members: object) -> Tables:
    namespace = {"x": Varchar(40, default=None), "y": Varchar(40, default=None)} | members
    namespace["__module__"] = __name__
    return [type(Table)("Keyed", (SchemaTable, Table), namespace, tablename="keyed")]


KEYS: dict[str, tuple[dict, dict]] = {
    "several to one": (
        {"keyed_pkey": PrimaryKey(["x", "y"])},
        {"x": Varchar(40, primary_key=True, default=None)},
    ),
    "one to several": (
        {"x": Varchar(40, primary_key=True, default=None)},
        {"keyed_pkey": PrimaryKey(["x", "y"])},
    ),
    "one to another": (
        {"x": Varchar(40, primary_key=True, default=None)},
        {"y": Varchar(40, primary_key=True, default=None)},
    ),
    "one to a new column": (
        {"x": Varchar(40, primary_key=True, default=None)},
        {"z": UUID(primary_key=True, default=None)},
    ),
}


@pytest.mark.parametrize("change", KEYS)
async def test_key_changes(change: str, make_app: Callable[[], App]):
    before, after = KEYS[change]
    app = make_app()
    old = await app.migrate(keyed(**before))
    new = await app.migrate(keyed(**after))
    assert new["keyed"]["constraints"] != old["keyed"]["constraints"]
    assert without_order(await app.back()) == without_order(old)
    await app.back("all")
    assert without_order(await make_app().migrate(keyed(**after))) == without_order(new)


@pytest.mark.parametrize("any_server", ["embedded"], indirect=True)
async def test_piccolos_own_id_is_no_key_to_change(make_app: Callable[[], App]):
    for before, after in (
        ({}, {"keyed_pkey": PrimaryKey(["x", "y"])}),
        ({"keyed_pkey": PrimaryKey(["x", "y"])}, {}),
        ({"x": Varchar(40, primary_key=True, default=None)}, {}),
    ):
        app = make_app()
        await app.migrate(keyed(**before))
        with pytest.raises(SchemaError, match="Keyed: the serial id"):
            await app.migrate(keyed(**after))
        await app.back("all")


async def test_type_of_a_key_reaches_those_who_refer_to_it(make_app: Callable[[], App]):
    def tables(key: type[Integer]) -> Tables:
        class Author(SchemaTable, Table, tablename="author"):
            id = key(primary_key=True, default=None)

        class Book(SchemaTable, Table, tablename="book"):
            id = Varchar(40, primary_key=True, default=None)
            author_id = Reference(Author, "fk_book_author")

        return [Author, Book]

    app = make_app()
    old = await app.migrate(tables(Integer))
    new = await app.migrate(tables(BigInt))
    assert {c["name"]: c["type"] for c in new["book"]["columns"]}["author_id"] == "bigint"
    assert await app.back() == old


async def test_reference_becomes_text_and_back(make_app: Callable[[], App]):
    app = make_app()
    old = await app.migrate(article(author_id=reference(OnDelete.cascade)))
    new = await app.migrate(article(author_id=Varchar(30, default=None)))
    assert {c["name"]: c["type"] for c in new["article"]["columns"]}["author_id"] == (
        "character varying(30)"
    )
    assert await app.back() == old


async def test_index_name_moves_to_a_new_table(make_app: Callable[[], App]):
    def tables(name: str) -> Tables:
        members = {
            "id": Varchar(40, primary_key=True, default=None),
            "idx_shared": Index("id"),
            "__module__": __name__,
        }
        return [type(Table)(name.title(), (SchemaTable, Table), members, tablename=name)]

    app = make_app()
    old = await app.migrate(tables("first"))
    new = await app.migrate(tables("second"))
    assert "idx_shared" in new["second"]["indexes"]
    assert await app.back() == old


async def test_functions_of_others_stay(make_app: Callable[[], App]):
    app = make_app()
    await DB.run_ddl(
        "CREATE FUNCTION touch_audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"
    )
    await app.migrate(article(touch=UpdatedAtTrigger("score")))
    assert list((await app.back())["functions"]) == ["touch_audit"]


async def test_composite_key_changes(make_app: Callable[[], App]):
    def tables(*key: str) -> Tables:
        class Vote(SchemaTable, Table, tablename="vote"):
            person = Varchar(40, default=None)
            subject = Varchar(40, default=None)
            round = Integer(default=None)
            vote_pkey = PrimaryKey(key)

        return [Vote]

    app = make_app()
    old = await app.migrate(tables("person", "subject"))
    assert old["vote"]["constraints"] == {"vote_pkey": "PRIMARY KEY (person, subject)"}
    assert [c["name"] for c in old["vote"]["columns"]] == ["person", "subject", "round"]
    new = await app.migrate(tables("person", "subject", "round"))
    assert new["vote"]["constraints"] == {"vote_pkey": "PRIMARY KEY (person, subject, round)"}
    assert await app.back() == old


async def test_dropped_tables_come_back_whole(make_app: Callable[[], App]):
    members = {
        "author_id": reference(OnDelete.cascade),
        "touch": UpdatedAtTrigger("score"),
        "idx_a": Index("status"),
        "rls": RowLevelSecurity(),
        "own": Policy(using="true"),
    }
    app = make_app()
    old = await app.migrate(article(**members))
    assert await app.migrate([]) == {"functions": {}}
    assert await app.back() == old


async def test_piccolos_foreign_key_is_refused(make_app: Callable[[], App]):
    app = make_app()
    app.config.table_classes = article(author_id=lambda author: ForeignKey(author))
    await _create_new_migration(app.config, auto=True, auto_input="n")
    with pytest.raises(SchemaError, match=r"author_id .* use learner_app.schema.columns.Reference"):
        await run_forwards(app.name)


async def test_too_long_name_is_refused():
    with pytest.raises(SchemaError, match="longer than 63 bytes"):
        article(**{"idx_" + "x" * 60: Index("status")})


async def test_stock_create_table_is_refused():
    with pytest.raises(SchemaError, match="MigrationManager only"):
        await article(idx_a=Index("status"))[1].create_table()


def named(tablename: str, column: str, *, unique: bool = True) -> Tables:
    members = {
        "id": Serial(primary_key=True),
        column: Varchar(40, default=None, unique=unique),
        "level": Integer(default=None, index=unique),
        "person_level_key": Unique(["level"]),
        "__module__": __name__,
    }
    return [type(Table)("Person", (SchemaTable, Table), members, tablename=tablename)]


async def test_names_after_a_renamed_table_and_column_are_adapted(make_app: Callable[[], App]):
    app = make_app()
    old = await app.migrate(named("person", "login"))
    table = await app.migrate(named("human", "login"), "y")
    column = await app.migrate(named("human", "nick"), "y")
    plain = await app.migrate(named("human", "nick", unique=False))
    assert await app.back() == column
    assert await app.back() == table
    assert await app.back() == old
    await app.back("all")
    assert await make_app().migrate(named("human", "nick", unique=False)) == plain


async def test_a_renamed_table_equals_one_made_anew_with_its_names(make_app: Callable[[], App]):
    app = make_app()
    await app.migrate(named("person", "login"))
    await app.migrate(named("human", "login"), "y")
    renamed = await app.migrate(named("human", "nick"), "y")
    sequence = "SELECT pg_get_serial_sequence('human', 'id')"
    assert await DB.fetchval(sequence) == "public.human_id_seq"
    await app.back("all")
    assert await make_app().migrate(named("human", "nick")) == renamed


async def test_a_declared_key_keeps_its_name_in_a_renamed_table(make_app: Callable[[], App]):
    def tables(tablename: str) -> Tables:
        members = {
            "x": Integer(default=None),
            "y": Integer(default=None),
            "vote_pkey": PrimaryKey(["x", "y"]),
            "__module__": __name__,
        }
        return [type(Table)("Vote", (SchemaTable, Table), members, tablename=tablename)]

    app = make_app()
    old = await app.migrate(tables("vote"))
    new = await app.migrate(tables("ballot"), "y")
    assert list(new["ballot"]["constraints"]) == ["vote_pkey"]
    assert await app.back() == old
