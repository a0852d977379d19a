"""HTTP responses for errors of the database."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from learner_app import errors
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import DatabaseError
from learner_app.listening.rows import BehavioralEventCreate
from learner_app.web.errors import DatabaseErrors


def application(error: Exception) -> Any:
    async def fail(_request: Request) -> Response:
        raise error

    inner = FastAPI()
    inner.add_route("/x", fail)
    return Starlette(
        routes=[Route("/x", fail), Mount("/inner", inner)], middleware=[Middleware(DatabaseErrors)]
    )


async def answer(error: Exception, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(application(error), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        return await client.get(path)


@pytest.mark.parametrize("path", ["/x", "/inner/x"])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.DatabaseUnavailable("learner@secret-host"), 503),
        (errors.PoolExhausted("full"), 503),
        (errors.SerializationFailure("again"), 503),
        (errors.NotFound("gone", fields=["id"]), 404),
        (errors.Conflict("taken", fields=["email"]), 409),
        (errors.StaleVersion("old", fields=["version"]), 409),
        (errors.InvalidTransition("over", fields=["status"]), 409),
        (errors.InvalidValue("bad", fields=["format"]), 422),
        (errors.AccessDenied("no"), 403),
        (errors.StatementTimeout("slow"), 504),
        (errors.CommitUnknown("lost"), 500),
        (DatabaseError("odd"), 500),
    ],
)
async def test_status_and_fields(error: DatabaseError, status: int, path: str):
    response = await answer(error, path)
    assert response.status_code == status
    assert response.json() == {"error": type(error).__name__, "fields": list(error.fields)}
    assert ("retry-after" in response.headers) == error.retry
    assert "secret-host" not in response.text


async def test_single_error_of_a_task_group_decides_the_status():
    group = ExceptionGroup("of tasks", [errors.Conflict("taken", fields=["email"])])
    assert (await answer(group, "/x")).status_code == 409


@pytest.mark.parametrize("path", ["/x", "/inner/x"])
async def test_other_errors_are_not_changed(path: str):
    response = await answer(ZeroDivisionError(), path)
    assert (response.status_code, response.text) == (500, "Internal Server Error")


@pytest.mark.slow
async def test_admin_without_a_database_is_503(staff: httpx.AsyncClient, clone: DatabaseEngine):
    assert (await staff.get("/admin/api/tables/content/")).status_code == 200
    url, clone.url = clone.url, "postgresql://nobody@127.0.0.1:9/nowhere"
    await clone.close_connection_pool()
    await clone.start_connection_pool()
    response = await staff.get("/admin/api/tables/content/")
    assert response.status_code == 503
    assert response.headers["x-frame-options"] == "DENY"
    await clone.close_connection_pool()
    clone.url = url
    await clone.start_connection_pool()
    assert (await staff.get("/admin/api/tables/content/")).status_code == 200


@pytest.mark.filterwarnings("error")  # a deferred build would warn at the first request
async def test_inputs_of_repositories_as_bodies():
    """FastAPI refuses an invalid body before the endpoint runs, and names the fields."""
    api = FastAPI()

    @api.post("/events")
    async def record(new: BehavioralEventCreate) -> str:
        return new.id

    transport = httpx.ASGITransport(DatabaseErrors(api), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        good = {"id": "e1", "content_id": "c1", "session_id": "s1", "event_type": "play"}
        accepted = await client.post("/events", json={**good, "playback_position": 1.25})
        assert (accepted.status_code, accepted.json()) == (200, "e1")
        refused = await client.post("/events", json={**good, "playback_position": "NaN", "x": 1})
        assert refused.status_code == 422
        assert refused.json() == {"error": "InvalidValue", "fields": ["playback_position", "x"]}
        schema = (await client.get("/openapi.json")).json()
    assert "playback_position" in str(schema["components"]["schemas"]["BehavioralEventCreate"])
