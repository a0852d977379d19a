"""Renames are asked about and never guessed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from piccolo.apps.migrations.commands.forwards import run_forwards
from piccolo.columns import Integer, Varchar
from piccolo.table import Table

from learner_app.conf import DB
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import MigrationError
from learner_app.schema.objects import Index
from learner_app.schema.tables import SchemaTable
from tests.schema.changing import App, Tables, article

pytestmark = pytest.mark.parametrize("any_server", ["embedded"], indirect=True)


def named(class_name: str, tablename: str, *columns: str) -> type[Table]:
    members = {
        "id": Varchar(8, primary_key=True, default=None),
        f"idx_{tablename}": Index("id"),
        **{column: Varchar(20, default=None) for column in columns},
        "__module__": __name__,
    }
    return type(Table)(class_name, (SchemaTable, Table), members, tablename=tablename)


def files_of(folder: Path) -> set[Path]:
    return set(folder.rglob("*.py"))


class Terminal:
    """Answers questions that contain all of the words with yes and notes what was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *renames: tuple[str, str]) -> None:
        self.asked: list[str] = []
        self._renames = renames
        monkeypatch.setattr("builtins.input", self._answer)

    def _answer(self, question: str) -> str:
        self.asked.append(question)
        return "y" if any(all(f"{n}" in question for n in pair) for pair in self._renames) else ""


async def migrate(app: App, tables: Tables) -> None:
    await app.write(tables, None)
    assert (await run_forwards(app.name)).success


async def test_two_columns_go_where_the_answers_say(
    make_app: Callable[[], App], monkeypatch: pytest.MonkeyPatch
):
    app = make_app()
    await app.migrate([named("Word", "word", "alpha", "beta")])
    await DB.execute("INSERT INTO word (id, alpha, beta) VALUES ('1', 'a', 'b')")
    terminal = Terminal(monkeypatch, ("`alpha`", "`delta`"), ("`beta`", "`gamma`"))
    await migrate(app, [named("Word", "word", "delta", "gamma")])
    row = await DB.fetchrow("SELECT * FROM word")
    assert (row["delta"], row["gamma"]) == ("a", "b")
    assert len(terminal.asked) == 2, "delta was alpha, so that gamma can only be beta"
    await app.back()
    row = await DB.fetchrow("SELECT * FROM word")
    assert (row["alpha"], row["beta"]) == ("a", "b")


@pytest.mark.parametrize("counts", [(2, 2), (1, 2), (2, 1)])
async def test_yes_to_all_is_refused_where_several_pairs_fit(
    counts: tuple[int, int], make_app: Callable[[], App], tmp_path: Path
):
    app = make_app()
    await app.migrate([named("Word", "word", *["alpha", "beta"][: counts[0]])])
    files = files_of(tmp_path)
    with pytest.raises(MigrationError, match=r"`alpha`.*`delta`.*would guess"):
        await app.write([named("Word", "word", *["delta", "gamma"][: counts[1]])], "y")
    assert files_of(tmp_path) == files


async def test_without_a_terminal_nothing_is_written(
    make_app: Callable[[], App], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    def closed(_question: str) -> str:
        raise EOFError

    app = make_app()
    await app.migrate([named("Word", "word", "alpha")])
    files = files_of(tmp_path)
    monkeypatch.setattr("builtins.input", closed)
    with pytest.raises(MigrationError, match=r"`alpha`.*`beta`.*no terminal.*--auto_input=n"):
        await app.write([named("Word", "word", "beta")], None)
    assert files_of(tmp_path) == files


async def test_columns_of_one_name_in_two_tables(
    make_app: Callable[[], App], monkeypatch: pytest.MonkeyPatch
):
    def tables(first: list[str], second: list[str]) -> Tables:
        return [named("First", "first", *first), named("Second", "second", *second)]

    app = make_app()
    await app.migrate(tables(["old"], ["old"]))
    await DB.execute("INSERT INTO first (id, old) VALUES ('1', 'x')")
    Terminal(monkeypatch, ("`old`", "`new`", "`First`"))
    await migrate(app, tables(["new"], ["new"]))
    assert await DB.fetchval("SELECT new FROM first") == "x"
    schema = await app.schema()
    assert [column["name"] for column in schema["second"]["columns"]] == ["id", "new"]


async def test_a_table_and_its_column_at_once(
    make_app: Callable[[], App], monkeypatch: pytest.MonkeyPatch
):
    for old, new in ((("Word", "word"), ("Word", "term")), (("Word", "word"), ("Term", "term"))):
        app = make_app()
        before = await app.migrate([named(*old, "alpha")])
        await DB.execute("INSERT INTO word (id, alpha) VALUES ('1', 'x')")
        Terminal(monkeypatch, ("`alpha`", "`beta`"), ("Word", "Term"))
        await migrate(app, [named(*new, "beta")])
        assert await DB.fetchval("SELECT beta FROM term") == "x"
        assert await app.back() == before
        assert await DB.fetchval("SELECT alpha FROM word") == "x"
        await app.back("all")


async def test_two_tables_go_where_the_answers_say(
    make_app: Callable[[], App], monkeypatch: pytest.MonkeyPatch
):
    app = make_app()
    await app.migrate([named("A", "a"), named("B", "b")])
    await DB.execute("INSERT INTO a VALUES ('a')")
    await DB.execute("INSERT INTO b VALUES ('b')")
    with pytest.raises(MigrationError, match=r"tablename: a.*would guess"):
        await app.write([named("C", "c"), named("D", "d")], "y")
    Terminal(monkeypatch, ("rename A", "to D"), ("rename B", "to C"))
    await migrate(app, [named("C", "c"), named("D", "d")])
    assert await DB.fetchval("SELECT id FROM d") == "a"
    assert await DB.fetchval("SELECT id FROM c") == "b"


async def test_a_class_that_takes_over_a_table_is_asked_about(
    make_app: Callable[[], App], monkeypatch: pytest.MonkeyPatch
):
    app = make_app()
    await app.migrate([named("A", "a"), named("B", "b")])
    await DB.execute("INSERT INTO b VALUES ('b')")
    terminal = Terminal(monkeypatch, ("rename B (tablename: b)", "to A (tablename: b)"))
    await migrate(app, [named("A", "b")])
    assert terminal.asked
    assert await DB.fetchval("SELECT id FROM b") == "b"


async def test_a_class_is_renamed_while_its_table_keeps_its_name(make_app: Callable[[], App]):
    app = make_app()
    old = await app.migrate([named("Word", "word", "alpha")])
    await DB.execute("INSERT INTO word (id, alpha) VALUES ('1', 'x')")
    assert await app.migrate([named("Term", "word", "alpha")]) == old
    await app.migrate([named("Name", "word", "alpha"), named("New", "new")])
    assert await DB.fetchval("SELECT alpha FROM word") == "x"
    await app.back()
    assert await app.back() == old


async def test_no_is_drop_and_add(make_app: Callable[[], App]):
    app = make_app()
    await app.migrate(article(level=Integer(default=None)))
    new = await app.migrate(article(grade=Integer(default=None)), "n")
    names = [column["name"] for column in new["article"]["columns"]]
    assert ("grade" in names, "level" in names) == (True, False)


@pytest.mark.slow
@pytest.mark.parametrize("answers", ["", "n\ny\ny\n"])
def test_the_command_reads_answers_or_fails(
    answers: str, any_server: object, empty_database: DatabaseEngine, tmp_path: Path
):
    """``piccolo migrations new`` with its input redirected."""
    folder = tmp_path / "shop"
    (folder / "piccolo_migrations").mkdir(parents=True)
    for name in ("__init__.py", "piccolo_migrations/__init__.py"):
        (folder / name).touch()
    (tmp_path / "piccolo_conf.py").write_text(
        "from piccolo.conf.apps import AppRegistry\n"
        "from learner_app.conf import DB\n"
        "APP_REGISTRY = AppRegistry(apps=['shop.piccolo_app'])\n"
    )
    (folder / "piccolo_app.py").write_text(
        "from pathlib import Path\n"
        "from piccolo.conf.apps import AppConfig\n"
        "from shop.tables import Word\n"
        "folder = str(Path(__file__).parent / 'piccolo_migrations')\n"
        "APP_CONFIG = AppConfig('shop', folder, table_classes=[Word])\n"
    )

    def new(*columns: str) -> subprocess.CompletedProcess[str]:
        lines = "".join(f"    {column} = Varchar(9)\n" for column in columns)
        (folder / "tables.py").write_text(
            "from piccolo.columns import Varchar\n"
            "from piccolo.table import Table\n"
            "from learner_app.schema.tables import SchemaTable\n"
            "class Word(SchemaTable, Table, tablename='word'):\n" + lines
        )
        command = [Path(sys.executable).with_name("piccolo"), "migrations", "new", "shop", "--auto"]
        environment = {"DATABASE_URL": empty_database.url, "PATH": "/usr/bin", "LANG": "C.UTF-8"}
        return subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            input=answers,
            capture_output=True,
            text=True,
            check=False,
        )

    made = new("alpha", "beta")
    assert made.returncode == 0, made.stdout
    changed = new("delta", "gamma")
    files = [path.read_text() for path in (folder / "piccolo_migrations").glob("shop_*.py")]
    if answers:
        assert changed.returncode == 0, changed.stdout
        assert sum("rename_column" in text for text in files) == 1
        assert "drop_column" not in "".join(files)
    else:
        assert changed.returncode == 1
        assert "no terminal" in changed.stdout
        assert len(files) == 1


async def test_an_answer_that_is_neither_yes_nor_no_is_asked_again(
    make_app: Callable[[], App], monkeypatch: pytest.MonkeyPatch
):
    app = make_app()
    await app.migrate([named("Word", "word", "alpha")])
    answers = iter(["yse", "Yes "])
    monkeypatch.setattr("builtins.input", lambda _question: next(answers))
    written = await app.write([named("Word", "word", "beta")], None)
    assert "rename_column" in written
    assert "drop_column" not in written
    assert next(answers, None) is None


async def test_auto_input_accepts_words_and_nothing_else(
    make_app: Callable[[], App], tmp_path: Path
):
    app = make_app()
    await app.migrate([named("Word", "word", "alpha")])
    files = files_of(tmp_path)
    with pytest.raises(MigrationError, match="--auto_input=ja is not an answer"):
        await app.write([named("Word", "word", "beta")], "ja")
    assert files_of(tmp_path) == files
    assert "rename_column" in await app.write([named("Word", "word", "beta")], "yes")
