"""``learner reset``: its target, tables of other programs, and objects that depend on ours."""

import json
from pathlib import Path

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import ResetRefused
from learner_app.operations.embedded import SUPERUSER
from learner_app.operations.reset import drop_tables, plan_reset
from learner_app.schema.pending import declared_migrations
from learner_app.testing.servers import OwnServer, TestServer
from tests.commands import CANARY, count, run
from tests.ports import free_port


@pytest.fixture
async def marked(clone: DatabaseEngine) -> DatabaseEngine:
    """A migrated database with a row that a reset would delete."""
    await clone.fetch("INSERT INTO sessions (id) VALUES ('mine')")
    return clone


async def is_untouched(engine: DatabaseEngine) -> bool:
    rows = await count(engine, "sessions WHERE id = 'mine'")
    return rows == 1 and await count(engine, "migration") == len(declared_migrations())


def running_product(engine: DatabaseEngine, folder: Path) -> str:
    """LEARNER_DATA as a running ``learner up`` on that database has it."""
    (folder / "running.json").write_text(json.dumps({"url": engine.url}))
    return str(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"DB_NAME": "scratch"}, "DB_NAME"),
        ({"DB_USER": "scratch"}, "DB_USER"),
        ({"DB_PASSWORD": CANARY}, "DB_PASSWORD"),
        ({"DB_PORT": "5433"}, "DB_PORT"),
        ({"db_name": "scratch"}, "DB_NAME"),
        ({"DB_NAME": "scratch", "DB_USER": "u", "DB_PASSWORD": CANARY}, "DB_NAME, DB_USER"),
        ({"DB_NAME": "scratch", "DB_HOST": ""}, "DB_NAME"),
    ],
)
@pytest.mark.variants
async def test_database_of_learner_up_survives_an_incomplete_target(
    marked: DatabaseEngine, tmp_path: Path, variables: dict, named: str
):
    data = running_product(marked, tmp_path)
    done = run("reset", "--yes", LEARNER_DATA=data, **variables)
    assert done.returncode == 1
    assert done.stderr.startswith(f"learner: {named}")
    assert "without DB_HOST" in done.stderr
    assert done.stderr.count("\n") == 1
    assert CANARY not in done.stdout + done.stderr
    assert await is_untouched(marked)


@pytest.mark.slow
@pytest.mark.long
async def test_every_command_refuses_an_incomplete_target(marked: DatabaseEngine, tmp_path: Path):
    data = running_product(marked, tmp_path)
    assert str(marked.target) in run("reset", answer="n\n", LEARNER_DATA=data).stdout
    up = ("up", "--port", str(free_port()))
    deleting = (("reset", "--yes"), ("rollback", "content", "--yes"))
    for command in (*deleting, ("seed",), ("migrate",), ("staff", "add", "ada"), up):
        done = run(*command, LEARNER_DATA=data, DB_NAME="scratch")
        assert done.returncode == 1
        assert done.stderr.startswith("learner: DB_NAME is set without DB_HOST")
        assert done.stderr.count("\n") == 1
    assert await is_untouched(marked)


@pytest.mark.slow
@pytest.mark.long
async def test_url_survives_when_another_database_is_named_too(marked: DatabaseEngine):
    parts = {"DB_HOST": "elsewhere", "DB_NAME": "scratch", "DB_USER": "u"}
    for variables, last in (({"DB_NAME": "scratch"}, "DB_NAME"), (parts, "DB_USER")):
        for command in (("reset", "--yes"), ("rollback", "content", "--yes")):
            done = run(*command, url=marked.url, **variables)
            assert done.returncode == 1
            assert "learner: DATABASE_URL and DB_" in done.stderr
            assert f"{last} name different databases" in done.stderr
    assert await is_untouched(marked)
    assert "takes precedence" in run("status", url=marked.url, **parts).stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", [("reset",), ("rollback", "tenancy")])
@pytest.mark.variants
async def test_nothing_is_deleted_without_an_answer(marked: DatabaseEngine, command: tuple):
    for answer in ("", "perhaps\n"):
        done = run(*command, url=marked.url, answer=answer)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "nothing was changed" in done.stderr
        assert f"Database: {marked.target}\n" in done.stdout
    assert await is_untouched(marked)


@pytest.mark.slow
@pytest.mark.long
async def test_an_answer_from_a_pipe_counts(marked: DatabaseEngine):
    done = run("reset", url=marked.url, answer="y\n")
    assert done.returncode == 0, done.stderr
    assert await count(marked, "sessions WHERE id = 'mine'") == 0


@pytest.mark.slow
@pytest.mark.long
async def test_other_tables_are_refused_or_kept(marked: DatabaseEngine):
    await marked.run_ddl("CREATE TABLE customers (id int)")
    await marked.fetch("INSERT INTO customers VALUES (1)")
    await marked.fetch("INSERT INTO migration (name, app_name) VALUES ('one', 'shop')")
    refused = run("reset", "--yes", url=marked.url)
    assert refused.returncode == 1
    assert "customers" in refused.stderr
    assert "--keep-other-tables" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert await count(marked, "sessions WHERE id = 'mine'") == 1

    declined = run("reset", "--keep-other-tables", url=marked.url, answer="n\n")
    assert "keep 1 other" in declined.stdout
    done = run("reset", "--yes", "--keep-other-tables", url=marked.url)
    assert done.returncode == 0, done.stderr
    assert f"{len(declared_migrations())} migrations applied" in done.stdout
    assert await count(marked, "customers") == 1
    assert await count(marked, "migration WHERE app_name = 'shop'") == 1
    assert await count(marked, "migration") == len(declared_migrations()) + 1
    assert await count(marked, "sessions WHERE id = 'mine'") == 0
    assert await count(marked, "content") == 26


@pytest.mark.slow
async def test_tables_of_an_extension_are_not_foreign(
    marked: DatabaseEngine, main_server: TestServer
):
    if not isinstance(main_server, OwnServer):
        pytest.skip("marking a table as an extension's takes a superuser")
    await marked.run_ddl("CREATE TABLE of_extension (id int)")
    marking = """
        INSERT INTO pg_depend (classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype)
        SELECT 'pg_class'::regclass, 'of_extension'::regclass, 0, 'pg_extension'::regclass,
               (SELECT oid FROM pg_extension WHERE extname = 'plpgsql'), 0, 'e'
    """
    await _as_superuser(marked, marking)
    plan = await plan_reset(marked)
    assert plan.other_tables == []
    assert "of_extension" not in plan.tables


async def _as_superuser(engine: DatabaseEngine, statement: str) -> None:
    url = engine.url.replace("//learner@", f"//{SUPERUSER}@")
    connection = await DatabaseEngine(url).get_new_connection()
    try:
        await connection.execute("SET allow_system_table_mods = on")
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ddl", "named"),
    [
        ("CREATE VIEW popular AS SELECT id FROM content", "view popular"),
        ("CREATE MATERIALIZED VIEW popular AS SELECT id FROM content", "materialized view popular"),
        (
            "CREATE FUNCTION latest() RETURNS SETOF content LANGUAGE sql AS 'TABLE content'",
            "function latest()",
        ),
        ("CREATE VIEW applied AS SELECT name FROM migration", "view applied"),
    ],
)
@pytest.mark.variants
async def test_object_that_depends_on_a_table_is_named(
    marked: DatabaseEngine, ddl: str, named: str
):
    await marked.run_ddl(ddl)
    for options in ((), ("--keep-other-tables",)):
        done = run("reset", "--yes", *options, url=marked.url)
        assert done.returncode == 1, done.stdout
        assert f"{named} depends on" in done.stderr
        assert "Nothing was deleted" in done.stderr
        assert done.stderr.count("\n") == 1
    assert await is_untouched(marked)


@pytest.mark.slow
@pytest.mark.long
async def test_foreign_key_of_a_kept_table_is_named(marked: DatabaseEngine):
    await marked.run_ddl(
        "CREATE TABLE orders (session text CONSTRAINT fk_session REFERENCES sessions (id))"
    )
    done = run("reset", "--yes", "--keep-other-tables", url=marked.url)
    assert done.returncode == 1
    assert "constraint fk_session on table orders depends on table sessions" in done.stderr
    assert done.stderr.count("\n") == 1
    assert await is_untouched(marked)


@pytest.mark.slow
@pytest.mark.long
async def test_many_dependent_objects_fit_one_line(marked: DatabaseEngine):
    for number in range(7):
        await marked.run_ddl(f"CREATE VIEW v{number} AS SELECT id FROM content")
    done = run("reset", "--yes", url=marked.url)
    assert "; and 2 more. Nothing was deleted" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
async def test_locked_table_ends_the_reset_and_changes_nothing(marked: DatabaseEngine, monkeypatch):
    monkeypatch.setattr("learner_app.operations.reset.LOCK_SECONDS", 1)
    other = DatabaseEngine(marked.url, needs_pool=False)
    plan = await plan_reset(marked)
    async with other.transaction():
        await other.execute("LOCK TABLE content")
        with pytest.raises(ResetRefused, match="another session locks a table"):
            await drop_tables(marked, plan)
    assert await is_untouched(marked)
