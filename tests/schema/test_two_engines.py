"""Migrations act on the engine that they receive, also concurrently in one process."""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

from learner_app.conf import DB
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import MigrationError
from learner_app.operations.migrate import (
    apply_migrations,
    migration_states,
    plan_migrations,
    plan_roll_back,
    roll_back,
)
from learner_app.operations.reset import drop_tables, plan_reset
from learner_app.schema.migration_history import MigrationHistory
from learner_app.schema.migration_runner import MigrationRunner
from learner_app.schema.pending import declared_migrations, pending_migrations
from learner_app.testing.servers import TestServer
from tests.catalog import read_schema
from tests.schema.changing import App, article

pytestmark = pytest.mark.parametrize("any_server", ["embedded"], indirect=True)


@pytest.fixture
async def others(
    main_server: TestServer, empty_database: DatabaseEngine
) -> AsyncIterator[list[DatabaseEngine]]:
    """Two empty databases beside the configured one, which is empty too."""
    names = [await main_server.create() for _ in range(2)]
    engines = [DatabaseEngine(main_server.url(name)) for name in names]
    async with engines[0].running(), engines[1].running():
        yield engines
    for name in names:
        await main_server.drop(name)


async def schema_of(engine: DatabaseEngine) -> dict:
    connection = await engine.get_new_connection()
    try:
        return await read_schema(connection)
    finally:
        await connection.close()


EMPTY: dict = {"functions": {}}


async def test_only_the_given_database_is_migrated(others: list[DatabaseEngine]):
    other, _ = others
    assert 'CREATE TABLE "content"' in await plan_migrations(other)
    assert await apply_migrations(other) == len(declared_migrations())
    assert {"content", "tenants", "migration"} <= (await schema_of(other)).keys()
    assert await schema_of(DB) == EMPTY
    assert await plan_migrations(other) == ""
    assert 'CREATE TABLE "content"' in await plan_migrations(DB)
    assert all(state.applied_at for state in await migration_states(other))
    assert not any(state.applied_at for state in await migration_states(DB))
    assert await apply_migrations(other) == 0


@pytest.mark.slow
async def test_only_the_given_database_is_rolled_back_and_reset(others: list[DatabaseEngine]):
    other, _ = others
    await apply_migrations(DB)
    migrated = await schema_of(DB)
    assert await plan_roll_back(other, "tenancy", "1") == ""
    await apply_migrations(other)
    assert 'DROP TABLE "tenant' in await plan_roll_back(other, "tenancy", "1")
    await roll_back(other, "tenancy", "all")
    assert "tenants" not in await schema_of(other)
    assert await schema_of(DB) == migrated
    await drop_tables(other, await plan_reset(other))
    assert await schema_of(other) == EMPTY
    assert await schema_of(DB) == migrated


@pytest.mark.slow
async def test_databases_are_migrated_concurrently(others: list[DatabaseEngine]):
    output = sys.stdout
    applied = await asyncio.gather(*(apply_migrations(engine) for engine in (*others, DB, *others)))
    assert sys.stdout is output
    assert set(applied) <= {0, len(declared_migrations())}
    schemas = [await schema_of(engine) for engine in (*others, DB)]
    assert schemas[0] == schemas[1] == schemas[2]
    for engine in (*others, DB):
        connection = await engine.get_new_connection()
        assert await pending_migrations(connection) == []
        rows = await connection.fetchval("SELECT count(*) FROM migration")
        await connection.close()
        assert rows == len(declared_migrations())


@pytest.mark.slow
async def test_one_is_migrated_while_another_is_rolled_back(others: list[DatabaseEngine]):
    first, second = others
    await apply_migrations(first)
    await asyncio.gather(roll_back(first, "tenancy", "all"), apply_migrations(second))
    assert "tenants" not in await schema_of(first)
    assert "tenants" in await schema_of(second)


@pytest.mark.parametrize("accepts_engine", [True, False])
async def test_a_function_changes_the_given_database_or_is_refused(
    make_app, others: list[DatabaseEngine], accepts_engine: bool
):
    other, _ = others
    app: App = make_app()
    await app.migrate(article())
    app.write_by_hand(
        "async def fill(engine):\n        await engine.execute(SQL)"
        if accepts_engine
        else "async def fill():\n        await DB.execute(SQL)",
        sql="INSERT INTO author (id) VALUES ('a')",
    )
    runner = MigrationRunner(other, app.config, report=lambda _line: None)
    await MigrationHistory(other).create()
    pending = await runner.to_apply()
    if accepts_engine:
        await runner.apply(pending)
        assert await other.fetchval("SELECT count(*) FROM author") == 1
    else:
        with pytest.raises(MigrationError, match=r"declare it as `async def fill\(engine\)`"):
            await runner.apply(pending)
        assert await other.fetchval("SELECT count(*) FROM author") == 0
    assert await DB.fetchval("SELECT count(*) FROM author") == 0


async def test_piccolo_queries_of_a_function_run_on_the_given_database(
    make_app, others: list[DatabaseEngine]
):
    other, _ = others
    app: App = make_app()
    tables = article()
    await app.migrate(tables)
    app.write_by_hand(
        "async def fill(_engine):\n"
        "        from piccolo.conf.apps import Finder\n"
        f"        author = Finder().get_app_config('{app.name}').table_classes[0]\n"
        "        await author.insert(author(id='a'))",
    )
    runner = MigrationRunner(other, app.config, report=lambda _line: None)
    await MigrationHistory(other).create()
    await runner.apply(await runner.to_apply())
    assert await other.fetchval("SELECT count(*) FROM author") == 1
    assert await DB.fetchval("SELECT count(*) FROM author") == 0


async def test_queries_of_a_snapshot_run_on_the_given_database(
    make_app, others: list[DatabaseEngine]
):
    other, _ = others
    app: App = make_app()
    await app.migrate(article())
    app.write_by_hand(
        "async def fill(engine):\n"
        "        table = await manager.get_table_from_snapshot('Author', None)\n"
        "        await table.insert(table(id='a'))",
    )
    await MigrationHistory(other).create()
    runner = MigrationRunner(other, app.config, report=lambda _line: None)
    await runner.apply(await runner.to_apply())
    assert await other.fetchval("SELECT count(*) FROM author") == 1
    assert await DB.fetchval("SELECT count(*) FROM author") == 0
