"""A failed migration reports its name, the statement and the message of the server."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from piccolo.apps.migrations.commands.backwards import run_backwards
from piccolo.apps.migrations.commands.forwards import run_forwards
from piccolo.columns import Integer, Varchar

from learner_app.conf import DB
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import MigrationError
from learner_app.operations.migrate import apply_migrations
from learner_app.schema.objects import Check, Index, IndexKey, Unique
from tests.commands import piccolo, run
from tests.schema.changing import App, Tables, article

CANARY = "canary@example.org"


def plain(**members: object) -> Tables:
    """An article that is easy to insert."""
    return article(tenant_id=Varchar(9, default="t"), **members)


async def failure(app: App) -> str:
    with pytest.raises(MigrationError) as failed:
        await run_forwards(app.name)
    assert str(failed.value).startswith(f"migration {app.name} 20")
    assert "\n" not in str(failed.value)
    assert CANARY not in str(failed.value)
    return str(failed.value)


REFUSED: dict[str, tuple[dict, list[str]]] = {
    "duplicates": (
        {"key_a": Unique(["status"])},
        ['could not create unique index "key_a" (23505)', "ADD CONSTRAINT", "key_a"],
    ),
    "check": (
        {"check_a": Check("score > 5")},
        ['check constraint "check_a" of relation "article" is violated by some row (23514)'],
    ),
    "not null": (
        {"note": Varchar(9, default=None)},
        ['column "note" of relation "article" contains null values (23502)', "ADD COLUMN"],
    ),
    "syntax": (
        {"idx_a": Index("lower(status")},
        ["syntax error at end of input (42601)", "CREATE INDEX", "lower(status"],
    ),
    "operator class": (
        {"idx_a": Index(IndexKey("status", "gin_trgm_ops"), method="gin")},
        ['operator class "gin_trgm_ops" does not exist for access method "gin" (42704)'],
    ),
    "column": (
        {"idx_a": Index("nothing")},
        ['column "nothing" does not exist (42703)', 'CREATE INDEX "idx_a" ON "article"'],
    ),
    "value": (
        {"status": Integer(default=None)},
        ['invalid input syntax for type integer: "…" (22P02)', "TYPE INTEGER USING"],
    ),
    "too long": (
        {"status": Varchar(3, default=None)},
        ["value too long for type character varying(3) (22001)", "VARCHAR(3)"],
    ),
}


@pytest.mark.parametrize("any_server", ["embedded"], indirect=True)
@pytest.mark.parametrize("cause", REFUSED)
async def test_the_server_refuses(cause: str, make_app: Callable[[], App]):
    members, parts = REFUSED[cause]
    app = make_app()
    old = await app.migrate(plain())
    await DB.execute(
        f"INSERT INTO article (id, status, score) VALUES ('1', '{CANARY}', 1), ('2', '{CANARY}', 2)"
    )
    await app.write(plain(**members))
    text = await failure(app)
    assert "failed, nothing was changed: " in text
    for part in parts:
        assert part in text
    assert await app.schema() == old


@pytest.mark.parametrize("any_server", ["embedded"], indirect=True)
async def test_what_depends_on_a_column_is_named(make_app: Callable[[], App]):
    app = make_app()
    await app.migrate(plain(note=Varchar(9, default=None)))
    await DB.run_ddl("CREATE VIEW notes AS SELECT note FROM article")
    await app.write(plain())
    text = await failure(app)
    assert "view notes depends on column note of table article" in text
    assert "(2BP01); statement: ALTER TABLE" in text
    await DB.run_ddl("DROP VIEW notes")


def raw(app: App, folder: Path, body: str, options: str = "") -> None:
    """Write a data migration by hand."""
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    folder = Path(app.config.migrations_folder_path)
    (folder / f"{app.name}_data.py").write_text(
        "from learner_app.conf import DB\n"
        "from learner_app.schema.migrations import MigrationManager\n"
        "ID = '2099-01-01'\nVERSION = '1'\nDESCRIPTION = ''\n"
        "async def forwards():\n"
        f"    manager = MigrationManager(migration_id=ID, app_name='{app.name}'{options})\n"
        "    async def backfill():\n"
        f"{lines}\n"
        "    manager.add_raw(backfill)\n"
        "    return manager\n"
    )


@pytest.mark.parametrize("any_server", ["embedded"], indirect=True)
@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (
            "await DB.execute('UPDATE article SET nothing = 1')",
            ["does not exist (42703)", "statement: UPDATE article SET nothing = 1"],
        ),
        (
            (
                "sql = 'INSERT INTO article (id, status) VALUES ($1, $1)'\n"
                f"for _ in range(2): await DB.execute(sql, '{CANARY}')"
            ),
            ["article_pkey", "23505", "statement: INSERT INTO article"],
        ),
        (
            "raise KeyError('missing setting')",
            ["KeyError: 'missing setting'", "_data.py, line 9, in backfill"],
        ),
        (f"await DB.fetch('SELECT $1::int', '{CANARY}')", ["argument does not fit its column"]),
    ],
    ids=["statement", "constraint", "python", "argument"],
)
async def test_a_data_migration_fails(
    body: str, parts: list[str], make_app: Callable[[], App], tmp_path: Path
):
    app = make_app()
    old = await app.migrate(plain())
    raw(app, tmp_path, body)
    text = await failure(app)
    for part in parts:
        assert part in text
    assert await app.schema() == old
    assert await DB.fetchval("SELECT count(*) FROM article") == 0


@pytest.mark.parametrize("any_server", ["embedded"], indirect=True)
async def test_without_a_transaction_it_says_what_remains(
    make_app: Callable[[], App], tmp_path: Path
):
    app = make_app()
    await app.migrate(plain())
    raw(app, tmp_path, "await DB.execute('SELECT 1/0')", ", wrap_in_transaction=False")
    assert "failed, earlier statements of it remain applied" in await failure(app)


@pytest.mark.parametrize("any_server", ["embedded"], indirect=True)
async def test_a_table_that_stays_locked(make_app: Callable[[], App], monkeypatch):
    monkeypatch.setattr("learner_app.schema.migration_runner.LOCK_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr("learner_app.schema.migration_runner.LOCK_ATTEMPTS", 1)
    app = make_app()
    await app.migrate(plain())
    await app.write(plain(note=Varchar(9, default="")))
    reader = await DB.get_new_connection()
    async with reader.transaction():
        await reader.fetch("SELECT * FROM article")
        assert "a table stayed locked by another session" in await failure(app)
    await reader.close()


@pytest.mark.slow
async def test_through_every_command(clone: DatabaseEngine):
    assert (await run_backwards("tenancy", "all", auto_agree=True)).success
    await clone.run_ddl("CREATE TABLE tenants (id int)")
    expected = [
        'relation "tenants" already exists (42P07)',
        'CREATE TABLE "tenants"',
        " tenancy 20",
    ]
    with pytest.raises(MigrationError) as failed:
        await apply_migrations(clone)
    done = await asyncio.to_thread(run, "migrate", url=clone.url)
    process = await piccolo(clone, "migrations", "forwards", "all")
    output = (await process.communicate())[0].decode()
    assert (done.returncode, done.stderr.count("\n"), process.returncode) == (1, 1, 1)
    for part in expected:
        assert part in str(failed.value)
        assert part in done.stderr
        assert part in output
