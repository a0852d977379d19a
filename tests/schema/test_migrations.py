"""Migrations as operators run them: forwards, backwards, concurrently, and killed."""

import asyncio
import signal

import pytest
from piccolo.apps.migrations.commands.backwards import run_backwards
from piccolo.apps.migrations.commands.forwards import run_forwards
from piccolo.apps.migrations.commands.new import NoChanges, _create_new_migration

from learner_app.conf import APP_REGISTRY
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import MigrationError
from learner_app.operations.migrate import apply_migrations
from learner_app.schema.migration_lock import locked_session
from learner_app.schema.pending import declared_migrations
from tests.commands import piccolo
from tests.schema.state import history_of, schema_of


@pytest.mark.slow
async def test_forwards_backwards_and_forwards_again(empty_database: DatabaseEngine):
    await apply_migrations(empty_database)
    first = await schema_of(empty_database)

    assert (await run_forwards("all")).success
    assert await schema_of(empty_database) == first

    assert (await run_backwards("all", auto_agree=True)).success
    left = await schema_of(empty_database)
    assert left.keys() == {"functions", "migration"}
    assert left["functions"] == {}
    assert await history_of(empty_database) == []

    await apply_migrations(empty_database)
    assert await schema_of(empty_database) == first


@pytest.mark.parametrize("app", APP_REGISTRY.app_configs)
async def test_tables_and_migrations_agree(app: str):
    with pytest.raises(NoChanges):
        await _create_new_migration(APP_REGISTRY.app_configs[app], auto=True)


@pytest.mark.slow
async def test_the_command_builds_everything_from_the_url_alone(empty_database: DatabaseEngine):
    process = await piccolo(empty_database, "migrations", "forwards", "all")
    output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    assert set(await history_of(empty_database)) == declared_migrations()


async def test_preview_changes_nothing(empty_database: DatabaseEngine, capsys):
    assert (await run_forwards("listening", preview=True)).success
    printed = capsys.readouterr().out
    assert 'CREATE INDEX "idx_like_engagement_liked"' in printed
    assert (await schema_of(empty_database)).keys() == {"functions"}


@pytest.mark.slow
@pytest.mark.variants
async def test_concurrent_processes_apply_each_migration_once(empty_database: DatabaseEngine):
    processes = [await piccolo(empty_database, "migrations", "forwards", "all") for _ in range(6)]
    outputs = await asyncio.gather(*(process.communicate() for process in processes))
    for process, (output, _) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output.decode()
    history = await history_of(empty_database)
    assert len(history) == len(set(history))
    assert set(history) == declared_migrations()
    assert sum(output.decode().count("ok!") for output, _ in outputs) == len(history)


@pytest.mark.slow
async def test_a_kill_before_the_history_row_leaves_neither(clone: DatabaseEngine):
    assert (await run_backwards("all", auto_agree=True)).success
    blocker = await clone.get_new_connection()
    async with asyncio.timeout(60):
        block = blocker.transaction()
        await block.start()
        await blocker.execute("LOCK TABLE migration IN SHARE MODE")  # reads pass, inserts wait
        process = await piccolo(clone, "migrations", "forwards", "content")
        while not await clone.fetchval(
            "SELECT true FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database() LIMIT 1"
        ):
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        await block.rollback()
        await blocker.close()
        while await sessions_of_others(clone):
            await asyncio.sleep(0.05)
    assert await history_of(clone) == []
    assert "content" not in await schema_of(clone)
    await apply_migrations(clone)
    assert set(await history_of(clone)) == declared_migrations()


async def sessions_of_others(engine: DatabaseEngine) -> int:
    connection = await engine.get_new_connection()
    try:
        return await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state LIKE '%transaction%' AND pid <> pg_backend_pid()"
        )
    finally:
        await connection.close()


FIRST_TABLES = {
    "content": "content",
    "listening": "sessions",
    "learner": "user_preferences",
    "generation": "generation_status",
    "accounts": "users",
    "tenancy": "tenants",
    "staff": "staff_users",
}


@pytest.mark.slow
@pytest.mark.long
async def test_kills_at_any_moment_leave_both_or_neither(clone: DatabaseEngine):
    for applied_before in range(6):
        assert (await run_backwards("all", auto_agree=True)).success
        process = await piccolo(clone, "migrations", "forwards", "all")
        async with asyncio.timeout(30):
            while await clone.fetchval("SELECT count(*) FROM migration") < applied_before:
                pass
        assert process.returncode is None, "it was still at work"
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        while await sessions_of_others(clone):
            await asyncio.sleep(0.02)
        applied = {app for app, _ in await history_of(clone)}
        tables = await schema_of(clone)
        assert applied == {app for app, table in FIRST_TABLES.items() if table in tables}


async def test_waiting_processes_do_not_block_a_concurrent_index(clone: DatabaseEngine):
    async with asyncio.timeout(30), locked_session(clone):
        waiting = asyncio.create_task(run_backwards("staff", auto_agree=True))
        await asyncio.sleep(0.5)
        connection = await clone.get_new_connection()
        await connection.execute("CREATE INDEX CONCURRENTLY idx_extra ON content (topic)")
        await connection.close()
        assert not waiting.done()
    assert (await waiting).success


@pytest.mark.slow
async def test_a_locked_table_is_waited_for(clone: DatabaseEngine, monkeypatch, capsys):
    monkeypatch.setattr("learner_app.schema.migration_runner.LOCK_TIMEOUT_SECONDS", 1)
    reader = await clone.get_new_connection()
    block = reader.transaction()
    await block.start()
    await reader.fetch("SELECT * FROM generation_status")
    waiting = asyncio.create_task(run_backwards("generation", "all", auto_agree=True))
    await asyncio.sleep(1.5)
    # Behind a waiting ALTER every reader would wait; in the pauses they get through.
    async with asyncio.timeout(5):
        other = await clone.get_new_connection()
        await other.fetch("SELECT * FROM generation_status")
        await other.close()
    await block.rollback()
    await reader.close()
    assert (await waiting).success
    assert "waiting for a locked table" in capsys.readouterr().out


async def test_a_failing_migration_changes_nothing(clone: DatabaseEngine):
    assert (await run_backwards("tenancy", "all", auto_agree=True)).success
    await clone.run_ddl("CREATE TABLE tenants (id int)")
    before = await schema_of(clone)
    with pytest.raises(MigrationError, match=r"already exists \(42P07\)"):
        await apply_migrations(clone)
    assert await schema_of(clone) == before


async def test_an_applied_migration_without_a_file_is_an_error(clone: DatabaseEngine):
    await clone.run_ddl("INSERT INTO migration (name, app_name) VALUES ('3000', 'content')")
    before = await schema_of(clone)
    with pytest.raises(MigrationError, match="3000"):
        await run_backwards("content", auto_agree=True)
    assert await schema_of(clone) == before
