"""Listening at any volume, by COPY: the same stories as the small seed, only many more of them.

Session number n is the same at every call, and a batch of whole sessions commits at once. So an
interrupted run is taken up where it stopped, and two runs at once share the work.

The sessions fill a fixed period in the past, one every 31 seconds. Those that no longer fit start
at its beginning again, between the first ones: more events make the period denser, not longer.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from random import Random
from typing import Any

from learner_app.database.engine import DatabaseEngine
from learner_app.listening.tables import BehavioralEventTable, ListeningSessionTable
from learner_app.operations.seed.listening import Event, SeedSession, hear
from learner_app.operations.seed.pieces import Piece, load_pieces
from learner_app.operations.seed.plant import ADVISORY_LOCK, insert_seed, refuse_in_production

EVENTS_PER_BATCH = 20_000
FIRST_MOMENT = datetime(2026, 6, 1, tzinfo=UTC)
PERIOD = timedelta(days=150)
SESSION_DISTANCE = timedelta(seconds=31)
"""No divisor of the period, so that no two sessions start at the same time."""

LONGEST_SESSION = timedelta(hours=2)
PROGRESS = """
SELECT (SELECT count(*) FROM sessions WHERE id LIKE 'bulk-%'),
       (SELECT count(*) FROM behavioral_events WHERE id LIKE 'bulk-%')
"""


async def plant_events(
    engine: DatabaseEngine, wanted: int, on_progress: Callable[[int], None]
) -> int:
    """Insert events of made-up sessions until there are that many, after the small seed.

    No event is later than the current time, whatever their number.

    Args:
        engine: where to; it needs about 1.6 GB of disk for a million events.
        wanted: number of events in all, those of earlier runs included.
        on_progress: told after each batch how many there are.

    Returns:
        The number of events created by this call.

    Raises:
        SettingsError: in production.
        MigrationsPending: the tables do not exist yet, or not in their newest form.
    """
    refuse_in_production(engine, "inserting example data")
    await insert_seed(engine)
    pieces = load_pieces()
    connection = await engine.get_new_connection()
    now, created = datetime.now(UTC), 0
    try:
        sessions, events = await _count(connection)
        on_progress(events)
        while events < wanted:
            async with connection.transaction():
                await connection.execute(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
                newest = await connection.fetchval(
                    "SELECT count(*) FROM sessions WHERE id LIKE 'bulk-%'"
                )
                if newest != sessions:  # another run was at work
                    sessions, events = await _count(connection)
                    continue
                size = min(EVENTS_PER_BATCH, wanted - events)
                batch = _batch(pieces, sessions, size, now)
                if not batch:
                    break
                await _copy(connection, batch)
            written = sum(len(session.events) for session in batch)
            sessions, events, created = sessions + len(batch), events + written, created + written
            on_progress(events)
    finally:
        await connection.close()
    return created


async def _count(connection: Any) -> tuple[int, int]:
    """Sessions and events of this kind that are there."""
    row = await connection.fetchrow(PROGRESS)
    return row[0], row[1]


def _batch(pieces: list[Piece], done: int, size: int, now: datetime) -> list[SeedSession]:
    """Return the next sessions, the last one cut, with exactly ``size`` events together.

    Empty if the current time is before the period.
    """
    batch: list[SeedSession] = []
    missing = size
    for session in _sessions(pieces, done, now):
        session.cut(missing)
        batch.append(session)
        missing -= len(session.events)
        if missing == 0:
            break
    return batch


def _sessions(pieces: list[Piece], after: int, now: datetime) -> Iterator[SeedSession]:
    """Yield the sessions after that number, all of which end before ``now``."""
    period = min(PERIOD, now - LONGEST_SESSION - FIRST_MOMENT)
    if period <= timedelta():
        return
    for number in count(after + 1):
        random = Random(number)  # noqa: S311  # a story, no secret
        start = FIRST_MOMENT + number * SESSION_DISTANCE % period
        session = SeedSession(f"bulk-{number:08}", number, random, start, start)
        for piece in random.sample(pieces, 1 + int(session.between(0, 5))):
            session.wait(3, 40)
            hear(session, piece)
        yield session


async def _copy(connection: Any, batch: list[SeedSession]) -> None:
    columns = [session.columns() for session in batch]
    await connection.copy_records_to_table(
        ListeningSessionTable._meta.tablename,
        columns=list(columns[0]),
        records=[tuple(values.values()) for values in columns],
    )
    await connection.copy_records_to_table(
        BehavioralEventTable._meta.tablename,
        columns=Event._fields,
        records=[_encoded(event) for session in batch for event in session.events],
    )


def _encoded(event: Event) -> tuple[Any, ...]:
    return event._replace(
        content_characteristics=_json(tuple(event.content_characteristics.items())),
        device_info=_json(tuple(event.device_info.items())),
    )


@cache
def _json(items: tuple[tuple[str, str], ...]) -> Any:
    return json.dumps(dict(items))
