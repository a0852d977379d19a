"""The template of migration files, and migrations written by hand as it explains."""

from collections.abc import Callable
from pathlib import Path

import pytest
from piccolo.apps.migrations.commands.forwards import run_forwards
from piccolo.apps.migrations.commands.new import _create_new_migration

from learner_app.conf import DB
from learner_app.schema.objects import Index
from tests.schema.changing import App, article, replace_in

pytestmark = pytest.mark.parametrize("any_server", ["embedded"], indirect=True)


async def test_the_template_explains_locks(make_app: Callable[[], App]):
    text = await make_app().write(article())
    for subject in (
        "ACCESS EXCLUSIVE",
        "lock_timeout",
        "CREATE INDEX CONCURRENTLY",
        "wrap_in_transaction=False",
        "batches",
    ):
        assert subject in text[: text.index("from learner_app")]


async def test_a_migration_by_hand_acts_on_the_engine_of_the_run(make_app: Callable[[], App]):
    app = make_app()
    await app.migrate(article())
    meta = await _create_new_migration(app.config, auto=False, description='by "hand"')
    body = "await engine.execute(\"INSERT INTO author (id) VALUES ('a')\")"
    placeholder = '"""Change data in the transaction of the migration."""'
    replace_in(Path(meta.migration_path), placeholder, body)
    assert (await run_forwards(app.name)).success
    assert await DB.fetchval("SELECT id FROM author") == "a"


async def test_a_concurrent_index_is_created_before_its_declaration(make_app: Callable[[], App]):
    app = make_app()
    await app.migrate(article())
    app.write_by_hand(
        "async def fill(engine):\n"
        "        await engine.execute('DROP INDEX CONCURRENTLY IF EXISTS idx_a')\n"
        "        await engine.execute('CREATE INDEX CONCURRENTLY idx_a ON article (status)')",
        wrap_in_transaction=False,
    )
    assert (await run_forwards(app.name)).success
    concurrent = await app.schema()
    assert "idx_a" in concurrent["article"]["indexes"]
    app.config.table_classes = article(idx_a=Index("status"))
    meta = await _create_new_migration(app.config, auto=True)
    assert (await run_forwards(app.name, meta.migration_id, fake=True)).success
    assert await app.schema() == concurrent
    await app.back("all")
    other = make_app()
    assert await other.migrate(article(idx_a=Index("status"))) == concurrent


async def test_a_table_is_changed_in_batches(make_app: Callable[[], App]):
    app = make_app()
    await app.migrate(article())
    await DB.execute("INSERT INTO author SELECT n FROM generate_series(1, 25) n")
    app.write_by_hand(
        "async def fill(engine):\n        while await engine.fetch(SQL):\n            pass",
        sql="UPDATE author SET id = 'x' || id WHERE id IN"
        " (SELECT id FROM author WHERE id NOT LIKE 'x%' LIMIT 10) RETURNING id",
        wrap_in_transaction=False,
    )
    assert (await run_forwards(app.name)).success
    assert await DB.fetchval("SELECT count(*) FROM author WHERE id LIKE 'x%'") == 25
    assert await DB.fetchval("SELECT count(DISTINCT xmin::text) FROM author") == 3
