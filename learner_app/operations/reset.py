"""Beginning anew: every table of ours is dropped, whatever the journal says, and made again."""

from piccolo.apps.migrations.tables import Migration
from piccolo.conf.apps import Finder

from learner_app.database.engine import DatabaseEngine
from learner_app.database.waiting import wait_for_database
from learner_app.errors import ResetRefused
from learner_app.operations.seed.plant import refuse_in_production
from learner_app.schema.objects import DROP_UNUSED_TOUCH_FUNCTIONS
from learner_app.schema.ownership import require_owner
from learner_app.schema.schema_object import quoted

TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1"


async def tables_to_drop(engine: DatabaseEngine) -> list[str]:
    """Names of the tables that are there and ours.

    Raises:
        SettingsError: in production.
        MigrationError: the role may not drop them.
        ResetRefused: there are tables that no registered app declares.
    """
    refuse_in_production(engine)
    await wait_for_database(engine)
    connection = await engine.get_new_connection()
    try:
        await require_owner(connection)
        found = [row[0] for row in await connection.fetch(TABLES)]
    finally:
        await connection.close()
    declared = {table._meta.tablename for table in Finder().get_table_classes()}
    unknown = [name for name in found if name not in declared | {Migration._meta.tablename}]
    if unknown:
        raise ResetRefused(
            f"{engine.target} holds tables that are not ours, nothing was deleted: "
            + ", ".join(unknown[:5])
        )
    return found


async def drop_tables(engine: DatabaseEngine, names: list[str]) -> None:
    """Drop the tables and the trigger functions in one transaction; foreign keys do not matter."""
    async with engine.transaction() as transaction:
        await transaction.connection.execute("SET LOCAL lock_timeout = '10s'")
        if names:
            listed = ", ".join(quoted(name) for name in names)
            await transaction.connection.execute(f"DROP TABLE {listed}")
        await transaction.connection.execute(DROP_UNUSED_TOUCH_FUNCTIONS)
