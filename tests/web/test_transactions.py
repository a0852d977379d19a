"""Transaction around an endpoint of Starlette and FastAPI, and clients that disconnect."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, HTTPException
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from learner_app.database.engine import DatabaseEngine
from learner_app.web.transactions import in_transaction, transactional
from tests.database.pools import reopen
from tests.database.sessions import add, keys


async def like(request: Request) -> Response:
    await add(request.path_params["key"])
    await asyncio.gather(add("other"), add("third"))
    if request.path_params["key"] == "bad":
        raise HTTPException(409)
    return JSONResponse({})


def starlette() -> Any:
    return Starlette(routes=[Route("/{key}", transactional(like), methods=["POST"])])


def fastapi() -> Any:
    api = FastAPI()

    @api.post("/{key}", dependencies=[in_transaction])
    async def _like(request: Request) -> dict[str, str]:
        await like(request)
        return {}

    return api


def browser(app: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://x")


@pytest.mark.parametrize("make", [starlette, fastapi])
async def test_endpoint_that_raises_is_rolled_back(clone: DatabaseEngine, make: Any):
    async with browser(make()) as client:
        assert (await client.post("/bad")).status_code == 409
        assert await keys() == []
        assert (await client.post("/good")).status_code == 200
    assert await keys() == ["good", "other", "third"]
    assert not clone.transaction_exists()


@pytest.mark.parametrize("make", [starlette, fastapi])
async def test_failed_commit_is_not_reported_as_success(clone: DatabaseEngine, make: Any):
    await clone.execute(
        "CREATE TABLE part (whole text REFERENCES content (id) DEFERRABLE INITIALLY DEFERRED)"
    )
    await clone.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO part VALUES ('missing'); RETURN new; END $$"
    )
    await clone.execute(
        "CREATE TRIGGER fail AFTER INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION fail()"
    )
    async with browser(make()) as client:
        assert (await client.post("/good")).status_code == 500
    assert await keys() == []


async def rows(engine: DatabaseEngine) -> AsyncIterator[bytes]:
    async with engine.transaction():
        await add("lost")
        async for row in engine.stream(_sessions(), batch=10):
            yield row["id"].encode() * 1000
            await asyncio.sleep(0.001)


def _sessions() -> Any:
    from learner_app.listening.tables import ListeningSessionTable

    return ListeningSessionTable.select(ListeningSessionTable.id)


async def serve(app: Any, leave_after: int, spec_version: str) -> None:
    """Run one request whose client disconnects after some parts of the body."""
    parts, gone = 0, asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal parts
        parts += message["type"] == "http.response.body"
        if parts >= leave_after:
            gone.set()
            if spec_version >= "2.4":
                raise OSError("the client is gone")

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": spec_version},
        "method": "GET",
        "path": "/",
        "headers": [],
        "query_string": b"",
    }
    await app(scope, receive, send)


@pytest.mark.parametrize("spec_version", ["2.3", "2.4"])
async def test_client_that_disconnects_during_a_stream_returns_the_connection(
    clone: DatabaseEngine, spec_version: str
):
    await reopen(clone, db_pool_max=2, db_acquire_timeout=1)
    await clone.execute("INSERT INTO sessions (id) SELECT i::text FROM generate_series(1, 500) i")

    async def stream(_request: Request) -> Response:
        return StreamingResponse(rows(clone))

    app = Starlette(routes=[Route("/", stream)])
    for leave_after in (1, 3, 12, 40):
        with suppress(ClientDisconnect):  # so the server is told by newer versions
            await asyncio.create_task(serve(app, leave_after, spec_version))
        async with asyncio.timeout(5):
            while clone.pool.in_use:
                await asyncio.sleep(0.01)
    assert len(await keys()) == 500
