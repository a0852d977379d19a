"""The database of TEST_DATABASE_URL, once it is sure that tests may use its server."""

import re

import asyncpg

from learner_app.database.dsn import DatabaseUrl, find_database_url, parse_url
from learner_app.errors import SettingsError
from learner_app.settings import Settings
from learner_app.testing.servers import run_in_thread

CONNECT_SECONDS = 3
IDENTITY = "SELECT system_identifier, current_database() FROM pg_control_system()"


def given_url(settings: Settings) -> str | None:
    """TEST_DATABASE_URL where it is set.

    Raises:
        SettingsError: its database does not say test in its name, or is that of DATABASE_URL.
    """
    if settings.test_database_url is None:
        return None
    url = settings.test_database_url.get_secret_value()
    target = parse_url("TEST_DATABASE_URL", url)
    if not re.search(r"(^|[^a-z])tests?([^a-z]|$)", target.database.lower()):
        raise SettingsError("TEST_DATABASE_URL: the name of its database must say test")
    if settings.has_database and run_in_thread(_is_same(find_database_url(settings), target)):
        raise SettingsError("TEST_DATABASE_URL is the database of DATABASE_URL, refused")
    return url


async def _is_same(one: DatabaseUrl, other: DatabaseUrl) -> bool:
    """Whether both are one database, however their servers are called."""
    if (one.hosts, one.ports, one.database) == (other.hosts, other.ports, other.database):
        return True
    identities = []
    for target in (one, other):
        arguments = target.connect_arguments(Settings())
        try:
            connection = await asyncpg.connect(**arguments, timeout=CONNECT_SECONDS)
        except (OSError, asyncpg.PostgresError):
            return False  # the one that is not there cannot be harmed
        try:
            identities.append(await connection.fetchrow(IDENTITY))
        except asyncpg.PostgresError:  # not everybody may ask: then the name alone decides
            return one.database == other.database
        finally:
            await connection.close()
    return bool(identities[0] == identities[1])
