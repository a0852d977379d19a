"""The migrated schema against the agreed one."""

import json
from pathlib import Path

import pytest

from learner_app.database.engine import DatabaseEngine
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
    schema = await read_schema(db.transaction()._parent.connection)
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
    schema = await read_schema(db.transaction()._parent.connection)
    assert schema.keys() - {"functions"} == TABLES


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        ("users", "INSERT INTO users (email, hashed_password) VALUES ('Ada@example.com', 'x')"),
        (
            "users",
            "INSERT INTO users (email, hashed_password, target_score) VALUES ('a@b', 'x', 101)",
        ),
        (
            "users",
            "INSERT INTO users (email, hashed_password, dark_mode) VALUES ('a@b', 'x', 'no')",
        ),
        (
            "users",
            "INSERT INTO users (email, hashed_password, daily_study_time) VALUES ('a@b', 'x', 0)",
        ),
        ("users", "INSERT INTO users (email) VALUES ('a@b')"),
        ("verifications", "INSERT INTO verifications (identifier, value_hash) VALUES ('a', 'b')"),
        ("sessions", "INSERT INTO sessions DEFAULT VALUES"),
        ("tenants", "INSERT INTO tenants (name, slug) VALUES ('Ada', 'Not a label')"),
    ],
)
async def test_bad_rows_are_refused(db: DatabaseEngine, table: str, statement: str):
    connection = db.transaction()._parent.connection
    with pytest.raises(Exception, match=f'"{table}'):
        await connection.execute(statement)
