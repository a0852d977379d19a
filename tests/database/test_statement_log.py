"""``log_queries``, ``log_responses`` and DB_ECHO print statements without values."""

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import Conflict
from learner_app.listening.tables import ListeningSessionTable
from tests.database.pools import reopen
from tests.database.sessions import add

CANARY = "hunter2-canary"


@pytest.fixture
async def logged(clone: DatabaseEngine):
    yield clone
    clone.log_queries = clone.log_responses = False


async def work(engine: DatabaseEngine) -> None:
    """Send a statement with a value in each possible way."""
    await add(CANARY)
    await ListeningSessionTable.select(ListeningSessionTable.id).where(
        ListeningSessionTable.id == CANARY
    )
    await engine.fetch("SELECT $1::text AS fetched", CANARY)
    await engine.execute("SELECT 1 AS executed")
    await engine.perform(lambda it: it.executemany("SELECT $1::text AS many", [(CANARY,)]))
    async with engine.transaction():
        await engine.fetchval("SELECT $1::text AS inside", CANARY)
    async with engine.connection() as connection:
        await connection.fetchrow("SELECT $1::text AS leased", CANARY)
    with pytest.raises(Conflict):
        await add(CANARY)


PRINTED = [
    'INSERT INTO "sessions"',
    'FROM "sessions"',
    "SELECT $1::text AS fetched",
    "SELECT 1 AS executed",
    "SELECT $1::text AS many",
    "BEGIN",
    "SELECT $1::text AS inside",
    "COMMIT",
    "SELECT $1::text AS leased",
]


async def test_log_queries_prints_every_statement_without_values(
    logged: DatabaseEngine, capsys: pytest.CaptureFixture[str]
):
    logged.log_queries = True  # also of connections that are open already
    await work(logged)
    printed = capsys.readouterr().out
    for statement in PRINTED:
        assert statement in printed, statement
    assert CANARY not in printed
    assert " rows" not in printed
    logged.log_queries = False
    await work_nothing(logged)
    assert capsys.readouterr().out == ""


async def work_nothing(engine: DatabaseEngine) -> None:
    await engine.fetch("SELECT 1")


async def test_log_responses_prints_the_shape_of_results_without_values(
    logged: DatabaseEngine, capsys: pytest.CaptureFixture[str]
):
    logged.log_responses = True
    await work(logged)
    printed = capsys.readouterr().out
    for shape in ("1 row (id)", "1 row (fetched)", "SELECT 1", "COMMIT", "failed: 23505"):
        assert f"-- {shape}\n" in printed, shape
    assert CANARY not in printed
    assert "INSERT INTO" not in printed
    await logged.fetch("SELECT generate_series(1, 3) AS n, now() AS at")
    await logged.fetch("SELECT FROM sessions WHERE false")
    await logged.execute("DELETE FROM sessions WHERE id = $1", CANARY)
    printed = capsys.readouterr().out
    assert "-- 3 rows (n, at)\n" in printed
    assert "-- 0 rows\n" in printed
    assert "-- DELETE 1\n" in printed


async def test_the_constructor_accepts_both_as_in_piccolo(
    clone: DatabaseEngine, capsys: pytest.CaptureFixture[str]
):
    engine = DatabaseEngine(clone.url, log_queries=True, log_responses=True)
    assert engine.log_queries
    assert engine.log_responses
    async with engine.running():
        capsys.readouterr()
        await engine.fetchval("SELECT $1::text AS seen", CANARY)
    printed = capsys.readouterr().out
    assert "SELECT $1::text AS seen\n-- 1 row (seen)\n" in printed
    assert CANARY not in printed
    quiet = DatabaseEngine(clone.url)
    assert not quiet.log_queries
    assert not quiet.log_responses


async def test_db_echo_switches_log_queries_on(
    logged: DatabaseEngine, capsys: pytest.CaptureFixture[str]
):
    logged.settings.db_echo = True
    await reopen(logged)
    assert logged.log_queries
    capsys.readouterr()
    await logged.fetch("SELECT $1::text AS echoed", CANARY)
    printed = capsys.readouterr().out
    assert printed.count("SELECT $1::text AS echoed") == 1
    assert CANARY not in printed
    logged.settings.db_echo = False


async def test_statements_of_replicas_are_logged(
    logged: DatabaseEngine, capsys: pytest.CaptureFixture[str]
):
    from pydantic import SecretStr

    await reopen(logged, db_replicas=SecretStr(f"reports={logged.url}"))
    logged.log_queries = True
    await logged.replicas["reports"].fetch("SELECT $1::text AS replica", CANARY)
    printed = capsys.readouterr().out
    assert "SELECT $1::text AS replica" in printed
    assert CANARY not in printed
