"""Databases for tests: ``learner_db`` is rolled back, ``learner_committed_db`` is a copy."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, NoReturn, get_args

import pytest
import pytest_asyncio
from piccolo.engine.finder import engine_finder

from learner_app.conf import DB
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import LearnerError, ServerError
from learner_app.operations.embedded import embedded_binaries
from learner_app.operations.migrate import apply_migrations
from learner_app.settings import connection_variables
from learner_app.testing.plugin import GIVEN_URL
from learner_app.testing.servers import OwnServer, TestServer, run_in_thread

LoopScope = Literal["function", "class", "module", "package", "session"]
NO_SERVER = "no PostgreSQL for the tests: install learner-app[embedded], or set TEST_DATABASE_URL"
OTHER_ENGINE = "piccolo_conf.py must take its engine from us: from learner_app.conf import DB"
POOL_IS_OPEN = (
    "the pool of DB is open already: use learner_db or learner_committed_db, not both, and close a "
    "pool that was opened before"
)
DEBUGGING_SECONDS = 86_400


@pytest.fixture(scope="session")
def learner_server(pytestconfig: pytest.Config) -> Iterator[TestServer]:
    """The server of TEST_DATABASE_URL, else an embedded one, started once a run and worker."""
    given = pytestconfig.stash[GIVEN_URL]
    if given:
        yield TestServer(given, given)
        return
    try:
        embedded_binaries()
    except ServerError:
        _end_run(pytestconfig, NO_SERVER)
    try:
        server = OwnServer()
    except ServerError as error:
        _end_run(pytestconfig, str(error))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def learner_template(learner_server: TestServer, pytestconfig: pytest.Config) -> Iterator[str]:
    """A database with the migrations of all apps of ``piccolo_conf.py``, for copying only."""
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
    """With one line; a worker of pytest-xdist cannot end the run, its tests fail with the line."""
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
    """``learner_app.conf.DB``, inside a transaction that is rolled back after the test.

    What the test calls takes part in it; its own transactions are savepoints, and nothing is
    ever committed.
    """
    return _on_loop_of_test("rolled_back", request)


@pytest.fixture
def learner_committed_db(request: pytest.FixtureRequest) -> DatabaseEngine:
    """``learner_app.conf.DB`` on a migrated database of the test's own, for code that commits."""
    return _on_loop_of_test("own", request)


def _on_loop_of_test(kind: str, request: pytest.FixtureRequest) -> DatabaseEngine:
    """A pool belongs to one event loop, and each test may name its own."""
    marker = request.node.get_closest_marker("asyncio")
    scope = marker.kwargs.get("loop_scope") if marker else None
    scope = scope or request.config.getini("asyncio_default_test_loop_scope") or "function"
    engine: DatabaseEngine = request.getfixturevalue(f"_learner_{kind}_on_{scope}_loop")
    return engine


def _rolled_back(scope: LoopScope) -> Callable[..., Any]:
    @pytest_asyncio.fixture(loop_scope=scope, name=f"_learner_rolled_back_on_{scope}_loop")
    async def rolled_back(_learner_shared: str) -> AsyncIterator[DatabaseEngine]:
        with _engine_on(_learner_shared), suppress(_TestIsOver):
            # Who stops in a debugger keeps the transaction.
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


for _scope in get_args(LoopScope):  # pytest finds fixtures by the names of a module
    globals()[f"_rolled_back_on_{_scope}_loop"] = _rolled_back(_scope)
    globals()[f"_own_on_{_scope}_loop"] = _own(_scope)


class _TestIsOver(Exception):  # a signal, never seen outside
    """Undoes the transaction, as an error in its block would."""


@contextmanager
def _engine_on(url: str) -> Iterator[None]:
    """The engine on that database, with the settings of this moment."""
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
    """No test sees settings that another one, or an imported module with a ``.env``, left."""
    with pytest.MonkeyPatch.context() as patch:
        for name in connection_variables():
            patch.delenv(name)
        DB.settings = None
        yield
    DB.settings = None
