"""Tables of any app whose rows belong to a tenant."""

from collections.abc import Callable

import pytest
from piccolo.columns import Text, Varchar
from piccolo.table import Table

from learner_app.conf import DB
from learner_app.errors import AccessDenied
from learner_app.schema.session_settings import TENANT_SETTING
from learner_app.schema.tenant_fields import TenantFields
from tests.schema.changing import App

ONE = "00000000-0000-4000-8000-000000000001"
TWO = "00000000-0000-4000-8000-000000000002"


class NoteTable(TenantFields, Table, tablename="notes"):
    id = Varchar(9, primary_key=True, default=None)
    body = Text(default=None)


class LabelTable(TenantFields, Table, tablename="labels"):
    id = Varchar(9, primary_key=True, default=None)


async def insert(key: str, owner: str, tenant: str) -> None:
    async with DB.transaction():
        await DB.execute("SELECT set_config($1, $2, true)", TENANT_SETTING, tenant)
        await DB.execute("INSERT INTO notes (id, body, tenant_id) VALUES ($1, 'a', $2)", key, owner)


async def visible(tenant: str) -> list[str]:
    async with DB.transaction():
        await DB.execute("SELECT set_config($1, $2, true)", TENANT_SETTING, tenant)
        return [row["id"] for row in await DB.fetch("SELECT id FROM notes ORDER BY 1")]


async def test_rows_are_visible_and_writable_in_their_tenant_only(make_app: Callable[[], App]):
    await make_app().migrate([NoteTable, LabelTable])
    await insert("n1", ONE, ONE)
    await insert("n2", TWO, TWO)
    for tenant in (ONE, ""):
        with pytest.raises(AccessDenied):
            await insert("n3", TWO, tenant)
    assert (await visible(ONE), await visible(TWO), await visible("")) == (["n1"], ["n2"], [])
    assert await DB.fetch("SELECT id FROM notes") == []
    assert await DB.execute("UPDATE notes SET body = ''") == "UPDATE 0"


async def test_each_table_has_its_own_objects(make_app: Callable[[], App]):
    schema = await make_app().migrate([NoteTable, LabelTable])
    for table in ("notes", "labels"):
        assert f"idx_{table}_tenant_id" in schema[table]["indexes"]
        assert f"{table}_isolation" in schema[table]["policies"]
        assert f"{table}_touch_updated_at" in schema[table]["triggers"]
        assert schema[table]["row_level_security"] == (True, True)
