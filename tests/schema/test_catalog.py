"""The migrated schema against the agreed one."""

import json
from pathlib import Path

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue
from learner_app.operations.migrate import apply_migrations
from tests.catalog import read_schema, read_table

AGREED = json.loads((Path(__file__).parent.parent / "data/listening_catalog.json").read_text())


def comparable(table: dict) -> dict:
    """As in the agreed file: without key indexes, schema names and the updated_at triggers."""
    keys = table["constraints"]
    indexes = {
        name: definition.replace(" ON public.", " ON ")
        for name, definition in table["indexes"].items()
        if name not in keys
    }
    return {
        "columns": table["columns"],
        "constraints": keys,
        "indexes": indexes,
        "policies": table["policies"],
        "row_level_security": table["row_level_security"],
    }


def agreed(table: dict) -> dict:
    def by_name(items: list) -> dict:
        return {item["name"]: item["definition"] for item in items}

    return {
        "columns": table["columns"],
        "constraints": by_name(table["constraints"]),
        "indexes": by_name(table["indexes"]),
        "policies": {},
        "row_level_security": (False, False),
    }


async def test_listening_tables_have_zero_differences(empty_database: DatabaseEngine):
    await apply_migrations(empty_database)
    connection = await empty_database.get_new_connection()
    found = {name: comparable(await read_table(connection, name)) for name in AGREED}
    await connection.close()
    assert found == {name: agreed(table) for name, table in AGREED.items()}


async def test_only_updated_at_triggers_come_on_top(db: DatabaseEngine):
    schema = await read_schema(db.enclosing_transaction().connection)
    for name in AGREED:
        has_column = any(c["name"] == "updated_at" for c in AGREED[name]["columns"])
        assert len(schema[name]["triggers"]) == has_column
    assert list(schema["functions"]) == ["touch_updated_at"]


TABLES = {
    *AGREED,
    *("users", "accounts", "auth_sessions", "verifications", "tenants", "tenant_members"),
    *("staff_users", "staff_sessions", "migration"),
}


async def test_there_are_exactly_the_agreed_tables(db: DatabaseEngine):
    schema = await read_schema(db.enclosing_transaction().connection)
    assert schema.keys() - {"functions"} == TABLES


USER = "INSERT INTO users (email, hashed_password{}) VALUES ('a@b', 'x'{})"
TENANT = "INSERT INTO tenants (id, name, slug{}) VALUES ('{{}}', 'A', '{}'{})"


@pytest.mark.parametrize(
    ("constraint", "statement"),
    [
        ("check_email_lower", USER.format("", "").replace("a@b", "A@b")),
        ("check_target_score_range", USER.format(", target_score", ", 101")),
        ("check_daily_study_time", USER.format(", daily_study_time", ", 0")),
        ("check_knowledge_level", USER.format(", knowledge_level", ", 'beginner'")),
        ("check_referral_source", USER.format(", referral_source", ", 'Elsewhere'")),
        ("check_dark_mode", USER.format(", dark_mode", ", 'no'")),
        ("tenants_slug_check", TENANT.format("", "No one", "")),
        ("tenants_slug_check", TENANT.format("", "-a", "")),
        ("tenants_status_check", TENANT.format(", status", "a", ", 'new'")),
    ],
)
async def test_checks_refuse(db: DatabaseEngine, constraint: str, statement: str):
    tenant = "00000000-0000-4000-8000-000000000001"
    await db.run_ddl(f"SET LOCAL app.current_tenant_id = '{tenant}'")
    with pytest.raises(InvalidValue) as caught:
        await db.run_ddl(statement.format(tenant))
    assert caught.value.constraint == constraint


@pytest.mark.parametrize(
    ("column", "statement"),
    [
        ("hashed_password", "INSERT INTO users (email) VALUES ('a@b')"),
        ("expires_at", "INSERT INTO verifications (identifier, value_hash) VALUES ('a', 'b')"),
        ("id", "INSERT INTO sessions DEFAULT VALUES"),
    ],
)
async def test_columns_without_a_default_are_asked_for(
    db: DatabaseEngine, column: str, statement: str
):
    with pytest.raises(InvalidValue) as caught:
        await db.run_ddl(statement)
    assert caught.value.fields == (column,)
