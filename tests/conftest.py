"""Databases for the tests: those of ``learner_app.testing`` under short names, and bare ones.

``db``: the test runs in a transaction that is rolled back. ``clone``: it has a database of its own,
a copy of the migrated template, for code that commits. ``empty_database``: one without any table.
"""

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from piccolo.apps.user.tables import BaseUser

from learner_app.admin.staff import add_staff
from learner_app.conf import DB
from learner_app.database.engine import DatabaseEngine
from learner_app.testing.servers import OwnServer, TestServer
from learner_app.web.app import create_app
from tests.debian import DEBIAN_15
from tests.environment import skip_outside_ci
from tests.operations.two_roles import TwoRoles
from tests.product import Product
from tests.web.staff import sign_in

pytest_plugins = ["learner_app.testing.plugin", "tests.options"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A job in the background of a shell ignores Ctrl-C, and so would the programs that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return one worker more than there are processors, since tests often wait for a timeout.

    The suites with limits of time need the machine alone and have no workers.
    """
    if config.option.markexpr.startswith(("stress", "faults")):
        return 0
    return len(os.sched_getaffinity(0)) + 1


@pytest.fixture(scope="session", autouse=True)
def _cheap_staff_passwords() -> None:
    """Hash passwords of staff with few iterations: tests of the admin hash hundreds of them."""
    BaseUser._pbkdf2_iteration_count = 1000


@pytest.fixture(scope="session")
def main_server(learner_server: TestServer) -> TestServer:
    """The server that most tests use."""
    return learner_server


@pytest.fixture(scope="session")
def debian_server() -> Iterator[TestServer]:
    if not (DEBIAN_15 / "bin" / "postgres").exists():
        skip_outside_ci("Debian's postgresql-15 is not installed")
    server = OwnServer(DEBIAN_15)
    yield server
    server.stop()


@pytest.fixture
def db(learner_db: DatabaseEngine) -> DatabaseEngine:
    """The engine, inside a transaction that is rolled back after the test."""
    return learner_db


@pytest.fixture
def clone(learner_committed_db: DatabaseEngine) -> DatabaseEngine:
    """The engine with its pool, on a database of the test's own."""
    return learner_committed_db


@pytest.fixture(params=["embedded", pytest.param("debian_15", marks=pytest.mark.slow)])
def any_server(request: pytest.FixtureRequest) -> TestServer:
    """Return each kind of server that the package supports; by default the embedded one only."""
    name = "main_server" if request.param == "embedded" else "debian_server"
    return request.getfixturevalue(name)


@pytest.fixture(scope="session")
async def _emptied(main_server: TestServer) -> AsyncIterator[dict[TestServer, str]]:
    """By server the one database that every test finds without any table."""
    names: dict[TestServer, str] = {}
    yield names
    if main_server in names:  # it may be a given one, the other goes as a whole
        await main_server.drop(names[main_server])


@pytest.fixture
async def empty_database(
    any_server: TestServer, _emptied: dict[TestServer, str]
) -> AsyncIterator[DatabaseEngine]:
    """The engine with its pool, on an empty database."""
    if any_server not in _emptied:
        _emptied[any_server] = await any_server.create()
    DB.url = any_server.url(_emptied[any_server])
    connection = await asyncpg.connect(DB.url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()
    async with DB.running():
        yield DB
    DB.url = None


@pytest.fixture
async def two_roles(any_server: TestServer) -> AsyncIterator[TwoRoles]:
    """Names of roles and a database that do not exist yet."""
    if not isinstance(any_server, OwnServer):
        pytest.skip("only the superuser of a server of the tests may create roles")
    names = TwoRoles(any_server)
    yield names
    await names.remove()


@pytest.fixture
async def separated(two_roles: TwoRoles) -> TwoRoles:
    """A migrated database with both roles."""
    await two_roles.set_up()
    await two_roles.migrate()
    return two_roles


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


@pytest.fixture
async def client(clone: DatabaseEngine) -> AsyncIterator[httpx.AsyncClient]:
    """A browser's view of the application, without a browser."""
    app = create_app(clone)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
    ):
        yield client


@pytest.fixture
async def staff(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """The same, signed in."""
    response = await sign_in(client, "clara", await add_staff("clara"))
    assert response.status_code == 200
    client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
    return client
