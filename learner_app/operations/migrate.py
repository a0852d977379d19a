"""Running the migrations from code, quietly."""

import io
from contextlib import redirect_stdout

from piccolo.apps.migrations.commands.forwards import run_forwards

from learner_app.database.engine import DatabaseEngine
from learner_app.database.waiting import wait_for_database
from learner_app.errors import MigrationError
from learner_app.schema.pending import pending_migrations


async def apply_migrations(engine: DatabaseEngine) -> int:
    """Apply what is pending, as ``piccolo migrations forwards all`` does.

    Returns:
        The number of migrations that were pending.

    Raises:
        MigrationError: one of them failed; those before it stay applied.
    """
    await wait_for_database(engine)
    connection = await engine.get_new_connection()
    try:
        pending = await pending_migrations(connection)
    finally:
        await connection.close()
    if pending:
        transcript = io.StringIO()
        with redirect_stdout(transcript):
            result = await run_forwards(app_name="all")
        if not result.success:
            raise MigrationError(result.message or "the migrations failed")
    return len(pending)
