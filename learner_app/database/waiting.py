"""Pauses between attempts, and waiting for a database that is still starting."""

import asyncio
import logging
import random
from collections.abc import Iterator

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import DatabaseUnavailable
from learner_app.settings import Settings

CLOSE_SECONDS = 1

log = logging.getLogger(__name__)


async def wait_for_database(engine: DatabaseEngine) -> None:
    """Return once the server lets us in; for the start of a program, not for requests.

    Raises:
        DatabaseUnavailable: it did not within DB_RETRY_ATTEMPTS attempts or DB_RETRY_DEADLINE.
        DatabaseRefused: it said no; that is not tried again.
    """
    settings = engine.settings
    attempts = settings.db_retry_attempts
    loop = asyncio.get_running_loop()
    deadline = loop.time() + settings.db_retry_deadline
    for number, longest in enumerate(longest_pauses(settings), start=1):
        started = loop.time()
        try:
            connection = await engine.get_new_connection()
        except DatabaseUnavailable as error:
            pause = random.uniform(0, longest)  # noqa: S311  # no secret
            if number == attempts or loop.time() + pause > deadline:
                log.warning("%s (attempt %d of %d, the last)", error, number, attempts)
                raise
            log.warning("%s (attempt %d of %d, next in %.1f s)", error, number, attempts, pause)
            await asyncio.sleep(pause)
        else:
            await connection.close(timeout=CLOSE_SECONDS)
            seconds = loop.time() - started
            log.info("%s: connected (attempt %d, %.2f s)", engine.target, number, seconds)
            return


def longest_pauses(settings: Settings) -> Iterator[float]:
    """The longest pause after each attempt, in seconds; the pause itself is random below it."""
    for number in range(settings.db_retry_attempts):
        growth = settings.db_retry_multiplier**number
        yield min(settings.db_retry_initial * growth, settings.db_retry_max)
