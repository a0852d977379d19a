"""Any number of simulated events, inserted in batches of whole sessions.

Session number n is the same in every run, and a batch commits at once. An interrupted run
therefore continues where it stopped, and concurrent runs share the work.

The sessions fill a fixed period in the past, one every 31 seconds. The sessions after its end start
again at its beginning, between the first ones: more events make the period denser, not longer.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any

from learner_app.content.rows import ContentCreate
from learner_app.database.engine import DatabaseEngine
from learner_app.listening.repositories import BehavioralEventRepository
from learner_app.listening.tables import ListeningSessionTable
from learner_app.operations.preconditions import refuse_in_production
from learner_app.operations.seed.contents import load_contents
from learner_app.operations.seed.insert import ADVISORY_LOCK, insert_seed
from learner_app.operations.seed.simulation import SimulatedSession

EVENTS_PER_BATCH = 20_000
PERIOD_START = datetime(2026, 6, 1, tzinfo=UTC)
PERIOD = timedelta(days=150)
TIME_BETWEEN_SESSIONS = timedelta(seconds=31)
"""No divisor of the period, so that no two sessions start at the same time."""

MAX_SESSION_LENGTH = timedelta(hours=2)
COUNT_SESSIONS = "SELECT count(*) FROM sessions WHERE id LIKE 'bulk-%'"
COUNT_EVENTS = "SELECT count(*) FROM behavioral_events WHERE id LIKE 'bulk-%'"


async def insert_bulk_events(
    engine: DatabaseEngine, total: int, on_progress: Callable[[int], None]
) -> int:
    """Insert the example data, then simulated events until the database has ``total`` of them.

    No event is later than the current time.

    Args:
        engine: the database; a million events need about 1.6 GB of disk.
        total: number of simulated events, including those of earlier runs.
        on_progress: called after each batch with the number of events in the database.

    Returns:
        The number of events created by this call.

    Raises:
        SettingsError: APP_ENV is production in the settings of the engine.
        MigrationsPending: the tables lack migrations.
    """
    refuse_in_production(engine, "inserting example data")
    await insert_seed(engine)
    contents = [content.new for content in load_contents()]
    sessions, events = await engine.fetchval(COUNT_SESSIONS), await engine.fetchval(COUNT_EVENTS)
    now, created = datetime.now(UTC), 0
    on_progress(events)
    while events < total:
        async with engine.transaction() as transaction:
            await engine.execute(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
            committed = await engine.fetchval(COUNT_SESSIONS)
            if committed != sessions:  # by a concurrent run
                sessions, events = committed, await engine.fetchval(COUNT_EVENTS)
                continue
            batch = _batch(contents, sessions, min(EVENTS_PER_BATCH, total - events), now)
            if not batch:
                break
            await _copy_sessions(transaction.connection, batch)
            await BehavioralEventRepository(engine).ingest(_events(batch))
        size = sum(len(session.events) for session in batch)
        sessions, events, created = sessions + len(batch), events + size, created + size
        on_progress(events)
    return created


def _batch(
    contents: list[ContentCreate], done: int, size: int, now: datetime
) -> list[SimulatedSession]:
    """Return the next sessions, with exactly ``size`` events together.

    Empty if the current time is before the period.
    """
    batch: list[SimulatedSession] = []
    missing = size
    for session in _sessions(contents, done, now):
        del session.events[missing:]
        batch.append(session)
        missing -= len(session.events)
        if missing == 0:
            break
    return batch


def _sessions(
    contents: list[ContentCreate], after: int, now: datetime
) -> Iterator[SimulatedSession]:
    """Yield the sessions after that number, all of which end before ``now``."""
    period = min(PERIOD, now - MAX_SESSION_LENGTH - PERIOD_START)
    if period <= timedelta():
        return
    for number in count(after + 1):
        random = Random(number)  # noqa: S311  # not for cryptography
        start = PERIOD_START + number * TIME_BETWEEN_SESSIONS % period
        session = SimulatedSession(f"bulk-{number:08}", number, random, start)
        for content in random.sample(contents, 1 + int(session.between(0, 5))):
            session.play(content)
        yield session


async def _events(batch: list[SimulatedSession]) -> AsyncIterator[dict[str, Any]]:
    for session in batch:
        for event in session.events:
            yield event


async def _copy_sessions(connection: Any, batch: list[SimulatedSession]) -> None:
    """Insert the sessions by COPY.

    The repository would execute several statements per session for the list of its contents.
    """
    rows = [
        vars(session.new)
        | {"content_ids": session.content_ids, "current_content_id": session.content_ids[-1]}
        for session in batch
    ]
    await connection.copy_records_to_table(
        ListeningSessionTable._meta.tablename,
        columns=list(rows[0]),
        records=[tuple(row.values()) for row in rows],
    )
