"""Fixtures ``learner_db`` (rolled back) and ``learner_committed_db`` (a copy per test)."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, NoReturn, get_args

import pytest
import pytest_asyncio
from piccolo.engine.finder import engine_finder

from learner_app.conf import DB
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import EmbeddedServerError, LearnerError
from learner_app.operations.embedded import embedded_binaries
from learner_app.operations.migrate import apply_migrations
from learner_app.settings import connection_variables
from learner_app.testing.plugin import TEST_DATABASE_URL
from learner_app.testing.servers import ConfiguredServer, OwnServer, TestServer, run_in_thread

LoopScope = Literal["function", "class", "module", "package", "session"]
NO_SERVER = "the tests need PostgreSQL: install learner-app[embedded], or set TEST_DATABASE_URL"
OTHER_ENGINE = "piccolo_conf.py must import its engine: from learner_app.conf import DB"
POOL_IS_OPEN = (
    "the pool of DB is open already: use learner_db or learner_committed_db, not both, and close "
    "every pool that you open"
)
DEBUGGING_SECONDS = 86_400


@pytest.fixture(scope="session")
def learner_server(pytestconfig: pytest.Config) -> Iterator[TestServer]:
    """Return the server of TEST_DATABASE_URL, or start an embedded one for this worker."""
    url = pytestconfig.stash[TEST_DATABASE_URL]
    if url:
        yield ConfiguredServer(url)
        return
    try:
        embedded_binaries()
    except EmbeddedServerError:
        _end_run(pytestconfig, NO_SERVER)
    try:
        server = OwnServer()
    except EmbeddedServerError as error:
        _end_run(pytestconfig, str(error))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def learner_template(learner_server: TestServer, pytestconfig: pytest.Config) -> Iterator[str]:
    """Return the name of a migrated database, which tests copy and never connect to."""
    if engine_finder() is not DB:
        _end_run(pytestconfig, OTHER_ENGINE)
    try:
        name = run_in_thread(learner_server.create(prefix="learner_test_template"))
        with _engine_on(learner_server.url(name)):
            run_in_thread(_migrate())
    except LearnerError as error:
        _end_run(pytestconfig, str(error))
    yield name
    run_in_thread(learner_server.drop(name))


def _end_run(config: pytest.Config, line: str) -> NoReturn:
    """End the test run with one line.

    A worker of pytest-xdist cannot end the run; its tests fail with that line.
    """
    if hasattr(config, "workerinput"):
        raise pytest.fail.Exception(line, pytrace=False) from None
    pytest.exit(line, 3)


async def _migrate() -> None:
    async with DB.running():
        await apply_migrations(DB)


@pytest.fixture(scope="session")
def _learner_shared(learner_server: TestServer, learner_template: str) -> Iterator[str]:
    name = run_in_thread(learner_server.create(learner_template))
    yield learner_server.url(name)
    run_in_thread(learner_server.drop(name))


@pytest.fixture
def learner_db(request: pytest.FixtureRequest) -> DatabaseEngine:
    """Return ``learner_app.conf.DB`` in a transaction that is rolled back after the test.

    Transactions of the test and of the code under test are savepoints in it.
    """
    return _on_loop_of_test("rolled_back", request)


@pytest.fixture
def learner_committed_db(request: pytest.FixtureRequest) -> DatabaseEngine:
    """Return ``learner_app.conf.DB`` on a migrated database of this test, for code that commits."""
    return _on_loop_of_test("own", request)


def _on_loop_of_test(kind: str, request: pytest.FixtureRequest) -> DatabaseEngine:
    """Return the fixture for the loop scope of the test, since a pool belongs to one event loop."""
    marker = request.node.get_closest_marker("asyncio")
    scope = marker.kwargs.get("loop_scope") if marker else None
    scope = scope or request.config.getini("asyncio_default_test_loop_scope") or "function"
    engine: DatabaseEngine = request.getfixturevalue(f"_learner_{kind}_on_{scope}_loop")
    return engine


def _rolled_back(scope: LoopScope) -> Callable[..., Any]:
    @pytest_asyncio.fixture(loop_scope=scope, name=f"_learner_rolled_back_on_{scope}_loop")
    async def rolled_back(_learner_shared: str) -> AsyncIterator[DatabaseEngine]:
        with _engine_on(_learner_shared), suppress(_TestIsOver):
            # A test that waits in a debugger must not lose its transaction.
            DB.settings.db_idle_in_transaction_timeout = DEBUGGING_SECONDS
            async with DB.running(), DB.transaction():
                yield DB
                raise _TestIsOver

    return rolled_back


def _own(scope: LoopScope) -> Callable[..., Any]:
    @pytest_asyncio.fixture(loop_scope=scope, name=f"_learner_own_on_{scope}_loop")
    async def own(
        learner_server: TestServer, learner_template: str
    ) -> AsyncIterator[DatabaseEngine]:
        name = await learner_server.create(learner_template)
        try:
            with _engine_on(learner_server.url(name)):
                async with DB.running():
                    yield DB
        finally:
            await learner_server.drop(name)

    return own


for _scope in get_args(LoopScope):  # pytest finds fixtures by their names in the module
    globals()[f"_rolled_back_on_{_scope}_loop"] = _rolled_back(_scope)
    globals()[f"_own_on_{_scope}_loop"] = _own(_scope)


class _TestIsOver(Exception):
    """Signal that rolls the transaction back, internal to this module."""


@contextmanager
def _engine_on(url: str) -> Iterator[None]:
    """Connect the engine to that database, with settings read from the current environment."""
    if DB.pool is not None:
        pytest.fail(POOL_IS_OPEN, pytrace=False)
    before = DB.url
    DB.url, DB.settings = url, None
    try:
        yield
    finally:
        DB.url, DB.settings = before, None


@pytest.fixture(autouse=True)
def _learner_settings() -> Iterator[None]:
    """Remove settings that another test, or an imported module with a ``.env``, has set."""
    with pytest.MonkeyPatch.context() as patch:
        for name in connection_variables():
            patch.delenv(name)
        DB.settings = None
        yield
    DB.settings = None
