"""Database URL of the owner role, the role that migrates and dumps the database."""

import json
from dataclasses import replace

from learner_app.database.dsn import DatabaseUrl, find_database_url, parse_url
from learner_app.errors import SettingsError
from learner_app.settings import Settings


def find_owner_url(settings: Settings) -> DatabaseUrl:
    """Return the URL of the owner role, or that of the application role if none is configured.

    Raises:
        DatabaseNotConfigured: no database is configured.
        SettingsError: a setting is invalid, or the owner's URL names another database.
    """
    application = find_database_url(settings)
    if settings.database_owner_url:
        url = settings.database_owner_url.get_secret_value()
        owner = parse_url("DATABASE_OWNER_URL", url)
        _require_same_database(owner, application, settings)
        return owner
    if settings.db_owner_user:
        password = settings.db_owner_password
        return replace(
            application,
            user=settings.db_owner_user,
            password=password.get_secret_value() if password else None,
        )
    if application.is_development:
        return replace(application, user=_development_owner(settings) or application.user)
    return application


def _require_same_database(
    owner: DatabaseUrl, application: DatabaseUrl, settings: Settings
) -> None:
    """Raise SettingsError if migrations and the application would use different tables.

    Through PgBouncer the application's database name may be an alias, so it is not compared.
    """
    if settings.db_pgbouncer:
        return
    if owner.database != application.database:
        raise SettingsError(
            "DATABASE_OWNER_URL must name the database of the application "
            f"({application.database!r}, not {owner.database!r})"
        )
    if _search_path(owner) != _search_path(application):
        raise SettingsError(
            "DATABASE_OWNER_URL and the URL of the application must have the same search_path"
        )


def _search_path(target: DatabaseUrl) -> str | None:
    return target.server_settings.get("search_path")


def _development_owner(settings: Settings) -> str | None:
    """Return the owner role of the running ``learner up``, None if it has a single role."""
    try:
        running = json.loads(settings.running_file.read_text())
    except (OSError, ValueError):  # `learner up` was just stopped, which connecting reports
        return None
    owner = running.get("owner")
    return owner if isinstance(owner, str) else None
