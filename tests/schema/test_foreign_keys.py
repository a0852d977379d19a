"""Composite foreign keys within one migration, in any order of tables and keys."""

from collections.abc import Callable

import asyncpg
import pytest
from piccolo.apps.migrations.commands.forwards import run_forwards
from piccolo.columns import UUID, Column, Integer, Varchar
from piccolo.columns.base import OnDelete
from piccolo.table import Table

from learner_app.conf import DB
from learner_app.errors import MissingReference, SchemaError
from learner_app.schema.columns import Reference
from learner_app.schema.objects import Deferrable, ForeignKeyConstraint, PrimaryKey, Unique
from learner_app.schema.tables import SchemaTable
from tests.schema.changing import App, Tables, without_order


def orders(*, on_delete: OnDelete = OnDelete.cascade, unique: bool = False) -> Tables:
    """A child that sorts before its parent, and a parent keyed by two columns."""

    class Region(SchemaTable, Table, tablename="zone"):
        country = Varchar(2, default=None)
        code = Varchar(8, default=None)
        if unique:
            id = Varchar(8, primary_key=True, default=None)
            a_unique = Unique([country, code])
        else:
            zone_pkey = PrimaryKey([country, code])

    class Address(SchemaTable, Table, tablename="address"):
        id = Varchar(8, primary_key=True, default=None)
        country = Varchar(2, default=None)
        region = Varchar(8, default=None, db_column_name="region_code")
        address_fk = ForeignKeyConstraint(
            [country, region], Region, [Region.country, Region.code], on_delete
        )

    return [Address, Region]


FK = "address_fk"


@pytest.mark.parametrize("unique", [False, True])
async def test_both_tables_in_one_migration(unique: bool, make_app: Callable[[], App]):
    app = make_app()
    new = await app.migrate(orders(unique=unique))
    assert new["address"]["constraints"][FK] == (
        "FOREIGN KEY (country, region_code) REFERENCES zone(country, code) ON DELETE CASCADE"
    )
    with pytest.raises(MissingReference) as refused:
        await DB.execute("INSERT INTO address VALUES ('a', 'it', 'nowhere')")
    assert refused.value.constraint == FK
    assert await app.back() == {"functions": {}}
    assert (await run_forwards(app.name)).success
    assert await app.schema() == new


async def test_action_changes_and_the_tables_go_and_come_back(make_app: Callable[[], App]):
    app = make_app()
    old = await app.migrate(orders())
    new = await app.migrate(orders(on_delete=OnDelete.restrict))
    assert new["address"]["constraints"][FK].endswith("ON DELETE RESTRICT")
    assert await app.back() == old
    assert (await run_forwards(app.name)).success
    assert await app.migrate([]) == {"functions": {}}
    assert await app.back() == new


async def test_a_child_goes_with_the_key_it_refers_to(make_app: Callable[[], App]):
    def parent(*, keyed: bool) -> type[Table]:
        members = {"id": Varchar(8, primary_key=True, default=None), "code": Varchar(8)}
        if keyed:
            members["a_key"] = Unique(["id", "code"])
        members["__module__"] = __name__
        return type(Table)("Parent", (SchemaTable, Table), members, tablename="parent")

    def child() -> type[Table]:
        class Child(SchemaTable, Table, tablename="child"):
            id = Varchar(8, primary_key=True, default=None)
            code = Varchar(8)
            child_fk = ForeignKeyConstraint(["id", "code"], "parent", ["id", "code"])

        return Child

    app = make_app()
    alone = await app.migrate([parent(keyed=False)])
    both = await app.migrate([child(), parent(keyed=True)])
    assert "child_fk" in both["child"]["constraints"]
    assert await app.migrate([parent(keyed=False)]) == alone
    assert await app.back() == both
    assert await app.back() == alone


async def test_to_a_table_of_another_app(make_app: Callable[[], App]):
    address, region = orders()
    owner, user = make_app(), make_app()
    user.config.migration_dependencies = [owner.name]
    await owner.write([region])
    await user.write([address])
    assert (await run_forwards("all")).success
    assert FK in (await user.schema())["address"]["constraints"]


async def test_renamed_columns_and_tables_keep_it(make_app: Callable[[], App]):
    def tables(name: str, column: str) -> Tables:
        members = {
            "id": Varchar(8, primary_key=True, default=None),
            column: Varchar(8, default=None),
            "a_key": Unique(["id", column]),
            "__module__": __name__,
        }
        parent = type(Table)("Parent", (SchemaTable, Table), members, tablename=name)

        class Child(SchemaTable, Table, tablename="child"):
            id = Varchar(8, primary_key=True, default=None)
            code = Varchar(8, default=None)
            child_fk = ForeignKeyConstraint(["id", "code"], parent, ["id", column])

        return [Child, parent]

    app = make_app()
    old = await app.migrate(tables("parent", "code"))
    await DB.execute("INSERT INTO parent VALUES ('1', 'x')")
    await DB.execute("INSERT INTO child VALUES ('1', 'x')")
    new = await app.migrate(tables("origin", "sign"), "y")
    assert new["child"]["constraints"]["child_fk"] == (
        "FOREIGN KEY (id, code) REFERENCES origin(id, sign)"
    )
    assert await DB.fetchval("SELECT sign FROM origin") == "x"
    assert await app.back() == old
    assert await DB.fetchval("SELECT code FROM parent") == "x"
    await app.back("all")
    assert without_order(await make_app().migrate(tables("origin", "sign"))) == without_order(new)


@pytest.mark.parametrize("any_server", ["embedded"], indirect=True)
async def test_deferred_keys_are_checked_at_commit(make_app: Callable[[], App]):
    class Node(SchemaTable, Table, tablename="node"):
        id = Varchar(8, primary_key=True, default=None)
        code = Varchar(8, default=None)
        next_id = Varchar(8, default=None)
        other = Reference("self", "fk_other", deferrable=Deferrable.DEFERRED)
        a_key = Unique(["id", code])
        node_fk = ForeignKeyConstraint(
            [next_id, code], "self", ["id", code], deferrable=Deferrable.DEFERRED
        )

    await make_app().migrate([Node])
    await DB.execute(
        "INSERT INTO node (id, code, next_id, other) VALUES ('1', 'x', '2', '2'),"
        " ('2', 'x', '1', '1')"
    )
    connection = await DB.get_new_connection()
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        async with connection.transaction():
            await connection.execute("UPDATE node SET next_id = 'none' WHERE id = '1'")
            assert await connection.fetchval("SELECT next_id FROM node WHERE id = '1'") == "none"
    await connection.close()


def test_numbers_of_columns_must_agree():
    with pytest.raises(SchemaError, match="node_fk: 2 columns refer to 1"):

        class Node(SchemaTable, Table, tablename="node"):
            id = Varchar(8, primary_key=True, default=None)
            code = Varchar(8, default=None)
            node_fk = ForeignKeyConstraint(["id", code], "self", ["id"])


def text(**options: object) -> Varchar:
    return Varchar(40, default=None, **options)


def uuid(**options: object) -> UUID:
    return UUID(default=None, **options)


def shelves(key: Callable[..., Column], *include: str) -> Tables:
    shelf = {
        "id": key(primary_key=True),
        "row": key(),
        "title": Varchar(20, default=None),
        "shelf_key": Unique(["id", "row"], include=include),
        "parent": key(null=True),
        "fk_parent": ForeignKeyConstraint(["parent"], "self", ["id"]),
        "__module__": __name__,
    }
    Shelf = type(Table)("Shelf", (SchemaTable, Table), shelf, tablename="shelf")
    item = {
        "id": Integer(primary_key=True, default=None),
        "shelf_id": Reference(Shelf, "fk_item_shelf", OnDelete.cascade),
        "row": key(),
        "fk_item_row": ForeignKeyConstraint(["shelf_id", "row"], Shelf, ["id", "row"]),
        "__module__": __name__,
    }
    return [Shelf, type(Table)("Item", (SchemaTable, Table), item, tablename="item")]


async def test_an_incomparable_type_of_a_key_reaches_those_who_refer_to_it(
    make_app: Callable[[], App],
):
    app = make_app()
    old = await app.migrate(shelves(uuid))
    key = "00000000-0000-0000-0000-000000000001"
    await DB.execute(
        f"INSERT INTO shelf VALUES ('{key}', '{key}', 'a', '{key}');"
        f"INSERT INTO item VALUES (1, '{key}', '{key}')"
    )
    new = await app.migrate(shelves(text))
    assert await DB.fetchval("SELECT shelf_id FROM item") == key
    assert await app.back() == old
    assert (await run_forwards(app.name)).success
    assert await app.schema() == new
    await app.back("all")
    assert await make_app().migrate(shelves(text)) == new


async def test_a_key_changes_that_a_kept_foreign_key_refers_to(make_app: Callable[[], App]):
    app = make_app()
    old = await app.migrate(shelves(text))
    new = await app.migrate(shelves(text, "title"))
    assert "INCLUDE (title)" in new["shelf"]["constraints"]["shelf_key"]
    assert new["item"] == old["item"]
    assert await app.back() == old


async def test_a_key_becomes_composite_and_a_unique_replaces_it(make_app: Callable[[], App]):
    def tables(**key: object) -> Tables:
        parent = {"id": text(), "part": text(), **key, "__module__": __name__}
        child = {
            "id": text(primary_key=True),
            "parent": text(),
            "fk_child": ForeignKeyConstraint(["parent"], "parent", ["id"]),
            "__module__": __name__,
        }
        return [
            type(Table)("Parent", (SchemaTable, Table), parent, tablename="parent"),
            type(Table)("Child", (SchemaTable, Table), child, tablename="child"),
        ]

    app = make_app()
    old = await app.migrate(tables(id=text(primary_key=True)))
    new = await app.migrate(
        tables(parent_pkey=PrimaryKey(["id", "part"]), parent_id=Unique(["id"]))
    )
    assert new["child"] == old["child"]
    assert without_order(await app.back()) == without_order(old)
