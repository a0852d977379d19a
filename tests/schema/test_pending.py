"""Plans, states and probes write nothing; each schema has its own history."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from piccolo.apps.migrations.commands.check import CheckMigrationManager

from learner_app.conf import DB
from learner_app.database.engine import DatabaseEngine
from learner_app.database.health import check_database
from learner_app.errors import MigrationError
from learner_app.operations.migrate import (
    apply_migrations,
    migration_states,
    plan_migrations,
    plan_roll_back,
    roll_back,
)
from learner_app.schema.pending import declared_migrations, pending_migrations
from tests.catalog import read_schema
from tests.commands import piccolo, run

EMBEDDED = pytest.mark.parametrize("any_server", ["embedded"], indirect=True)

RELATIONS = "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"
TABLES_OF = "SELECT count(*) FROM pg_tables WHERE schemaname = $1"


def with_options(url: str, options: str) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{options}"


@pytest.fixture(params=["without CREATE", "read only"])
async def restricted(
    request: pytest.FixtureRequest, empty_database: DatabaseEngine
) -> DatabaseEngine:
    """The engine as a role that may create nothing, or in read-only transactions alone."""
    await DB.close_connection_pool()
    if request.param == "read only":
        DB.url = with_options(DB.url, "default_transaction_read_only=on")
    else:
        owner = await DB.get_new_connection()
        await owner.execute(
            "REVOKE ALL ON SCHEMA public FROM CURRENT_USER;"
            "GRANT USAGE ON SCHEMA public TO CURRENT_USER"
        )
        await owner.close()
    return DB


async def relations() -> list[str]:
    connection = await DB.get_new_connection()
    try:
        return [row[0] for row in await connection.fetch(RELATIONS)]
    finally:
        await connection.close()


async def test_before_the_first_migration_all_are_pending(restricted: DatabaseEngine):
    assert 'CREATE TABLE "content"' in await plan_migrations(restricted)
    states = await migration_states(restricted)
    assert {(state.app, state.id) for state in states} == declared_migrations()
    assert {state.applied_at for state in states} == {None}
    assert await plan_roll_back(DB, "content", "1") == ""
    assert await CheckMigrationManager("all").have_ran_count() == 0
    assert (await check_database(restricted)).pending_migrations == len(declared_migrations())
    assert await relations() == []


@pytest.mark.slow
@EMBEDDED
@pytest.mark.variants
async def test_the_commands_write_nothing_either(restricted: DatabaseEngine):
    planned = run("migrate", "--plan", url=restricted.url)
    assert 'CREATE TABLE "content"' in planned.stdout, planned.stderr
    assert run("status", url=restricted.url).stdout.count("pending") == len(declared_migrations())
    assert run("rollback", "content", url=restricted.url).stdout == "Nothing is applied.\n"
    for command in (
        ("check",),
        ("forwards", "all", "--preview"),
        ("backwards", "all", "1", "--auto_agree"),
    ):
        process = await piccolo(restricted, "migrations", *command)
        output = (await process.communicate())[0].decode()
        assert process.returncode == 0, output
    assert await relations() == []
    refused = run("migrate", url=restricted.url)
    assert refused.returncode == 1
    assert "may not change schema 'public'" in refused.stderr or "read-only" in refused.stderr
    assert await relations() == []


async def test_a_migrated_database_is_read_by_a_restricted_role(clone: DatabaseEngine):
    await clone.close_connection_pool()
    clone.url = with_options(clone.url, "default_transaction_read_only=on")
    assert await plan_migrations(clone) == ""
    assert all(state.applied_at for state in await migration_states(clone))
    first = min(migration_id for app, migration_id in declared_migrations() if app == "tenancy")
    assert 'DROP TABLE "tenant' in await plan_roll_back(DB, "tenancy", first)


@pytest.fixture
async def two_schemas(empty_database: DatabaseEngine) -> AsyncIterator[list[str]]:
    """URLs of two schemas beside a migrated ``public``; the second sees ``public`` as well."""
    await apply_migrations(empty_database)
    names = ("tenant_a", '"tenant B"')
    for name in names:
        await empty_database.run_ddl(f"CREATE SCHEMA {name}")
    await DB.close_connection_pool()
    url = DB.url
    yield [
        with_options(url, "search_path=tenant_a"),
        with_options(url, "search_path=%22tenant%20B%22,public"),
    ]
    DB.url = url
    connection = await DB.get_new_connection()
    for name in names:
        await connection.execute(f"DROP SCHEMA {name} CASCADE")
    await connection.close()


@pytest.mark.slow
async def test_each_schema_has_its_own_history(two_schemas: list[str]):
    public = DB.url
    for url in two_schemas:
        DB.url = url
        connection = await DB.get_new_connection()
        assert len(await pending_migrations(connection)) == len(declared_migrations())
        await connection.close()
        assert 'CREATE TABLE "content"' in await plan_migrations(DB)
        assert (await check_database(DB)).pending_migrations == len(declared_migrations())
        assert await plan_roll_back(DB, "content", "1") == ""
        async with DB.running():
            assert await apply_migrations(DB) == len(declared_migrations())
            assert await apply_migrations(DB) == 0
    first = min(migration_id for app, migration_id in declared_migrations() if app == "tenancy")
    async with DB.running():
        await roll_back(DB, "tenancy", first)
    pending = []
    for url in (public, *two_schemas):
        DB.url = url
        connection = await DB.get_new_connection()
        pending.append({app for app, _ in await pending_migrations(connection)})
        await connection.close()
    assert pending == [set(), set(), {"tenancy"}]


@pytest.mark.slow
@EMBEDDED
async def test_schemas_are_migrated_concurrently(two_schemas: list[str]):
    public = DB.url
    processes = []
    for url in (*two_schemas, *two_schemas):
        DB.url = url
        processes.append(await piccolo(DB, "migrations", "forwards", "all"))
    for process in processes:
        output = (await process.communicate())[0].decode()
        assert process.returncode == 0, output
    schemas = []
    for url in (public, *two_schemas):
        DB.url = url
        connection = await DB.get_new_connection()
        assert await pending_migrations(connection) == []
        schemas.append(await read_schema(connection))
        await connection.close()
    assert schemas[0].keys() == schemas[1].keys() == schemas[2].keys()


async def test_a_schema_that_does_not_exist_is_named_as_the_cause(empty_database: DatabaseEngine):
    await DB.close_connection_pool()
    DB.url = with_options(DB.url, "search_path=nowhere")
    assert 'CREATE TABLE "content"' in await plan_migrations(DB)
    with pytest.raises(MigrationError, match="search_path names no schema"):
        await apply_migrations(DB)


@pytest.mark.slow
@EMBEDDED
async def test_concurrent_first_migrations_create_one_history(empty_database: DatabaseEngine):
    async with asyncio.timeout(60):
        processes = [
            await piccolo(empty_database, "migrations", "forwards", "content") for _ in range(4)
        ]
        for process in processes:
            output = (await process.communicate())[0].decode()
            assert process.returncode == 0, output
