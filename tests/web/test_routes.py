"""The pages and probes, as a client meets them."""

from datetime import UTC, datetime

import httpx

from learner_app.database.engine import DatabaseEngine
from learner_app.web.app import create_app

FIELDS = {"status", "reason", "database", "latency_ms", "pool", "pending_migrations", "time"}


async def test_start_page_leads_on(client: httpx.AsyncClient):
    response = await client.get("/")
    assert response.status_code == 200
    assert 'href="/admin/"' in response.text
    assert 'href="/health/db"' in response.text


async def test_admin_without_slash_leads_on(client: httpx.AsyncClient):
    response = await client.get("/admin", follow_redirects=True)
    assert response.status_code == 200
    assert response.url.path == "/admin/"


async def test_alive(client: httpx.AsyncClient):
    response = await client.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


async def test_healthy_database(client: httpx.AsyncClient):
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


async def test_database_away_is_503_and_says_nothing_else():
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
