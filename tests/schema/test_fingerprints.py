"""Fingerprints of the generated SQL, and the SQL that a migration stores and executes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from piccolo.apps.migrations.commands.backwards import run_backwards
from piccolo.apps.migrations.commands.forwards import run_forwards
from piccolo.apps.migrations.commands.new import NoChanges, _create_new_migration
from piccolo.columns import Array, Integer, Text, Varchar
from piccolo.columns.base import OnDelete

from learner_app.conf import DB
from learner_app.errors import MigrationError
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
from learner_app.schema.schema_object import SchemaObject
from tests.schema.changing import App, Tables, article, reference, replace_in

EMBEDDED = pytest.mark.parametrize("any_server", ["embedded"], indirect=True)


def logical_name(declared: SchemaObject) -> str:
    twin = declared.for_table("article")
    twin.serialise_self()
    return twin._meta.name


def only_file(app: App) -> Path:
    (file,) = Path(app.config.migrations_folder_path).glob(f"{app.name}_*.py")
    return file


async def source_of(function: str = "touch_score") -> str:
    return await DB.fetchval("SELECT prosrc FROM pg_proc WHERE proname = $1", function)


def corrected_trigger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the package generate another body for the function of UpdatedAtTrigger."""
    original = UpdatedAtTrigger.create_sql

    def create_sql(self: UpdatedAtTrigger, table: str) -> list[str]:
        return [sql.replace("clock_timestamp()", "7") for sql in original(self, table)]

    monkeypatch.setattr(UpdatedAtTrigger, "create_sql", create_sql)


def touched() -> Tables:
    return article(touch=UpdatedAtTrigger("score"), tenant_id=Varchar(9, default="t"))


def test_spelled_out_defaults_change_no_fingerprint():
    for short, long in (
        (Index("a", name="x"), Index(["a"], "btree", False, None, "x", include=[])),
        (Unique(["a"], name="x"), Unique(["a"], True, "x", include=(), deferrable=None)),
        (PrimaryKey(["a"], name="x"), PrimaryKey(["a"], "x", include=[], deferrable=None)),
        (Policy("true", name="x"), Policy("true", None, "ALL", "PUBLIC", "x")),
        (RowLevelSecurity(name="x"), RowLevelSecurity(force=True, name="x")),
    ):
        assert logical_name(short) == logical_name(long)
        assert logical_name(short).startswith("x@")


def test_a_new_option_with_a_default_changes_no_fingerprint(monkeypatch: pytest.MonkeyPatch):
    before = logical_name(Check("score > 0", name="x"))
    original = Check.__init__

    def init(self: Check, condition: str, name: str | None = None, valid: bool = True) -> None:
        original(self, condition, name)
        self.params["valid"] = valid

    monkeypatch.setattr(Check, "__init__", init)
    assert Check("score > 0", name="x").params["valid"] is True
    assert logical_name(Check("score > 0", name="x")) == before


def test_every_part_of_a_definition_changes_the_fingerprint():
    variants = [
        Index("a", name="x"),
        Index("a", method="hash", name="x"),
        Index("a", unique=True, name="x"),
        Index("a", where="a > 1", name="x"),
        Index("a", include=["b"], name="x"),
        Index(IndexKey("a", descending=True), name="x"),
        Unique(["a"], name="x"),
        Unique(["a"], nulls_distinct=False, name="x"),
        Unique(["a"], deferrable=Deferrable.DEFERRED, name="x"),
        Exclude([("a", "=")], name="x"),
        Exclude([("a", "=")], where="a > 1", name="x"),
        Check("a > 1", name="x"),
        OneOf("a", ["1"], name="x"),
        Uncompressed("a", name="x"),
        Uncompressed("b", name="x"),
    ]
    assert len({logical_name(each) for each in variants}) == len(variants)


def test_the_name_of_the_table_is_no_part_of_the_fingerprint():
    for declared in (
        Index("a", name="x"),
        UpdatedAtTrigger("a", name="x"),
        ForeignKeyConstraint(["a"], "self", ["b"], name="x"),
    ):
        names = set()
        for table in ("one", "two"):
            twin = declared.for_table(table)
            twin.serialise_self()
            names.add(twin._meta.name)
            assert f'"{table}"' in twin.sql.create_on(f'"{table}"')[-1]
        assert len(names) == 1


@EMBEDDED
async def test_a_corrected_trigger_body_is_detected_and_migrated(
    make_app: Callable[[], App], monkeypatch: pytest.MonkeyPatch
):
    app = make_app()
    old = await app.migrate(touched())
    assert "clock_timestamp()" in await source_of()
    corrected_trigger(monkeypatch)
    new = await app.migrate(touched())
    assert await source_of() == 'BEGIN NEW."score" := 7; RETURN NEW; END'
    await DB.execute("INSERT INTO article (id, status) VALUES ('1', 'a')")
    await DB.execute("UPDATE article SET status = 'b'")
    assert await DB.fetchval("SELECT score FROM article") == 7
    assert await app.back() == old
    assert (await run_forwards(app.name)).success
    assert await app.schema() == new
    assert await app.back("all") == {"functions": {}}


@EMBEDDED
async def test_a_replayed_migration_executes_its_stored_sql(
    make_app: Callable[[], App], monkeypatch: pytest.MonkeyPatch
):
    app = make_app()
    members = {"idx_a": Index("status"), "author_id": reference(OnDelete.cascade)}
    old = await app.migrate(article(touch=UpdatedAtTrigger("score"), **members))
    await app.back("all")

    def refuse(_self: SchemaObject, _table: str) -> list[str]:
        return ["SELECT 1/0"]

    for kind in (Index, UpdatedAtTrigger, ForeignKeyConstraint):
        for method in ("create_sql", "drop_sql"):
            monkeypatch.setattr(kind, method, refuse)
    assert (await run_forwards(app.name)).success
    assert await app.schema() == old
    assert await app.back("all") == {"functions": {}}


@EMBEDDED
async def test_another_drop_statement_is_detected_and_the_old_one_executed(
    make_app: Callable[[], App], monkeypatch: pytest.MonkeyPatch
):
    app = make_app()
    await app.migrate(article(idx_a=Index("status")))
    monkeypatch.setattr(Index, "drop_sql", lambda _self, _table: ["SELECT 1/0"])
    written = await app.write(article(idx_a=Index("status")))
    assert "SELECT 1/0" in written
    assert (await run_forwards(app.name)).success


@EMBEDDED
@pytest.mark.parametrize(
    ("stored", "edited"),
    [
        ("USING btree (status)", "USING btree (score)"),
        ('DROP INDEX "idx_a"', 'DROP INDEX "idx_b"'),
        ("idx_a@index.", "idx_a@index.0"),
    ],
    ids=["create", "drop", "fingerprint"],
)
async def test_edited_sql_is_refused_with_file_and_object(
    make_app: Callable[[], App], stored: str, edited: str
):
    app = make_app()
    await app.write(article(idx_a=Index("status")))
    file = only_file(app)
    replace_in(file, stored, edited)
    app.forget_modules()
    for command in (run_forwards(app.name), run_forwards(app.name, preview=True)):
        with pytest.raises(MigrationError, match="does not match its fingerprint") as refused:
            await command
        assert file.name in str(refused.value)
        assert "idx_a" in str(refused.value)
    assert (await app.schema()).keys() == {"functions"}


@EMBEDDED
async def test_an_applied_migration_that_was_edited_is_not_undone(make_app: Callable[[], App]):
    app = make_app()
    old = await app.migrate(article(idx_a=Index("status")))
    file = only_file(app)
    replace_in(file, 'DROP INDEX "idx_a"', 'DROP TABLE "article"')
    app.forget_modules()
    with pytest.raises(MigrationError, match=f"{file.name}.* idx_a"):
        await run_backwards(app.name, auto_agree=True)
    assert await app.schema() == old


@EMBEDDED
async def test_a_file_without_stored_sql_is_refused(make_app: Callable[[], App], tmp_path: Path):
    app = make_app()
    (Path(app.config.migrations_folder_path) / f"{app.name}_old.py").write_text(
        "from learner_app.schema.migrations import MigrationManager\n"
        "from learner_app.schema.objects import Index\n"
        "ID = '2020-01-01'\nVERSION = '1'\nDESCRIPTION = ''\n"
        "async def forwards():\n"
        f"    manager = MigrationManager(migration_id=ID, app_name='{app.name}')\n"
        "    manager.add_constraint(\n"
        "        table_class_name='A', tablename='a', constraint_name='a@index.3f9a0c11',\n"
        "        constraint_class=Index, params={'on': ['b']})\n"
        "    return manager\n"
    )
    with pytest.raises(MigrationError, match=f"{app.name}_old.py: the file stores no SQL of a@"):
        await run_forwards(app.name)


BRACES: dict[str, object] = {
    "tags": Array(Text(), default=["{table}"]),
    "check_a": Check("tags <> '{table}' AND tags <> '{}' AND status <> '{{0}}'"),
    "idx_a": Index("status", where="status <> '{'"),
}


async def test_braces_in_sql_are_kept(make_app: Callable[[], App]):
    app = make_app()
    new = await app.migrate(article(**BRACES))
    assert "'{table}'" in new["article"]["constraints"]["check_a"]
    assert "'{{0}}'" in new["article"]["constraints"]["check_a"]
    await app.back("all")
    assert (await run_forwards(app.name)).success
    assert await app.schema() == new


@EMBEDDED
async def test_an_object_dropped_after_a_rename_comes_back_on_the_renamed_table(
    make_app: Callable[[], App],
):
    def tables(name: str, **members: object) -> Tables:
        Author, Article = article(**members)
        Article._meta.tablename = name
        return [Author, Article]

    app = make_app()
    await app.migrate(tables("article", idx_a=Index("status")))
    renamed = await app.migrate(tables("essay", idx_a=Index("status")), "y")
    await app.migrate(tables("essay"))
    assert await app.back() == renamed
    assert "essay" in renamed["essay"]["indexes"]["idx_a"]


@EMBEDDED
async def test_files_contain_what_differs_from_the_defaults(make_app: Callable[[], App]):
    app = make_app()
    text = await app.write(
        article(
            author_id=reference(OnDelete.cascade),
            tags=Array(Varchar(40), help_text="Labels."),
            note=Text(default=None, null=True),
        )
    )
    code = text[text.index("from learner_app") :].replace("'", '"')  # not formatted in tests
    for noise in ("index_method", "secret", "schema=None", "unique=False", "db_column_name"):
        assert noise not in code
    assert 'Array(base_column=Varchar(length=40), help_text="Labels.")' in code
    assert '"note": Text(default=None, null=True)' in code
    assert 'class Author(Table, tablename="author")' in code
    code = await app.write(article(score=Integer(default=None), note=Text(null=True)))
    assert (await run_forwards(app.name)).success
    with pytest.raises(NoChanges):
        await _create_new_migration(app.config, auto=True, auto_input="n")
