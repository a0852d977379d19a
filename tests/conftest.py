"""Databases for the tests.

``db``: the test runs in a transaction that is rolled back. ``clone``: it has a database of its own,
a copy of the migrated template, for code that commits. ``empty_database``: one without any table.
"""

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

import learner_app.settings
from learner_app.conf import DB
from learner_app.database.engine import DatabaseEngine
from learner_app.database.target import Target, find_target, parse_url
from learner_app.operations.migrate import apply_migrations
from learner_app.settings import Settings, load_settings
from tests.product import PROJECT, Product
from tests.servers import DEBIAN_15, Servers, TestServer

IN_CI = bool(os.environ.get("CI"))
ENVIRONMENT = [name.upper() for name in Settings.model_fields]


def pytest_configure(config: pytest.Config) -> None:
    settings = load_settings()
    url = None
    if settings.test_database_url:
        url = settings.test_database_url.get_secret_value()
        target = parse_url("TEST_DATABASE_URL", url)
        if not re.search(r"(^|[^a-z])tests?([^a-z]|$)", target.database.lower()):
            pytest.exit("TEST_DATABASE_URL: the name of its database must say test", 3)
        if settings.names_database and asyncio.run(_is_same(find_target(settings), target)):
            pytest.exit("TEST_DATABASE_URL is the database of DATABASE_URL, refused", 3)
    for name in (*ENVIRONMENT, *(name for name in os.environ if name.startswith("PG"))):
        os.environ.pop(name, None)
    learner_app.settings.project_folder = lambda: PROJECT
    config.stash[_servers] = Servers(url)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _servers in config.stash:
        config.stash[_servers].stop()


_servers = pytest.StashKey[Servers]()


async def _is_same(one: Target, other: Target) -> bool:
    """Whether both are one database, however their servers are called."""
    if (one.hosts, one.ports, one.database) == (other.hosts, other.ports, other.database):
        return True
    identities = []
    for target in (one, other):
        try:
            connection = await asyncpg.connect(**target.connect_arguments(Settings()), timeout=3)
        except (OSError, asyncpg.PostgresError):
            return False  # the one that is not there cannot be harmed
        identities.append(
            await connection.fetchrow(
                "SELECT system_identifier, current_database() FROM pg_control_system()"
            )
        )
        await connection.close()
    return identities[0] == identities[1]


def skip_outside_ci(reason: str) -> None:
    """Skip where something is not installed; in CI it has to be."""
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Servers:
    return request.config.stash[_servers]


@pytest.fixture(scope="session")
def main_server(servers: Servers) -> TestServer:
    """The server that most tests use."""
    return servers.main


@pytest.fixture(scope="session")
async def template(main_server: TestServer) -> AsyncIterator[str]:
    """A database with all migrations, for copying only."""
    name = await main_server.create(prefix="learner_test_template")
    DB.url = main_server.url(name)
    async with DB.running():
        await apply_migrations(DB)
    yield name
    await main_server.drop(name)


@pytest.fixture(scope="session")
async def _shared(main_server: TestServer, template: str) -> AsyncIterator[str]:
    name = await main_server.create(template)
    yield main_server.url(name)
    await main_server.drop(name)


@pytest.fixture
async def db(_shared: str) -> AsyncIterator[DatabaseEngine]:
    """The engine, inside a transaction that is rolled back after the test."""
    DB.url = _shared
    async with DB.running():
        transaction = DB.transaction()
        await transaction.__aenter__()
        try:
            yield DB
        finally:
            if transaction.is_open:
                await transaction.rollback()
            await transaction.__aexit__(None, None, None)


@pytest.fixture
async def clone(main_server: TestServer, template: str) -> AsyncIterator[DatabaseEngine]:
    """The engine with its pool, on a database of the test's own."""
    name = await main_server.create(template)
    DB.url = main_server.url(name)
    await DB.start_connection_pool()
    try:
        yield DB
    finally:
        await DB.close_connection_pool()
        await main_server.drop(name)


@pytest.fixture(params=["embedded", "debian_15"])
def any_server(request: pytest.FixtureRequest, servers: Servers) -> TestServer:
    """Both kinds of server that the schema is checked on."""
    if request.param == "embedded":
        return servers.main
    if not (DEBIAN_15 / "bin" / "postgres").exists():
        skip_outside_ci("Debian's postgresql-15 is not installed")
    return servers.debian_15


@pytest.fixture
async def empty_database(any_server: TestServer) -> AsyncIterator[DatabaseEngine]:
    """The engine with its pool, on an empty database."""
    DB.url = any_server.url(await any_server.emptied())
    await DB.start_connection_pool()
    try:
        yield DB
    finally:
        await DB.close_connection_pool()


@pytest.fixture
def checkout() -> Path:
    return Path(__file__).parent.parent


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A temporary folder that a server started by root can enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="learner-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def product(open_folder: Path) -> Iterator[Product]:
    """``learner up``, not started yet, on a data folder with a space in its path."""
    product = Product(open_folder / "a folder" / "learner data")
    yield product
    if product.process and product.process.poll() is None:
        product.stop()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test sees or leaves settings of the developer's."""
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    DB._settings = None
    yield
    DB._settings = None
