"""Two applications on two databases in one process."""

import asyncio
import contextvars
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from learner_app.admin.staff import add_staff, has_staff, renew_password
from learner_app.admin.tables import StaffSessionTable, StaffUserTable
from learner_app.conf import DB
from learner_app.content.tables import ContentTable
from learner_app.database.engine import DatabaseEngine
from learner_app.listening.repositories import ListeningSessionRepository
from learner_app.listening.tables import ListeningSessionTable
from learner_app.schema.piccolo_hooks import current_engine, use_engine
from learner_app.testing.servers import TestServer
from learner_app.up import prepare
from learner_app.web.app import create_app
from learner_app.web.transactions import in_transaction, in_transaction_of, transactional
from tests.web.staff import sign_in

STAFF, SESSIONS, PRODUCT = "staff_users", "staff_sessions", "sessions"


class App(NamedTuple):
    engine: DatabaseEngine
    client: httpx.AsyncClient
    application: Any


@pytest.fixture
async def other(learner_server: TestServer, learner_template: str) -> AsyncIterator[DatabaseEngine]:
    """An engine on a second migrated database, without a pool."""
    name = await learner_server.create(learner_template)
    yield DatabaseEngine(learner_server.url(name))
    await learner_server.drop(name)


@asynccontextmanager
async def served(engine: DatabaseEngine, *routes: Any) -> AsyncIterator[App]:
    application = create_app(engine)
    application.router.routes[:0] = routes
    transport = httpx.ASGITransport(application)
    async with (
        application.router.lifespan_context(application),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
    ):
        yield App(engine, client, application)


@asynccontextmanager
async def both(one: DatabaseEngine, two: DatabaseEngine, *routes: Any) -> AsyncIterator[list[App]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(served(engine, *routes)) for engine in (one, two)]


async def count(engine: DatabaseEngine, table: str) -> int:
    return await engine.fetchval(f"SELECT count(*) FROM {table}")


async def test_admin_signs_in_and_lists_on_the_passed_database(
    clone: DatabaseEngine, other: DatabaseEngine
):
    async with served(other) as app:
        password = await add_staff("clara", other)
        await other.execute("INSERT INTO sessions (id) VALUES ('in-other')")
        await clone.execute("INSERT INTO sessions (id) VALUES ('in-configured')")
        assert (await sign_in(app.client, "clara", password)).status_code == 200
        listed = await app.client.get("/admin/api/tables/sessions/")
        assert [row["id"] for row in listed.json()["rows"]] == ["in-other"]
        assert (await count(other, SESSIONS), await count(clone, SESSIONS)) == (1, 0)
        assert (await count(other, STAFF), await count(clone, STAFF)) == (1, 0)


@pytest.mark.slow
@pytest.mark.long
async def test_two_admins_work_concurrently_each_on_its_database(
    clone: DatabaseEngine, other: DatabaseEngine
):
    async with both(clone, other) as apps:
        for number, app in enumerate(apps):
            app.client.headers["X-Test"] = str(number)
            await app.engine.execute(f"INSERT INTO sessions (id) VALUES ('only-{number}')")
        passwords = [await add_staff("clara", app.engine) for app in apps]
        answers = [sign_in(app.client, "clara", passwords[i]) for i, app in enumerate(apps)]
        assert [answer.status_code for answer in await asyncio.gather(*answers)] == [200, 200]
        requests = [app.client.get("/admin/api/tables/sessions/") for app in apps * 20]
        listed = await asyncio.gather(*requests)
        ids = [[row["id"] for row in response.json()["rows"]] for response in listed]
        assert ids == [["only-0"], ["only-1"]] * 20
        for app, foreign in zip(apps, reversed(passwords), strict=True):
            assert (await sign_in(app.client, "clara", foreign)).status_code == 401


@pytest.mark.slow
@pytest.mark.long
async def test_password_changed_in_an_admin_is_written_to_its_database(
    clone: DatabaseEngine, other: DatabaseEngine
):
    stored = "SELECT password FROM staff_users WHERE username = 'clara'"
    async with both(clone, other) as apps:
        await add_staff("clara", clone)
        password = await add_staff("clara", other)
        before = await clone.fetchval(stored), await other.fetchval(stored)
        client = apps[1].client
        assert (await sign_in(client, "clara", password)).status_code == 200
        form = {
            "current_password": password,
            "new_password": "a-new-password-1",
            "confirm_new_password": "a-new-password-1",
            "csrftoken": client.cookies["csrftoken"],
        }
        headers = {"X-CSRFToken": client.cookies["csrftoken"]}
        changed = await client.post("/admin/api/change-password/", data=form, headers=headers)
        assert changed.status_code < 400, changed.text
        assert await clone.fetchval(stored) == before[0]
        assert await other.fetchval(stored) != before[1]


async def test_staff_functions_act_on_the_engine_they_receive(
    clone: DatabaseEngine, other: DatabaseEngine
):
    async with other.running():
        assert not await has_staff(other)
        first = await add_staff("ada", other)
        assert (await has_staff(other), await has_staff(clone), await has_staff()) == (
            True,
            False,
            False,
        )
        assert await renew_password("ada", engine=other) != first
        with use_engine(other):
            assert await has_staff()
            await add_staff("bea")
        assert (await count(other, STAFF), await count(clone, STAFF)) == (2, 0)


async def test_preparation_of_learner_up_acts_on_the_engine_it_receives(
    clone: DatabaseEngine, other: DatabaseEngine
):
    async with other.running():
        prepared = await prepare(other, seed=True, seed_if_empty=False, staff=True)
        assert prepared.seeded_rows > 0
        assert prepared.staff_password is not None
        again = await prepare(other, seed=False, seed_if_empty=True, staff=True)
        assert (again.migrations, again.seeded_rows, again.staff_password) == (0, 0, None)
        assert (await count(other, STAFF), await count(clone, STAFF)) == (1, 0)
        assert await count(other, PRODUCT) > 0
        assert await count(clone, PRODUCT) == 0


async def add_session(key: str) -> None:
    await ListeningSessionTable.insert(ListeningSessionTable(id=key))


async def everywhere(request: Request) -> Response:
    """Write from every kind of code that a request may run."""
    number = request.path_params["number"]

    def in_thread() -> None:
        assert current_engine() is request.app.state.engine

    async def body() -> AsyncIterator[bytes]:
        await add_session(f"{number}-stream")
        yield b"done"

    await add_session(f"{number}-endpoint")
    await asyncio.gather(*(add_session(f"{number}-task-{i}") for i in range(3)))
    await ListeningSessionRepository().get_or_create(f"{number}-repository")
    await run_in_threadpool(in_thread)
    await asyncio.to_thread(in_thread)
    return StreamingResponse(body(), background=BackgroundTask(add_session, f"{number}-background"))


async def test_tasks_streams_background_tasks_and_threads_use_the_engine_of_their_application(
    clone: DatabaseEngine, other: DatabaseEngine
):
    route = Route("/write/{number}", everywhere)
    async with both(clone, other, route) as apps:
        paths = [(app, f"/write/{index}") for index, app in enumerate(apps)]
        answers = await asyncio.gather(*(app.client.get(path) for app, path in paths))
        assert [answer.text for answer in answers] == ["done", "done"]
        for number, app in enumerate(apps):
            found = await app.engine.fetch("SELECT id FROM sessions ORDER BY id")
            parts = (
                "background",
                "endpoint",
                "repository",
                "stream",
                *(f"task-{i}" for i in "012"),
            )
            assert [row["id"] for row in found] == [f"{number}-{part}" for part in parts]


async def test_nothing_of_an_application_outlives_its_requests(
    clone: DatabaseEngine, other: DatabaseEngine
):
    context = contextvars.copy_context()
    async with served(other, Route("/write/{number}", everywhere)) as app:
        await app.client.get("/write/1")
        assert current_engine() is DB
        assert ContentTable._meta.db is DB
        assert context.run(current_engine) is DB
    assert await count(clone, PRODUCT) == 0


async def test_thread_without_the_context_uses_no_foreign_pool(
    clone: DatabaseEngine, other: DatabaseEngine
):
    """A plain executor inherits no context variable, so it sees the configured engine."""
    with use_engine(other), ThreadPoolExecutor(1) as executor:
        assert executor.submit(current_engine).result() is DB
        assert current_engine() is other


async def test_table_of_a_third_engine_keeps_it(clone: DatabaseEngine, other: DatabaseEngine):
    third = DatabaseEngine(clone.url)
    configured = StaffSessionTable._meta._db
    StaffSessionTable._meta.db = third
    try:
        with use_engine(other):
            assert StaffSessionTable._meta.db is third
            assert StaffUserTable._meta.db is other
            with use_engine(clone):
                assert StaffUserTable._meta.db is clone
            assert StaffUserTable._meta.db is other
    finally:
        StaffSessionTable._meta._db = configured


async def fail_after_insert(request: Request) -> Response:
    await add_session(request.path_params["key"])
    if request.path_params["key"].startswith("bad"):
        raise RuntimeError
    return JSONResponse({})


def fastapi(dependency: Any) -> FastAPI:
    api = FastAPI()

    @api.post("/{key}", dependencies=[dependency])
    async def _insert(request: Request) -> dict[str, str]:
        await fail_after_insert(request)
        return {}

    return api


async def test_endpoint_transactions_use_the_engine_of_their_application(
    clone: DatabaseEngine, other: DatabaseEngine
):
    routes = (
        Route("/plain/{key}", transactional(fail_after_insert), methods=["POST"]),
        Mount("/fast", fastapi(in_transaction)),
    )
    async with both(clone, other, *routes) as apps:
        for app in apps:
            for path in ("/plain/bad-1", "/fast/bad-2"):
                with pytest.raises(RuntimeError):
                    await app.client.post(path)
            assert await count(app.engine, PRODUCT) == 0
        await asyncio.gather(*(app.client.post(f"/plain/{n}") for n, app in enumerate(apps)))
        await asyncio.gather(*(app.client.post(f"/fast/f{n}") for n, app in enumerate(apps)))
        for number, app in enumerate(apps):
            found = await app.engine.fetch("SELECT id FROM sessions ORDER BY id")
            assert [row["id"] for row in found] == [str(number), f"f{number}"]


async def test_endpoint_transactions_use_the_engine_they_receive(
    clone: DatabaseEngine, other: DatabaseEngine
):
    async def insert(request: Request) -> Response:
        await other.execute("INSERT INTO sessions (id) VALUES ($1)", request.path_params["key"])
        assert (other.transaction_exists(), clone.transaction_exists()) == (True, False)
        if request.path_params["key"].startswith("bad"):
            raise RuntimeError
        return JSONResponse({})

    api = FastAPI()

    @api.post("/{key}", dependencies=[in_transaction_of(other)])
    async def _insert(request: Request) -> None:
        await insert(request)

    routes = (
        Route("/function/{key}", transactional(insert, engine=other), methods=["POST"]),
        Route("/decorator/{key}", transactional(engine=other)(insert), methods=["POST"]),
        Mount("/fast", api),
    )
    async with other.running(), served(clone, *routes) as app:
        for path in ("/function", "/decorator", "/fast"):
            with pytest.raises(RuntimeError):
                await app.client.post(f"{path}/bad")
            assert await count(other, PRODUCT) == 0
        for path in ("/function", "/decorator", "/fast"):
            assert (await app.client.post(f"{path}/from-{path[1:]}")).status_code == 200
        assert (await count(other, PRODUCT), await count(clone, PRODUCT)) == (3, 0)
