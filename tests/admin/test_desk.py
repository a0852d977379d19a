"""The desk: read-only tables, staff accounts and login."""

import re

import httpx
import pytest

from learner_app.admin.desk import TABLES
from learner_app.admin.staff import add_staff, renew_password
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import StaffError
from learner_app.operations.seed.insert import insert_seed
from tests.web.staff import sign_in

SHOWN = {
    "content",
    "sessions",
    "behavioral_events",
    "learner_model_state",
    "user_preferences",
    "generation_status",
}
LEFT_OUT = (
    *("users", "accounts", "auth_sessions", "verifications", "tenants", "tenant_members"),
    *("like_engagement", "staff_users", "staff_sessions", "migration"),
)


async def test_requests_without_a_login_are_refused(client: httpx.AsyncClient):
    for path in ("tables/", "tables/content/", "tables/content/schema/", "user/"):
        assert (await client.get(f"/admin/api/{path}")).status_code == 401


async def test_tables_are_grouped_by_domain(staff: httpx.AsyncClient):
    grouped = (await staff.get("/admin/api/tables/grouped/")).json()
    assert grouped["ungrouped"] == []
    assert grouped["grouped"].keys() == {"Content", "Listening", "Learner", "Generation"}
    assert {name for names in grouped["grouped"].values() for name in names} == SHOWN


async def test_other_tables_are_left_out(staff: httpx.AsyncClient):
    for table in LEFT_OUT:
        assert (await staff.get(f"/admin/api/tables/{table}/")).status_code == 404, table


async def test_lists_show_rows_of_every_table(staff: httpx.AsyncClient, clone: DatabaseEngine):
    await insert_seed(clone)
    for table in SHOWN:
        response = await staff.get(f"/admin/api/tables/{table}/")
        assert response.status_code == 200
        assert response.json()["rows"], table


async def test_every_column_has_a_help_text():
    for declared in TABLES:
        assert declared.table._meta.help_text
        for column in declared.table._meta.columns:
            assert column._meta.help_text, f"{declared.table.__name__}.{column._meta.name}"


async def test_every_write_is_refused(staff: httpx.AsyncClient, clone: DatabaseEngine):
    await insert_seed(clone)
    one = "/admin/api/tables/content/content-il-faro-1/"
    before = (await staff.get(one)).json()
    for path in ("/admin/api/tables/content/", one):
        for verb in ("POST", "PUT", "PATCH", "DELETE"):
            response = await staff.request(verb, path, json={"title": "changed"})
            assert response.status_code == 405, (verb, path)
    assert (await staff.get(one)).json() == before
    assert (await staff.get("/admin/api/tables/content/count/")).json()["count"] == 26


async def test_password_is_random_hashed_and_shown_once(clone: DatabaseEngine):
    first, second = await add_staff("ada"), await add_staff("bea")
    assert first != second
    assert len(first) >= 16
    text = str(await clone.fetch("SELECT * FROM staff_users"))
    assert first not in text
    assert len(re.findall(r"pbkdf2_sha256\$", text)) == 2


@pytest.mark.slow
async def test_taken_empty_and_long_names_are_refused(clone: DatabaseEngine):
    await add_staff("ada")
    for name in ("ada", "", "x" * 101):
        with pytest.raises(StaffError):
            await add_staff(name)
    with pytest.raises(StaffError, match="learner staff add"):
        await renew_password("nobody")


async def test_new_password_ends_login_sessions(staff: httpx.AsyncClient):
    password = await renew_password("clara")
    assert (await staff.get("/admin/api/user/")).status_code == 401
    assert (await sign_in(staff, "clara", password)).status_code == 200


async def test_wrong_password_is_refused(client: httpx.AsyncClient):
    await add_staff("clara")
    assert (await sign_in(client, "clara", "wrong-password")).status_code == 401


async def test_users_of_the_product_cannot_sign_in(
    client: httpx.AsyncClient, clone: DatabaseEngine
):
    await insert_seed(clone)
    response = await sign_in(client, "admin@example.com", "AdminPassword123!")
    assert response.status_code == 401
