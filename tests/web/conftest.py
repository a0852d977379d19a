from collections.abc import AsyncIterator

import httpx
import pytest

from learner_app.admin.staff import add_staff
from learner_app.database.engine import DatabaseEngine
from learner_app.web.app import create_app


@pytest.fixture
async def client(clone: DatabaseEngine) -> AsyncIterator[httpx.AsyncClient]:
    """A browser's view of the application, without a browser."""
    app = create_app(clone)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
    ):
        yield client


async def sign_in(client: httpx.AsyncClient, name: str, password: str) -> httpx.Response:
    await client.get("/admin/public/login/")
    token = client.cookies["csrftoken"]
    form = {"username": name, "password": password, "csrftoken": token}
    return await client.post("/admin/public/login/", data=form, headers={"X-CSRFToken": token})


@pytest.fixture
async def staff(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """The same, signed in."""
    response = await sign_in(client, "clara", await add_staff("clara"))
    assert response.status_code == 200
    client.headers["X-CSRFToken"] = client.cookies["csrftoken"]
    return client
