"""Writes to the migration history, the table ``migration`` of the connection's schema.

Reads without a lock: :mod:`learner_app.schema.pending`.
"""

from collections.abc import Iterable

from piccolo.apps.migrations.tables import Migration
from piccolo.columns.defaults.timestamp import TimestampNow

from learner_app.errors import MigrationError
from learner_app.schema.migration_engine import MigrationEngine
from learner_app.schema.migration_errors import run_statement
from learner_app.schema.migration_lock import locked_transaction
from learner_app.schema.ownership import protect_history
from learner_app.schema.pending import read_history

CURRENT_SCHEMA = "SELECT current_schema()"
HAS_HISTORY = "SELECT to_regclass(quote_ident(current_schema()) || '.migration') IS NOT NULL"
IS_APPLIED = "SELECT EXISTS (SELECT FROM migration WHERE app_name = $1 AND name = $2)"
RECORD = "INSERT INTO migration (app_name, name, ran_on) VALUES ($1, $2, $3)"
REMOVE = "DELETE FROM migration WHERE app_name = $1 AND name = ANY($2::text[])"


class MigrationHistory:
    """Migration history of one database.

    ``record``, ``remove`` and ``is_applied`` take part in the current transaction of the engine.
    """

    def __init__(self, engine: MigrationEngine) -> None:
        self._engine = engine

    async def create(self) -> bool:
        """Create the table unless it exists, and return True if this call created it.

        Raises:
            MigrationError: no schema of ``search_path`` exists, or the role may not create tables.
        """
        connection = await self._engine.get_new_connection()
        try:
            schema = await connection.fetchval(CURRENT_SCHEMA)
            exists = await connection.fetchval(HAS_HISTORY)
        finally:
            await connection.close()
        if schema is None:
            raise MigrationError(
                "search_path names no schema that exists and that the role may use: "
                "CREATE SCHEMA first"
            )
        if exists:
            return False
        async with locked_transaction(self._engine, lock_timeout=None) as connection:
            if await self._engine.fetchval(HAS_HISTORY):  # created while this one waited
                return False
            for statement in Migration.create_table().ddl:
                await run_statement(self._engine, statement)
            await protect_history(connection)
        return True

    async def applied(self, app: str) -> list[str]:
        """Return the ids of an app's applied migrations in order, none if the table is missing."""
        connection = await self._engine.get_new_connection()
        try:
            history = await read_history(connection)
        finally:
            await connection.close()
        return sorted(migration_id for name, migration_id in history if name == app)

    async def is_applied(self, app: str, migration_id: str) -> bool:
        """Return True if the migration is applied."""
        return bool(await self._engine.fetchval(IS_APPLIED, app, migration_id))

    async def record(self, app: str, migration_id: str) -> None:
        """Insert the row of an applied migration with the local time, as Piccolo does."""
        now = TimestampNow().python()  # type: ignore[no-untyped-call]
        await self._engine.execute(RECORD, app, migration_id, now)

    async def remove(self, app: str, migration_ids: Iterable[str]) -> None:
        """Delete the rows of migrations."""
        await self._engine.execute(REMOVE, app, list(migration_ids))
