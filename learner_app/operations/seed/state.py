"""State of a database before the example data is inserted."""

from learner_app.accounts.tables import UserTable
from learner_app.content.tables import ContentTable
from learner_app.database.engine import DatabaseEngine

_HAS_ROWS = " OR ".join(
    f"EXISTS (SELECT FROM {table._meta.tablename})" for table in (UserTable, ContentTable)
)


async def is_empty(engine: DatabaseEngine) -> bool:
    """Return True if the database has neither users nor content."""
    # SQL, because the repositories of all domains take half a second to import
    return not await engine.fetchval(f"SELECT {_HAS_ROWS}")
