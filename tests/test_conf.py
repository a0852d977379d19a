"""Importing the configuration has no side effect; commands prepare the engine themselves."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from piccolo.conf.apps import AppConfig

from learner_app.conf import APP_REGISTRY, DB
from learner_app.database.engine import DatabaseEngine
from learner_app.schema import piccolo_hooks
from learner_app.testing.servers import TestServer
from tests.product import PROJECT

PICCOLO = Path(sys.executable).with_name("piccolo")

NO_SIDE_EFFECT = """
import os, sys
before = dict(os.environ), sys.excepthook, list(sys.path), threading_count()
import learner_app.conf
assert before == (dict(os.environ), sys.excepthook, list(sys.path), threading_count())
assert learner_app.conf.DB.needs_pool
assert not learner_app.conf.DB.connections.connects_as_owner
assert not learner_app.conf.DB.connections.exits_without_database
assert learner_app.conf.DB.pool is None
print("imported")
"""


def python(
    *arguments: str | Path, folder: Path = PROJECT, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["learner/service.py", "piccolo/main.py", "learner_app/cli.py", "migrations.py"]
)
@pytest.mark.variants
def test_import_has_no_side_effect_whatever_the_script_is_called(tmp_path: Path, name: str):
    script = tmp_path / name
    script.parent.mkdir(exist_ok=True)
    script.write_text(
        "import sys; sys.path.pop(0)\nimport threading\n"
        "threading_count = threading.active_count\n" + NO_SIDE_EFFECT
    )
    for arguments in ((), ("migrations", "forwards", "all"), ("user",)):
        done = python(script, *arguments, folder=tmp_path, DATABASE_URL="not a url")
        assert (done.returncode, done.stdout, done.stderr) == (0, "imported\n", "")


@pytest.mark.slow
@pytest.mark.long
def test_project_without_piccolo_conf_uses_the_package(tmp_path: Path):
    script = (
        "import learner_app.conf, os; from piccolo.engine import engine_finder;"
        "from learner_app.content.tables import ContentTable;"
        "print(engine_finder() is learner_app.conf.DB is ContentTable._meta.db,"
        " 'PICCOLO_CONF' in os.environ)"
    )
    done = python("-c", script, folder=tmp_path)
    assert done.stdout == "True False\n", done.stderr


@pytest.mark.slow
def test_project_with_piccolo_conf_uses_its_own(tmp_path: Path):
    (tmp_path / "piccolo_conf.py").write_text(
        "from learner_app.conf import APP_REGISTRY\n"
        "from learner_app.database.engine import DatabaseEngine\n"
        "DB = DatabaseEngine('postgresql://own@h/own')\n"
    )
    script = "import learner_app.conf; from piccolo.engine import engine_finder;"
    done = python("-c", script + "print(engine_finder().url)", folder=tmp_path)
    assert done.stdout == "postgresql://own@h/own\n", done.stderr


def piccolo(*arguments: str, url: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "piccolo.main", *arguments, DATABASE_URL=url, **environment)


@pytest.mark.slow
@pytest.mark.long
async def test_piccolo_commands_need_no_pool(clone: DatabaseEngine):
    checked = piccolo("migrations", "check", url=clone.url)
    assert checked.returncode == 0, checked.stderr
    assert "| True" in checked.stdout
    created = piccolo(
        *("fixtures", "dump", "--apps=content"),
        url=clone.url,
    )
    assert created.returncode == 0, created.stdout + created.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [("migrations", "forwards", "all"), ("fixtures", "dump"), ("sql_shell", "run")]
)
@pytest.mark.variants
def test_piccolo_command_without_a_database_ends_with_one_line(tmp_path: Path, command: tuple):
    done = piccolo(*command, LEARNER_DATA=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("no database is configured")
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_piccolo_command_that_needs_no_database_runs_without_one(tmp_path: Path):
    done = piccolo("app", "show_all", LEARNER_DATA=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "learner_app.content.piccolo_app" in done.stdout


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """``sys.argv`` of a command; the engine is as before afterwards."""
    names = ("needs_pool", "exits_without_database", "connects_as_owner")
    before = {name: getattr(DB.connections, name) for name in names}
    yield monkeypatch
    for name, value in before.items():
        setattr(DB.connections, name, value)


@pytest.mark.parametrize(
    ("command", "exits", "as_owner"),
    [
        (["migrations", "forwards", "all"], True, True),
        (["user", "create"], True, False),
        (["fixtures", "load"], True, False),
        (["app", "new", "shop"], False, False),
        (["shell", "run"], False, False),
    ],
)
def test_piccolo_prepares_the_engine_when_it_asks_for_commands(
    arguments: pytest.MonkeyPatch, command: list[str], exits: bool, as_owner: bool
):
    arguments.setattr("sys.argv", ["piccolo", *command])
    config: AppConfig = next(iter(APP_REGISTRY.app_configs.values()))
    assert config.get_commands() == []
    assert not DB.needs_pool
    assert DB.connections.exits_without_database is exits
    assert DB.connections.connects_as_owner is as_owner


def test_hooks_are_installed_once():
    engine = AppConfig.get_commands
    piccolo_hooks.install()
    assert AppConfig.get_commands is engine


SCRIPT = """
from learner_app.conf import DB
from learner_app.script import run_script

async def main():
    return await DB.fetchval("SELECT 41 + 1")

print(run_script(main))
"""


@pytest.mark.slow
def test_script_without_settings_ends_with_one_line(tmp_path: Path):
    for variables in ({"LEARNER_DATA": str(tmp_path)}, {"DB_POOL_MAX": "0"}):
        done = python("-c", SCRIPT, **variables)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.slow
async def test_script_runs_with_a_pool(clone: DatabaseEngine):
    done = python("-c", SCRIPT, DATABASE_URL=clone.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "42\n", "")


@pytest.mark.slow
async def test_statement_of_a_script_without_a_pool_is_an_error(main_server: TestServer):
    script = "import asyncio; from learner_app.conf import DB; asyncio.run(DB.fetchval('SELECT 1'))"
    done = python("-c", script, DATABASE_URL=main_server.url("postgres"))
    assert done.returncode == 1
    assert "PoolNotStarted" in done.stderr


@pytest.mark.slow
def test_project_without_apps_is_one_line_everywhere(tmp_path: Path):
    (tmp_path / "piccolo_conf.py").write_text("from learner_app.conf import DB\n")
    url = "postgresql://nobody@127.0.0.1:1/nothing"
    serve = ("uvicorn", "learner_app.web.app:app", "--port", "0")
    for command in (("learner_app", "status"), ("learner_app", "migrate"), serve):
        done = python("-m", *command, folder=tmp_path, DATABASE_URL=url)
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert "piccolo_conf defines no APP_REGISTRY: add `from learner_app.conf" in done.stderr
