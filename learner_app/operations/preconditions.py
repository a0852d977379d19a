"""Checks before an operation writes."""

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import MigrationsPending, SettingsError
from learner_app.schema.pending import pending_migrations


def refuse_in_production(engine: DatabaseEngine, operation: str) -> None:
    """Raise SettingsError with the name of the operation if APP_ENV is production."""
    if engine.settings.app_env == "production":
        raise SettingsError(f"{operation} is refused because APP_ENV is production")


async def require_migrated(engine: DatabaseEngine, *apps: str) -> None:
    """Raise MigrationsPending if a migration of the apps is pending.

    Args:
        engine: engine of the database.
        apps: names of Piccolo apps. Migrations of other apps may be pending.
    """
    await engine.wait_until_ready()
    connection = await engine.get_new_connection()
    try:
        pending = [app for app, _ in await pending_migrations(connection) if app in apps]
    finally:
        await connection.close()
    if pending:
        names = ", ".join(sorted(set(pending)))
        amount = "1 migration" if len(pending) == 1 else f"{len(pending)} migrations"
        raise MigrationsPending(f"{engine.target} lacks {amount} ({names}): run `learner migrate`")
