"""Health routes of the process and of its database."""

from typing import Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from learner_app.database.engine import DatabaseEngine
from learner_app.database.health import DatabaseHealth, check_database

JSON = b"application/json"
HEALTH_JSON = b"application/health+json"
"""Media type of draft-inadarei-api-health-check, used where the client accepts it."""

STATUS_WORDS = {"ok": "pass", "warn": "warn", "unavailable": "fail"}
"""Status in the words of the draft by status of the database."""

NO_STORE = {"Cache-Control": "no-store", "Vary": "Accept"}


class _Encoded(NamedTuple):
    """Response to a probe."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


async def alive(_request: Request) -> Response:
    """Answer ``GET /health`` with 200 without using the database."""
    return JSONResponse({"status": "ok"}, headers=NO_STORE)


class DatabaseRoute:
    """ASGI application that answers ``GET /health/db`` with the state of the engine's database.

    The status is 200 if the database is usable, otherwise 503. A warning, such as pending
    migrations, also has status 200. Concurrent requests share one check, whose response is encoded
    once: with a request object and a response of its own, each takes twice the time.
    """

    def __init__(self, engine: DatabaseEngine) -> None:
        self._engine = engine
        self._health: DatabaseHealth | None = None
        """Result of the check that the responses belong to."""
        self._responses: dict[bytes, _Encoded] = {}
        """Responses by media type."""

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        health = await check_database(self._engine)
        if health is not self._health:
            self._health, self._responses = health, {}
        kind = HEALTH_JSON if _accepts_health_json(scope) else JSON
        response = self._responses.get(kind)
        if response is None:
            response = self._responses[kind] = _encode(health, kind)
        headers = [*response.headers]  # a copy, which middleware may change
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body})


def _accepts_health_json(scope: Scope) -> bool:
    return any(name == b"accept" and HEALTH_JSON in value for name, value in scope["headers"])


def _encode(health: DatabaseHealth, kind: bytes) -> _Encoded:
    when = health.time.isoformat(timespec="milliseconds")
    is_draft = kind == HEALTH_JSON
    content = _as_health_json(health, when) if is_draft else vars(health) | {"time": when}
    body = msgspec.json.encode(content)
    headers = [(name.lower().encode(), value.encode()) for name, value in NO_STORE.items()]
    headers += [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
    return _Encoded(503 if health.status == "unavailable" else 200, headers, body)


def _as_health_json(health: DatabaseHealth, when: str) -> dict[str, Any]:
    status = STATUS_WORDS[health.status]
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
