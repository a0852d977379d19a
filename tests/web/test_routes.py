"""Start page, health routes and security headers."""

from datetime import UTC, datetime

import httpx
import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.settings import Settings
from learner_app.web.app import create_app

FIELDS = {"status", "reason", "database", "latency_ms", "pool", "pending_migrations", "time"}


async def test_start_page_links_to_admin_and_health(client: httpx.AsyncClient):
    response = await client.get("/")
    assert response.status_code == 200
    assert 'href="/admin/"' in response.text
    assert 'href="/health/db"' in response.text


async def test_admin_without_a_slash_redirects(client: httpx.AsyncClient):
    response = await client.get("/admin", follow_redirects=True)
    assert response.status_code == 200
    assert response.url.path == "/admin/"


async def test_health_needs_no_database(client: httpx.AsyncClient):
    response = await client.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_usable_database_is_200_with_all_fields(client: httpx.AsyncClient):
    response = await client.get("/health/db")
    body = response.json()
    assert response.status_code == 200
    assert body.keys() == FIELDS
    assert (body["status"], body["database"], body["pending_migrations"]) == ("ok", "up", 0)
    assert body["latency_ms"] > 0
    assert body["pool"].keys() == {"size", "idle", "in_use", "waiting", "min", "max"}
    age = datetime.now(UTC) - datetime.fromisoformat(body["time"])
    assert abs(age.total_seconds()) < 60
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.slow
async def test_unreachable_database_is_503_without_details_of_the_server():
    engine = DatabaseEngine("postgresql://someone:canary@127.0.0.1:9/secret_name")
    app = create_app(engine)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client,
    ):
        assert (await client.get("/health")).status_code == 200
        response = await client.get("/health/db")
    assert response.status_code == 503
    body = response.json()
    assert body.keys() == FIELDS
    assert (body["status"], body["reason"]) == ("unavailable", "unreachable")
    assert body["database"] == "down"
    for word in ("canary", "someone", "127.0.0.1", "secret_name"):
        assert word not in response.text


async def test_every_response_has_security_headers(client: httpx.AsyncClient):
    for path in ("/", "/health", "/health/db", "/admin/", "/nowhere"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


async def test_health_json_is_returned_if_it_is_accepted(client: httpx.AsyncClient):
    response = await client.get("/health/db", headers={"Accept": "application/health+json"})
    assert response.headers["content-type"] == "application/health+json"
    body = response.json()
    assert (response.status_code, body["status"]) == (200, "pass")
    assert "output" not in body
    assert body["checks"].keys() == {
        "database:responseTime",
        "pool:connections",
        "migrations:pending",
    }
    assert body["checks"]["migrations:pending"][0]["observedValue"] == 0


async def test_pending_migrations_are_a_warning(empty_database: DatabaseEngine):
    app = create_app(empty_database)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        plain = await client.get("/health/db")
        other = await client.get("/health/db", headers={"Accept": "application/health+json"})
    assert (plain.status_code, plain.json()["status"]) == (200, "warn")
    assert plain.json()["reason"] == "migrations_pending"
    assert (other.status_code, other.json()["status"]) == (200, "warn")
    assert other.json()["output"] == "migrations_pending"


async def test_application_with_db_required_does_not_start_without_a_database():
    engine = DatabaseEngine("postgresql://someone:canary@127.0.0.1:9/secret_name")
    engine.settings = Settings(db_required=True, db_retry_attempts=2, db_retry_initial=0.01)
    app = create_app(engine)
    messages: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, object]) -> None:
        messages.append(message)

    await app({"type": "lifespan", "state": {}}, receive, send)
    (message,) = messages
    assert message["type"] == "lifespan.startup.failed"
    assert "is PostgreSQL running there?" in str(message["message"])
    assert "canary" not in str(message["message"])
