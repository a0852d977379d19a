"""Any number of simulated events, inserted in batches of whole sessions.

Session number n is the same in every run, and each batch is one transaction. An interrupted run
therefore continues where it stopped, and concurrent runs share the work.

The sessions fill a fixed period in the past, one every 31 seconds. The sessions after its end start
again at its beginning, between the first ones: more events make the period denser, not longer.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from learner_app.content.rows import ContentCreate
from learner_app.database.engine import DatabaseEngine
from learner_app.listening.repositories import BehavioralEventRepository
from learner_app.operations.seed.data import SeedSession, load_contents, simulate_session
from learner_app.operations.seed.insert import LOCK, insert_seed

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

    No event is later than the current time. A million events need about 1.6 GB of disk.
    ``on_progress`` is called after each batch with the number of events in the database. The
    errors are those of :func:`insert_seed`.

    Returns:
        The number of events created by this call.
    """
    await insert_seed(engine)
    contents = load_contents()
    sessions, events = await engine.fetchval(COUNT_SESSIONS), await engine.fetchval(COUNT_EVENTS)
    now, created = datetime.now(UTC), 0
    on_progress(events)
    while events < total:
        async with engine.transaction() as transaction:
            await engine.execute(LOCK)
            committed = await engine.fetchval(COUNT_SESSIONS)
            if committed != sessions:  # by a concurrent run
                sessions, events = committed, await engine.fetchval(COUNT_EVENTS)
                continue
            batch = next_sessions(contents, sessions, min(EVENTS_PER_BATCH, total - events), now)
            if not batch:
                break
            await _copy_sessions(transaction.connection, batch)
            result = await BehavioralEventRepository(engine).ingest(_events(batch))
        sessions, events = sessions + len(batch), events + result.recorded
        created += result.recorded
        on_progress(events)
    return created


def next_sessions(
    contents: Sequence[ContentCreate], done: int, max_events: int, now: datetime
) -> list[SeedSession]:
    """Return the sessions after the first ``done`` ones, with ``max_events`` events in total.

    All sessions end before ``now``. The list is empty if ``now`` is before the period.
    """
    period = min(PERIOD, now - MAX_SESSION_LENGTH - PERIOD_START)
    batch: list[SeedSession] = []
    while max_events > 0 and period > timedelta():
        number = done + len(batch) + 1
        start = PERIOD_START + number * TIME_BETWEEN_SESSIONS % period
        batch.append(simulate_session(f"bulk-{number:08}", start, contents, max_events))
        max_events -= len(batch[-1].events)
    return batch


async def _copy_sessions(connection: Any, batch: Sequence[SeedSession]) -> None:
    """Insert sessions by COPY, because the repository needs several statements per session."""
    names = [*vars(batch[0].new), "content_ids", "current_content_id"]
    records = [(*vars(new).values(), ids, ids[-1]) for new, ids, _ in batch]
    await connection.copy_records_to_table("sessions", columns=names, records=records)


async def _events(batch: Sequence[SeedSession]) -> AsyncIterator[dict[str, Any]]:
    for session in batch:
        for event in session.events:
            yield event
