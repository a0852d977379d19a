"""Private parts of libraries: the document lists all of them, and the libraries still have them."""

import ast
import inspect
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import piccolo
import pytest
from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.apps.migrations.commands import backwards, base, check, forwards, new
from piccolo.engine import PostgresEngine, engine_finder
from piccolo.query import Select
from piccolo.table import Table

from learner_app.admin.desk import create_desk
from learner_app.admin.tables import StaffUserTable
from learner_app.conf import DB
from learner_app.content.tables import ContentTable
from learner_app.database.engine import DatabaseEngine
from learner_app.schema import piccolo_commands
from learner_app.schema.migrations import MigrationManager as OwnMigrationManager
from learner_app.schema.piccolo_hooks import use_engine
from learner_app.settings import Settings
from tests.private_parts import ROOT, private_parts

TESTS = Path(__file__).parent
DOCUMENT = TESTS.parent / "docs" / "private-parts.md"

SIGNATURES: dict[str, str] = json.loads((TESTS / "data" / "private_signatures.json").read_text())
"""Written by ``python -m tests.private_signatures``, after the new source has been read."""


class Entry(NamedTuple):
    names: list[str]
    parts: set[str]
    guards: list[str]


def entries() -> list[Entry]:
    """Return the rows of the tables in the document."""
    found = []
    for line in DOCUMENT.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| `") and len(cells) == 4:
            names, parts, _, guards = (re.findall("`([^`]+)`", cell) for cell in cells)
            found.append(Entry(names, set(parts), guards))
    return found


def test_the_document_lists_every_private_part_in_use():
    listed = {name for entry in entries() for name in entry.names}
    assert sorted(private_parts().keys() - listed) == []


def test_the_document_lists_nothing_that_is_not_in_use():
    scanned = private_parts()
    text = "".join(path.read_text() for path in ROOT.rglob("*.py"))
    for entry in entries():
        for name in entry.names:
            assert name in scanned or name in text, name


def test_the_document_names_the_parts_of_the_package():
    scanned = private_parts()
    for entry in entries():
        used_in = set().union(*(scanned.get(name, set()) for name in entry.names))
        assert used_in <= entry.parts, entry.names


def test_every_guard_exists():
    for entry in entries():
        assert entry.guards, entry.names
        for guard in entry.guards:
            path, _, name = guard.rpartition("::")
            file = Path(__file__)
            if path:
                file = TESTS.parent / path if "/" in path else TESTS / "database" / path
            defined = {
                node.name
                for node in ast.walk(ast.parse(file.read_text()))
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            }
            assert name in defined, guard


def test_every_guarded_signature_is_compared():
    listed = {
        name for entry in entries() if "test_signatures" in entry.guards for name in entry.names
    }
    assert listed == SIGNATURES.keys()


def test_the_document_names_the_pinned_versions(checkout: Path):
    (line,) = re.findall(r"^Versions: (.*)\.$", DOCUMENT.read_text(), re.MULTILINE)
    pins = (checkout / "pyproject.toml").read_text()
    for library in line.split(", "):
        name, number = library.split()
        assert version(name) == number
        assert re.search(rf'"{name}(\[\w+\])?=={re.escape(number)}"', pins)


def test_signatures():
    command = [sys.executable, "-m", "tests.private_signatures"]
    done = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == SIGNATURES


def test_members_of_meta():
    members = {
        name.removeprefix("_meta.")
        for entry in entries()
        for name in entry.names
        if name.startswith("_meta.")
    }
    table = ContentTable._meta
    owners = (table, ContentTable.title._meta, table.constraints[0]._meta)
    assert [name for name in members if not any(hasattr(owner, name) for owner in owners)] == []
    column = ContentTable.title
    assert table.get_column_by_name("title") is column
    assert (column._meta.table, column._meta.name) == (ContentTable, "title")
    assert (column._meta._table, column._meta._name) == (ContentTable, "title")
    assert table.get_formatted_tablename() == '"content"'


def test_table_without_an_engine_asks_piccolo_once():
    class Unbound(Table):
        pass

    assert Unbound._meta._db is None
    with use_engine(DatabaseEngine("postgresql://other@h/d")) as _:
        assert Unbound._meta.db is not DB
        assert Unbound._meta._db is None
    assert Unbound._meta.db is DB
    assert Unbound._meta._db is DB


def test_engine_finder_follows_the_context():
    other = DatabaseEngine("postgresql://other@h/d")
    with use_engine(other):
        assert engine_finder() is other
    assert engine_finder() is DB


def sources(package: Any) -> dict[str, str]:
    root = Path(inspect.getfile(package)).parent
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.py")}


def test_only_the_main_function_of_piccolo_asks_for_commands():
    callers = [path for path, text in sources(piccolo).items() if ".get_commands()" in text]
    assert callers == ["main.py"]


def test_commands_use_the_replaced_classes():
    assert "ForwardsMigrationManager" in forwards.run_forwards.__code__.co_names
    assert "BackwardsMigrationManager" in backwards.run_backwards.__code__.co_names
    assert "CheckMigrationManager" in check.check.__code__.co_names
    assert "SchemaDiffer" in inspect.getsource(new.AutoMigrationManager)
    assert "JINJA_ENV.get_template" in inspect.getsource(new)
    for manager in (
        forwards.ForwardsMigrationManager,
        backwards.BackwardsMigrationManager,
        check.CheckMigrationManager,
    ):
        assert issubclass(manager, base.BaseMigrationManager)
    assert forwards.ForwardsMigrationManager.__module__ == piccolo_commands.__name__
    assert backwards.BackwardsMigrationManager.__module__ == piccolo_commands.__name__
    assert new.SchemaDiffer.__module__.startswith("learner_app.")


def test_migration_manager_has_no_further_step():
    """The package's own manager runs these steps in another order; it would omit a new one."""
    actions = "add_columns drop_columns rename_columns alter_columns add_tables drop_tables"
    actions += " rename_tables change_table_schema add_constraints drop_constraints query"
    steps = {name for name in vars(MigrationManager) if name.startswith("_run_")}
    assert steps == {f"_run_{action}" for action in actions.split()}
    assert issubclass(OwnMigrationManager, MigrationManager)


def test_piccolo_calls_the_replaced_methods_of_the_engine():
    for method in ("run_querystring", "run_ddl"):
        source = inspect.getsource(getattr(PostgresEngine, method))
        assert "_run_in_pool" in source
        assert "_run_in_new_connection" in source


def test_delegates_hold_the_clauses_of_a_query():
    query: Select[Any] = ContentTable.select(ContentTable.id)
    assert not query.limit_delegate._limit
    assert not query.offset_delegate._offset
    assert not query.order_by_delegate._order_by.order_by_items
    assert list(query.columns_delegate.selected_columns) == [ContentTable.id]
    query = query.limit(1).offset(2).order_by(ContentTable.id)
    assert query.limit_delegate._limit is not None
    assert query.offset_delegate._offset is not None
    assert len(query.order_by_delegate._order_by.order_by_items) == 1


async def test_short_passwords_of_staff_are_refused(db: DatabaseEngine):
    with pytest.raises(ValueError, match="too short"):
        await StaffUserTable.create_user(username="ada", password="x" * 11)


def test_template_of_the_admin_has_a_head():
    assert create_desk(Settings()).template.count('href="../desk.css"') == 1
