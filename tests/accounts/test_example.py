"""The example service, over HTTP."""

import importlib.util
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from learner_app.accounts.repositories import AuthSessionRepository
from learner_app.database.engine import DatabaseEngine
from tests.accounts.factories import PASSWORD

ANNA = {"email": "Anna@Example.com", "password": PASSWORD}
NEW = "another-horse-8"


@pytest.fixture
def sent() -> list[tuple[str, str]]:
    return []


@pytest.fixture
async def app(clone: DatabaseEngine, checkout: Path, sent: list[tuple[str, str]]) -> Any:
    path = checkout / "examples" / "accounts_service.py"
    spec = importlib.util.spec_from_file_location("accounts_service", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    async def mail(email: str, code: SecretStr) -> None:
        sent.append((email, code.get_secret_value()))

    return module.create_app(mail)


@pytest.fixture
async def client(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(app) as client:
        yield client


def browser(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://a.example")


async def test_a_user_registers_signs_out_and_signs_in_again(client: httpx.AsyncClient):
    assert (await client.get("/me")).status_code == 401
    answer = await client.post("/register", json={**ANNA, "name": "Anna"})
    assert answer.status_code == 201
    assert answer.json()["email"] == "anna@example.com"
    cookie = answer.headers["set-cookie"].lower()
    for part in ("__host-session=", "httponly", "secure", "samesite=lax", "path=/"):
        assert part in cookie
    me = await client.get("/me")
    assert (me.status_code, me.json()["name"]) == (200, "Anna")
    assert "hash" not in me.text
    assert (await client.post("/sign-out")).status_code == 204
    assert (await client.get("/me")).status_code == 401
    assert (await client.post("/sign-in", json=ANNA)).status_code == 204
    assert (await client.get("/me")).status_code == 200


async def test_errors_have_a_status_and_name_the_field(client: httpx.AsyncClient):
    await client.post("/register", json=ANNA)
    answer = await client.post("/register", json=ANNA)
    assert (answer.status_code, answer.json()["fields"]) == (409, ["email"])
    for path, given, fields in (
        ("/register", {"email": "nonsense", "password": "pw-canary-1"}, ["email"]),
        ("/register", {"email": "b@example.com", "password": "canary"}, ["password"]),
        ("/sign-in", {"email": "b@example.com"}, ["password"]),
    ):
        answer = await client.post(path, json=given)
        assert (answer.status_code, answer.json()["fields"]) == (422, fields)
        assert "canary" not in answer.text
    for email in ("anna@example.com", "nobody@example.com"):
        answer = await client.post("/sign-in", json={"email": email, "password": "wrong-pass-1"})
        assert (answer.status_code, answer.text) == (401, "wrong address or password")
    assert (await client.post("/sign-in", data=ANNA)).status_code == 415


async def test_changing_the_password_signs_other_devices_out(app: Any, client: httpx.AsyncClient):
    await client.post("/register", json=ANNA)
    async with browser(app) as other:
        await other.post("/sign-in", json=ANNA)
        wrong = await client.post("/password", json={"old": "wrong-pass-1", "new": NEW})
        assert wrong.status_code == 403
        weak = await client.post("/password", json={"old": PASSWORD, "new": "weak"})
        assert (weak.status_code, weak.json()["fields"]) == (422, ["password"])
        changed = await client.post("/password", json={"old": PASSWORD, "new": NEW})
        assert changed.status_code == 204
        assert (await client.get("/me")).status_code == 200
        assert (await other.get("/me")).status_code == 401
        assert (await other.post("/sign-in", json=ANNA)).status_code == 401
        assert (await other.post("/sign-in", json={**ANNA, "password": NEW})).status_code == 204


async def test_a_forgotten_password_is_reset_with_a_code(
    client: httpx.AsyncClient, sent: list[tuple[str, str]]
):
    await client.post("/register", json=ANNA)
    told = [
        await client.post("/password/forgotten", json={"email": email})
        for email in ("ANNA@example.com", "nobody@example.com", "nonsense")
    ]
    assert {(answer.status_code, answer.text) for answer in told} == {(202, "")}
    ((address, code),) = sent
    assert address == "anna@example.com"
    given = {"email": "Anna@example.com", "code": code, "password": NEW}
    for wrong in ({"code": "x"}, {"email": "nobody@example.com"}):
        answer = await client.post("/password/reset", json={**given, **wrong})
        assert answer.status_code == 400
    weak = await client.post("/password/reset", json={**given, "password": "weak"})
    assert weak.status_code == 422
    assert (await client.post("/password/reset", json=given)).status_code == 204
    assert (await client.post("/password/reset", json=given)).status_code == 400
    assert (await client.get("/me")).status_code == 401, "all devices are signed out"
    assert await AuthSessionRepository().count() == 0
    assert (await client.post("/sign-in", json={**ANNA, "password": NEW})).status_code == 204


def test_the_service_has_no_sql(checkout: Path):
    text = (checkout / "examples" / "accounts_service.py").read_text()
    for word in ("SELECT ", "INSERT ", "UPDATE ", "DELETE ", "execute(", "piccolo"):
        assert word not in text
