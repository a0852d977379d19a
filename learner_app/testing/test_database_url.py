"""TEST_DATABASE_URL and the checks that protect other databases from the tests."""

import re

import asyncpg

from learner_app.database.dsn import DatabaseUrl, find_database_url, parse_url
from learner_app.errors import SettingsError
from learner_app.settings import Settings
from learner_app.testing.servers import run_in_thread

CONNECT_SECONDS = 3
IDENTITY = "SELECT system_identifier, current_database() FROM pg_control_system()"


def find_test_database_url(settings: Settings) -> str | None:
    """Return TEST_DATABASE_URL, or None if it is not set.

    Raises:
        SettingsError: the name of the database does not contain the word "test", or the database
            is the one of DATABASE_URL.
    """
    if settings.test_database_url is None:
        return None
    url = settings.test_database_url.get_secret_value()
    target = parse_url("TEST_DATABASE_URL", url)
    if not re.search(r"(^|[^a-z])tests?([^a-z]|$)", target.database.lower()):
        raise SettingsError(
            "TEST_DATABASE_URL: the name of the database must contain the word test"
        )
    if settings.has_database and run_in_thread(_is_same(settings, target)):
        raise SettingsError(
            "TEST_DATABASE_URL and DATABASE_URL are the same database: use another one for tests"
        )
    return url


async def _is_same(settings: Settings, other: DatabaseUrl) -> bool:
    """Return whether a URL leads to the configured database, also by another host name."""
    one = find_database_url(settings)
    if (one.hosts, one.ports, one.database) == (other.hosts, other.ports, other.database):
        return True
    identities = []
    for target in (one, other):
        arguments = target.connect_arguments(settings)
        try:
            connection = await asyncpg.connect(**arguments, timeout=CONNECT_SECONDS)
        except (OSError, asyncpg.PostgresError):
            return False  # tests cannot change a database that does not answer
        try:
            identities.append(await connection.fetchrow(IDENTITY))
        except asyncpg.PostgresError:  # without the privilege only the name is compared
            return one.database == other.database
        finally:
            await connection.close()
    return bool(identities[0] == identities[1])
