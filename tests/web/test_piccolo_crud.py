"""PiccoloCRUD in an application without the middleware of this package."""

import logging
import re

import pytest
from httpx import ASGITransport, AsyncClient, Response
from piccolo.columns import ForeignKey, Integer, OnDelete, Varchar
from piccolo.constraints import Check
from piccolo.table import Table
from piccolo_api.crud.endpoints import PiccoloCRUD
from starlette.applications import Starlette
from starlette.routing import Mount

from learner_app.conf import DB
from learner_app.database.engine import DatabaseEngine

CANARY = "hunter2-canary"


class Shelf(Table, db=DB):
    name = Varchar(length=40, unique=True, null=False)
    height = Integer(null=False, default=1)
    tall = Check(condition=height > 0)


class Volume(Table, db=DB):
    title = Varchar(length=10, null=False, default=None)
    shelf = ForeignKey(references=Shelf, on_delete=OnDelete.restrict, null=False)


@pytest.fixture
async def client(clone: DatabaseEngine):
    await clone.execute(f"""
        CREATE TABLE shelf (id serial PRIMARY KEY, name varchar(40) NOT NULL UNIQUE,
            height int NOT NULL DEFAULT 1 CONSTRAINT tall CHECK (height > 0));
        CREATE TABLE volume (id serial PRIMARY KEY, title varchar(10) NOT NULL,
            shelf int NOT NULL REFERENCES shelf ON DELETE RESTRICT);
        INSERT INTO shelf (name) VALUES ('{CANARY}'), ('other');
        INSERT INTO volume (title, shelf) VALUES ('one', 1)
    """)
    shelves = PiccoloCRUD(table=Shelf, read_only=False)
    volumes = PiccoloCRUD(table=Volume, read_only=False)
    app = Starlette(routes=[Mount("/shelf", shelves), Mount("/volume", volumes)])
    async with AsyncClient(transport=ASGITransport(app), base_url="http://t") as client:
        yield client


SHELF = {"name": "new", "height": 1}

CASES = [
    ("POST", "/shelf/", {"name": CANARY, "height": 1}, "unique constraint"),
    ("PUT", "/shelf/2/", {"name": CANARY, "height": 1}, "unique constraint"),
    ("PATCH", "/shelf/2/", {"name": CANARY}, "unique constraint"),
    ("POST", "/shelf/", {"name": CANARY + "2", "height": -7654321}, "check constraint"),
    ("PATCH", "/shelf/1/", {"height": -7654321}, "check constraint"),
    ("POST", "/volume/", {"title": "x", "shelf": 7654321}, "foreign key constraint"),
    ("PATCH", "/volume/1/", {"shelf": 7654321}, "foreign key constraint"),
    ("DELETE", "/shelf/1/", None, "foreign key constraint"),
    ("PATCH", "/volume/1/", {"title": None}, "not-null constraint"),
]


@pytest.mark.parametrize(("method", "path", "body", "says"), CASES)
async def test_a_violated_constraint_is_answered_with_422_and_no_value(
    client: AsyncClient,
    method: str,
    path: str,
    body: dict[str, object] | None,
    says: str,
    caplog: pytest.LogCaptureFixture,
):
    response: Response = await client.request(method, path, json=body)
    assert response.status_code == 422, response.text
    assert re.search(says, response.json()["db_error"])
    logged = "".join(logging.Formatter().format(record) for record in caplog.records)
    assert "violation" in logged
    for text in (response.text, logged):
        assert CANARY not in text
        assert "7654321" not in text


async def test_a_text_that_is_too_long_is_refused(client: AsyncClient):
    response = await client.post("/volume/", json={"title": "x" * 11, "shelf": 1})
    assert response.status_code == 400
    response = await client.post("/shelf/", json=SHELF)
    assert response.status_code == 201
