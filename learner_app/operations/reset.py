"""Reset of a database: drop all tables of the registered apps.

The functions connect as the owner role, which must own the tables.

The migration history is not consulted: tables with wrong or missing rows in it are dropped as well.
"""

from typing import NamedTuple

import asyncpg
from piccolo.conf.apps import Finder

from learner_app.database.dsn import require_unambiguous_database
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import ResetRefused
from learner_app.operations.preconditions import refuse_in_production
from learner_app.schema.objects import DROP_UNUSED_TOUCH_FUNCTIONS
from learner_app.schema.ownership import HISTORY_TABLE, require_owner
from learner_app.schema.schema_object import quoted

NAMES_SHOWN = 5
LOCK_SECONDS = 10
"""Time limit for the locks of the tables to drop."""

TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'f') AND NOT EXISTS (
  SELECT FROM pg_depend d
  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1
"""
"""Tables of the current schema, except those that belong to an extension."""

HISTORY_EXISTS = "SELECT true FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1"


class ResetPlan(NamedTuple):
    """Tables that a reset drops, and tables that it leaves in place."""

    tables: list[str]
    """Names of the tables to drop, without the migration history."""
    other_tables: list[str]
    """Names of the tables that no registered app declares."""


async def plan_reset(engine: DatabaseEngine, *, keep_other_tables: bool = False) -> ResetPlan:
    """Return the tables that :func:`drop_tables` would drop, without writing anything.

    Args:
        engine: engine of the database to reset.
        keep_other_tables: leave tables that no registered app declares in place, instead of
            refusing the reset.

    Raises:
        SettingsError: APP_ENV is production, or the settings name two databases.
        MigrationError: the role may not drop the tables.
        ResetRefused: there are tables that no registered app declares.
    """
    refuse_in_production(engine, "reset")
    plan = await find_tables(engine)
    if plan.other_tables and not keep_other_tables:
        raise ResetRefused(
            f"{engine.target} has tables that no registered app declares: "
            f"{abbreviated(plan.other_tables)}. "
            "Nothing was deleted; --keep-other-tables resets and leaves these tables in place"
        )
    return plan


async def find_tables(engine: DatabaseEngine) -> ResetPlan:
    """Return the existing tables of the registered apps, and the other tables of the schema.

    Raises:
        SettingsError: the settings name two databases.
        MigrationError: the role may not drop the tables.
    """
    if engine.url is None:
        require_unambiguous_database(engine.settings)
    with engine.as_owner():
        await engine.wait_until_ready()
        connection = await engine.get_new_connection()
    try:
        await require_owner(connection)
        found = [row[0] for row in await connection.fetch(TABLES)]
    finally:
        await connection.close()
    declared = {table._meta.tablename for table in Finder().get_table_classes()}
    others = [name for name in found if name not in declared | {HISTORY_TABLE}]
    return ResetPlan([name for name in found if name in declared], others)


async def drop_tables(engine: DatabaseEngine, plan: ResetPlan) -> None:
    """Drop the tables, their trigger functions and the migration history, in one transaction.

    If other tables remain, their migrations may have rows in the history. In this case only the
    rows of the registered apps are deleted.

    Raises:
        ResetRefused: a view, a foreign key or another object depends on a table, or another
            session locks one; nothing was deleted.
    """
    with engine.as_owner():
        async with engine.transaction() as transaction:
            await _drop_tables(engine, transaction.connection, plan)


async def _drop_tables(
    engine: DatabaseEngine, connection: asyncpg.Connection, plan: ResetPlan
) -> None:
    execute = connection.execute
    await execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
    try:
        if plan.tables:
            await execute(f"DROP TABLE {', '.join(quoted(name) for name in plan.tables)}")
        await execute(DROP_UNUSED_TOUCH_FUNCTIONS)
        await _delete_history(connection, keep_others=bool(plan.other_tables))
    except asyncpg.DependentObjectsStillExistError as error:
        dependents = (error.detail or "an object depends on a table").splitlines()
        raise ResetRefused(
            f"{engine.target}: {abbreviated(dependents, '; ')}. Nothing was deleted; drop what "
            "depends on the tables first"
        ) from None
    except asyncpg.LockNotAvailableError:
        raise ResetRefused(
            f"{engine.target}: another session locks a table. Nothing was deleted; end that "
            "session's transaction first"
        ) from None


async def _delete_history(connection: asyncpg.Connection, *, keep_others: bool) -> None:
    if not await connection.fetchval(HISTORY_EXISTS, HISTORY_TABLE):
        return
    if keep_others:
        apps = Finder().get_app_names()
        query = f"DELETE FROM {quoted(HISTORY_TABLE)} WHERE app_name = ANY($1)"  # noqa: S608  # a constant
        await connection.execute(query, apps)
    else:
        await connection.execute(f"DROP TABLE {quoted(HISTORY_TABLE)}")


def abbreviated(names: list[str], separator: str = ", ") -> str:
    """Return the first names in one line, and the number of the rest."""
    shown = separator.join(names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown}{separator}and {more} more" if more > 0 else shown
