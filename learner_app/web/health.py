"""Health routes of the process and of its database."""

import dataclasses
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from learner_app.database.health import DatabaseHealth, check_database

NO_STORE = {"Cache-Control": "no-store", "Vary": "Accept"}
HEALTH_JSON = "application/health+json"
"""Media type of draft-inadarei-api-health-check, used where the client accepts it."""

STATUS_WORDS = {"ok": "pass", "warn": "warn", "unavailable": "fail"}
"""Status in the words of the draft by status of the database."""


async def alive(_request: Request) -> Response:
    """Answer ``GET /health`` with 200 without using the database."""
    return JSONResponse({"status": "ok"}, headers=NO_STORE)


async def database(request: Request) -> Response:
    """Answer ``GET /health/db`` with 200 if the database is usable, otherwise with 503.

    A warning, such as pending migrations, also has status 200.
    """
    health = await check_database(request.app.state.engine)
    status_code = 503 if health.status == "unavailable" else 200
    if HEALTH_JSON in request.headers.get("accept", ""):
        return JSONResponse(_as_health_json(health), status_code, NO_STORE, HEALTH_JSON)
    body = dataclasses.asdict(health) | {"time": _time(health)}
    return JSONResponse(body, status_code, NO_STORE)


def _as_health_json(health: DatabaseHealth) -> dict[str, Any]:
    status, when = STATUS_WORDS[health.status], _time(health)
    checks: dict[str, list[dict[str, Any]]] = {
        "database:responseTime": [
            {
                "componentType": "datastore",
                "observedValue": health.latency_ms,
                "observedUnit": "ms",
                "status": status,
                "time": when,
            }
        ]
    }
    if health.pool is not None:
        checks["pool:connections"] = [
            {"componentType": "component", "observedValue": health.pool.in_use, "time": when}
        ]
    if health.pending_migrations is not None:
        checks["migrations:pending"] = [
            {"componentType": "component", "observedValue": health.pending_migrations, "time": when}
        ]
    return {"status": status, "checks": checks} | (
        {"output": health.reason} if health.reason else {}
    )


def _time(health: DatabaseHealth) -> str:
    return health.time.isoformat(timespec="milliseconds")
