"""Writing the seed: everything in one transaction, nothing that is there already is touched."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from piccolo.table import Table

from learner_app.accounts.tables import UserTable
from learner_app.content.tables import ContentTable
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import SettingsError
from learner_app.operations.preconditions import require_migrated
from learner_app.operations.seed.learning import generation_jobs, learner_states, preferences
from learner_app.operations.seed.listening import tell_sessions
from learner_app.operations.seed.people import SEED_USERS, account_rows, user_rows
from learner_app.operations.seed.pieces import load_pieces

APPS = ("accounts", "content", "generation", "learner", "listening")
"""Piccolo apps whose tables the seed fills."""

ROWS_PER_STATEMENT = 500
ADVISORY_LOCK = 0x73656564
"""The letters of "seed": two seeds at once take turns."""


class SeedCounts(NamedTuple):
    """Rows of the seed in one table."""

    created: int
    found: int


async def insert_seed(engine: DatabaseEngine) -> dict[str, SeedCounts]:
    """Insert what is missing of the seed; what is there is left as it is.

    Returns:
        What was created and what was there already, by table.

    Raises:
        SettingsError: in production.
        MigrationsPending: the tables do not exist yet, or not in their newest form.
    """
    refuse_in_production(engine, "inserting example data")
    await require_migrated(engine, *APPS)
    pieces = load_pieces()
    sessions = tell_sessions(pieces)
    users = user_rows()
    async with engine.transaction() as transaction:
        await transaction.connection.execute(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
        created = {"users": await _insert_missing(users)}
        emails = [user.email for user in SEED_USERS]
        ids = await UserTable.select(UserTable.id).where(UserTable.email.is_in(emails))
        created["accounts"] = await _insert_missing(account_rows([row["id"] for row in ids]))
        for rows in (
            [session.row() for session in sessions],
            [piece.row() for piece in pieces],
            [event.row() for session in sessions for event in session.events],
            [like for session in sessions for like in session.likes],
            learner_states(sessions),
            preferences(sessions),
            generation_jobs(pieces, sessions),
        ):
            created[rows[0]._meta.tablename] = await _insert_missing(rows)
    return created


def refuse_in_production(engine: DatabaseEngine, operation: str) -> None:
    """Raise SettingsError with the name of the operation if APP_ENV is production."""
    if engine.settings.app_env == "production":
        raise SettingsError(f"APP_ENV is production: {operation} is refused there")


async def is_empty() -> bool:
    """Whether the database has neither users nor content, as after its first migrations."""
    return not (await UserTable.exists() or await ContentTable.exists())


async def _insert_missing(rows: Sequence[Table]) -> SeedCounts:
    table: type[Table] = type(rows[0])
    created = 0
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        insert: Any = table.insert(*rows[start : start + ROWS_PER_STATEMENT])
        created += len(await insert.on_conflict(action="DO NOTHING"))
    return SeedCounts(created, len(rows) - created)
