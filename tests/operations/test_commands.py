"""``learner migrate``, ``status``, ``rollback``, ``reset`` and ``seed``, as operators run them."""

import os
import re
import subprocess
from collections.abc import Callable

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.schema.pending import declared_migrations
from tests.commands import CANARY, PROGRAM, count, run

MIGRATIONS = declared_migrations()
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
@pytest.mark.parametrize("any_server", ["embedded"], indirect=True)
async def test_from_plan_to_rollback(empty_database: DatabaseEngine):
    url = empty_database.url
    planned = run("migrate", "--plan", url=url)
    assert 'CREATE INDEX "idx_like_engagement_liked"' in planned.stdout
    assert run("status", url=url).stdout.count("pending") == len(MIGRATIONS)

    migrated = run("migrate", url=url)
    assert 'CREATE TABLE "content"' in migrated.stdout
    assert migrated.stdout.endswith(f"{len(MIGRATIONS)} migrations applied.\n")
    assert run("migrate", url=url).stdout == "Nothing is pending.\n"
    assert run("status", url=url).stdout.count("applied") == len(MIGRATIONS)

    tenancy = ("tenancy", "--to", min(id_ for app, id_ in MIGRATIONS if app == "tenancy"))
    declined = run("rollback", *tenancy, url=url, answer="n\n")
    assert declined.returncode == 1
    assert declined.stderr == "learner: declined, nothing was changed\n"
    assert "DROP TABLE" in declined.stdout
    assert f"Database: {empty_database.target}\n" in declined.stdout
    assert run("status", url=url).stdout.count("applied") == len(MIGRATIONS)
    assert run("rollback", *tenancy, "--yes", url=url).stdout.endswith("Rolled back.\n")
    pending = len([app for app, _ in MIGRATIONS if app == "tenancy"])
    assert run("status", url=url).stdout.count("pending") == pending
    assert run("rollback", "tenancy", "--yes", url=url).stdout == "Nothing is applied.\n"
    unknown = run("rollback", "nothing", url=url)
    assert (unknown.returncode, unknown.stderr.count("\n")) == (1, 1)
    assert "accounts, content" in unknown.stderr


@pytest.mark.slow
@pytest.mark.long
async def test_reset_even_when_the_journal_lies(clone: DatabaseEngine):
    await clone.fetch("INSERT INTO sessions (id) VALUES ('mine')")
    await clone.run_ddl("DELETE FROM migration WHERE app_name IN ('content', 'listening')")
    declined = run("reset", url=clone.url, answer="n\n")
    assert declined.returncode == 1
    assert declined.stderr == "learner: declined, nothing was changed\n"
    assert declined.stdout.startswith(f"Database: {clone.target}\n")
    assert await count(clone, "sessions WHERE id = 'mine'") == 1
    done = run("reset", "--yes", url=clone.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Database: {clone.target}\n")
    assert f"{len(MIGRATIONS)} migrations applied" in done.stdout
    assert await count(clone, "sessions WHERE id = 'mine'") == 0
    assert await count(clone, "content") == 26
    assert await count(clone, "migration") == len(MIGRATIONS)


@pytest.mark.slow
@pytest.mark.long
async def test_reset_is_refused_where_it_must_be(clone: DatabaseEngine):
    await clone.run_ddl("CREATE TABLE customers (id int)")
    unknown = run("reset", "--yes", url=clone.url)
    assert (unknown.returncode, unknown.stderr.count("\n")) == (1, 1)
    assert "customers" in unknown.stderr
    await clone.run_ddl("DROP TABLE customers")
    in_production = run("reset", "--yes", url=clone.url, APP_ENV="production")
    assert in_production.returncode == 1
    assert "APP_ENV" in in_production.stderr
    assert await count(clone, "migration") == len(MIGRATIONS)


@pytest.mark.slow
async def test_seed_prints_created_and_existing_rows(clone: DatabaseEngine):
    first = run("seed", url=clone.url).stdout
    assert re.search(r"^users +4 created +0 found$", first, re.MULTILINE)
    await clone.run_ddl("DELETE FROM accounts")
    second = run("seed", url=clone.url).stdout
    assert re.search(r"^users +0 created +4 found$", second, re.MULTILINE)
    assert re.search(r"^accounts +4 created +0 found$", second, re.MULTILINE)


@pytest.mark.stress
@pytest.mark.long
async def test_concurrent_seeds_insert_one_set_of_rows(clone: DatabaseEngine):
    command = [PROGRAM, "seed", "--events", "50000"]
    environment = {"PATH": os.environ["PATH"], "DATABASE_URL": clone.url}
    processes = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in "ab"]
    assert [process.wait() for process in processes if process.communicate()] == [0, 0]
    assert await count(clone, "users") == 4
    assert await count(clone, "behavioral_events WHERE id LIKE 'bulk-%'") == 50_000


@pytest.mark.stress
async def test_interrupted_events_are_resumed_and_consistent(clone: DatabaseEngine):
    first = run("seed", "--events", "30000", url=clone.url)
    assert first.stdout.endswith("30000 created\n"), first.stderr
    assert "Events: 20000 of 30000" in first.stdout
    process = subprocess.Popen(
        [PROGRAM, "seed", "--events", "400000"],
        env={"PATH": os.environ["PATH"], "DATABASE_URL": clone.url},
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()
    process.kill()
    process.communicate()
    rest = run("seed", "--events", "100000", url=clone.url)
    assert rest.returncode == 0
    total = await count(clone, "behavioral_events WHERE id LIKE 'bulk-%'")
    assert total >= 100_000
    query = """
        SELECT count(*) FROM behavioral_events e JOIN content c ON c.id = e.content_id
        JOIN sessions s ON s.id = e.session_id
        WHERE playback_position BETWEEN 0 AND c.duration AND c.id = ANY (s.content_ids)
        AND timestamp BETWEEN s.started_at AND s.last_activity_at
        AND jsonb_typeof(e.device_info) = 'object'
    """
    seeded = await count(clone, "behavioral_events")
    assert (await clone.fetch(query))[0][0] == seeded


@pytest.mark.stress
@pytest.mark.parametrize(
    "command",
    [("migrate",), ("rollback", "content"), ("reset",), ("seed",), ("up",)],
)
def test_mistakes_are_one_line_in_every_command(command: tuple):
    done = run(*command, DATABASE_URL=f"postgresql://u:{CANARY}#x@h/d")
    assert done.returncode == 1
    assert done.stderr.startswith("learner: ")
    assert done.stderr.count("\n") == 1
    assert "DATABASE_URL" in done.stderr
    assert CANARY not in done.stderr + done.stdout
