"""Health routes: is the process alive, and can it use its database."""

import dataclasses

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from learner_app.database.health import check_database

NO_STORE = {"Cache-Control": "no-store"}


async def alive(_request: Request) -> Response:
    """``GET /health``: the process answers; nothing else is touched."""
    return JSONResponse({"status": "ok"}, headers=NO_STORE)


async def database(request: Request) -> Response:
    """``GET /health/db``: 200 when the database answers within a second, else 503."""
    health = await check_database(request.app.state.engine)
    body = dataclasses.asdict(health) | {"time": health.time.isoformat(timespec="milliseconds")}
    return JSONResponse(body, 200 if health.database == "up" else 503, headers=NO_STORE)
