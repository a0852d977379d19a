"""Waiting for a database that is still starting: exponential pauses with full jitter."""

import asyncio
import logging
import random
from collections.abc import Iterator

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import DatabaseUnavailable
from learner_app.settings import Settings

log = logging.getLogger(__name__)


async def wait_for_database(engine: DatabaseEngine) -> None:
    """Return once the server lets us in; for the start of a command, not for requests.

    Raises:
        DatabaseUnavailable: it did not within DB_RETRY_ATTEMPTS attempts.
        DatabaseRefused: it said no; that is not tried again.
    """
    attempts = engine.settings.db_retry_attempts
    for number, longest in enumerate(longest_pauses(engine.settings), start=1):
        try:
            connection = await engine.get_new_connection()
        except DatabaseUnavailable as error:
            if number == attempts:
                raise
            pause = random.uniform(0, longest)  # noqa: S311  # no secret
            log.warning("%s (attempt %d of %d, next in %.1f s)", error, number, attempts, pause)
            await asyncio.sleep(pause)
        else:
            await connection.close()
            return


def longest_pauses(settings: Settings) -> Iterator[float]:
    """The longest pause after each attempt, in seconds."""
    for number in range(settings.db_retry_attempts):
        growth = settings.db_retry_multiplier**number
        yield min(settings.db_retry_initial * growth, settings.db_retry_max)
