"""Schema and migration history of a database."""

from learner_app.database.engine import DatabaseEngine
from tests.catalog import read_schema

HISTORY = "SELECT app_name, name FROM migration ORDER BY name"


async def schema_of(engine: DatabaseEngine) -> dict:
    """Return the schema of the database, read over a connection of its own."""
    connection = await engine.get_new_connection()
    try:
        return await read_schema(connection)
    finally:
        await connection.close()


async def history_of(engine: DatabaseEngine) -> list[tuple[str, str]]:
    """Return app and name of every migration in the history table."""
    connection = await engine.get_new_connection()
    try:
        return [tuple(row) for row in await connection.fetch(HISTORY)]
    finally:
        await connection.close()
