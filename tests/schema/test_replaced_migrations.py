"""Databases that were migrated with the former migrations, which others replace today."""

import asyncio

import pytest
from piccolo.apps.migrations.commands.backwards import run_backwards

from learner_app.conf import APP_REGISTRY
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
from learner_app.schema.pending import declared_migrations, migration_modules
from tests.commands import piccolo, run
from tests.schema.state import history_of, schema_of

FORMER = {
    (name, former)
    for name, config in APP_REGISTRY.app_configs.items()
    for module in migration_modules(config).values()
    for former in getattr(module, "REPLACES", ())
}


@pytest.fixture
async def former(clone: DatabaseEngine) -> DatabaseEngine:
    """A database as the former migrations left it: the same catalog, another history.

    That the catalog is the same shows ``scripts/compare_catalogs.py ac53b36``.
    """
    await clone.execute("DELETE FROM migration")
    for app, migration_id in sorted(FORMER):
        await clone.execute(
            "INSERT INTO migration (app_name, name, ran_on) VALUES ($1, $2, now())",
            app,
            migration_id,
        )
    await clone.execute("INSERT INTO sessions (id) VALUES ('mine')")
    return clone


def test_every_former_migration_is_replaced():
    assert len(FORMER) == 15
    assert {app for app, _ in FORMER} == {app for app, _ in declared_migrations()}


async def test_nothing_is_pending_before_anything_is_written(former: DatabaseEngine):
    assert await plan_migrations(former) == ""
    assert all(state.applied_at for state in await migration_states(former))
    assert (await check_database(former)).pending_migrations == 0
    assert "DROP TABLE" in await plan_roll_back(former, "tenancy", "1")
    assert set(await history_of(former)) == FORMER


async def test_the_history_is_rewritten_and_the_rows_stay(former: DatabaseEngine):
    before = await schema_of(former)
    await former.run_ddl("COMMENT ON COLUMN sessions.started_at IS 'Former wording.'")
    assert await apply_migrations(former) == 0
    assert set(await history_of(former)) == declared_migrations()
    assert await schema_of(former) == before
    assert await former.fetchval("SELECT id FROM sessions") == "mine"
    assert await apply_migrations(former) == 0


@pytest.mark.slow
async def test_the_commands_recognise_it(former: DatabaseEngine):
    status = run("status", url=former.url)
    assert (status.stdout.count("applied"), "pending" in status.stdout) == (7, False)
    done = await asyncio.to_thread(run, "migrate", url=former.url)
    assert done.returncode == 0, done.stderr
    process = await piccolo(former, "migrations", "forwards", "all")
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    assert set(await history_of(former)) == declared_migrations()


@pytest.mark.slow
async def test_processes_recognise_it_concurrently(former: DatabaseEngine):
    processes = [await piccolo(former, "migrations", "forwards", "all") for _ in range(3)]
    for process in processes:
        output = (await process.communicate())[0].decode()
        assert process.returncode == 0, output
    assert sorted(await history_of(former)) == sorted(declared_migrations())


@pytest.mark.slow
async def test_it_is_rolled_back_and_migrated_again(former: DatabaseEngine):
    before = await schema_of(former)
    await roll_back(former, "tenancy", "1")
    assert "tenants" not in await schema_of(former)
    assert (await run_backwards("all", auto_agree=True)).success
    assert await history_of(former) == []
    assert await apply_migrations(former) == len(declared_migrations())
    assert await schema_of(former) == before


async def test_an_incomplete_former_set_is_refused(former: DatabaseEngine):
    app, last = max(key for key in FORMER if key[0] == "content")
    await former.execute("DELETE FROM migration WHERE app_name = $1 AND name = $2", app, last)
    history = await history_of(former)
    assert (await check_database(former)).pending_migrations == 1
    for command in (apply_migrations(former), plan_migrations(former)):
        with pytest.raises(
            MigrationError, match=f"{last} is not applied: migrate with the earlier"
        ):
            await command
    assert await history_of(former) == history


@pytest.mark.parametrize(
    ("statement", "missing"),
    [
        ("DROP INDEX idx_sessions_started_at", "object idx_sessions_started_at of table sessions"),
        ("ALTER TABLE sessions DROP content_ids", "column content_ids of table sessions"),
        ("DROP TABLE behavioral_events", "table behavioral_events"),
        ("DROP TRIGGER sessions_touch_updated_at ON sessions", "object sessions_touch_updated_at"),
        ("ALTER TABLE tenants DISABLE ROW LEVEL SECURITY", "row-level security forced of table"),
        ("ALTER TABLE tenants NO FORCE ROW LEVEL SECURITY", "row-level security forced of table"),
        ("DROP POLICY tenants_isolation ON tenants", "object tenants_isolation of table tenants"),
        (
            "ALTER TABLE sessions ALTER content_ids SET STORAGE EXTENDED",
            "uncompressed column content_ids of table sessions",
        ),
    ],
)
async def test_a_history_that_does_not_match_the_catalog_is_refused(
    former: DatabaseEngine, statement: str, missing: str
):
    await former.run_ddl(statement)
    with pytest.raises(MigrationError, match=f"the database lacks .*{missing}"):
        await apply_migrations(former)
    app = "tenancy" if "tenants" in statement else "listening"
    assert {key for key in FORMER if key[0] == app} <= set(await history_of(former))
