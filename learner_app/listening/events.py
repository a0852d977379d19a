"""The repository of behavioural events: the hot path."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from learner_app.errors import InvalidValue
from learner_app.listening.clock import TOO_LATE
from learner_app.listening.event_reader import IN_TIME, EventReader
from learner_app.listening.recording import Given, check, copy, record
from learner_app.listening.rows import (
    BatchResult,
    BehavioralEvent,
    BehavioralEventCreate,
    EventFailure,
    IngestResult,
)
from learner_app.listening.tables import BehavioralEventTable
from learner_app.repository.batches import affected_rows, lock_oldest_keys_sql
from learner_app.repository.inputs import invalid_field, require_list, validate
from learner_app.repository.paging import MAX_LIMIT, check_limit
from learner_app.repository.sql import NOW, SqlNames
from learner_app.repository.values import STRICT_BOOL, UTC_DATETIME

T = TypeVar("T")

MOST_EVENTS = 5000
KEPT_FAILURES = 1000
NOT_NULL = "23502"

Sink = Callable[[list[BehavioralEvent]], Awaitable[None]]

e = SqlNames(BehavioralEventTable)
DELETE = f"DELETE FROM {e} WHERE {e.id} = ANY($1::text[])"


class BehavioralEventRepository(EventReader):
    """What learners do while listening; millions of rows.

    Where characteristics of an event are left out, those of its piece are stored.
    """

    async def add(self, new: BehavioralEventCreate) -> BehavioralEvent:
        """Insert a new event.

        Otherwise as :meth:`record`.

        Raises:
            Conflict: there is one with its id.
        """
        with _time_is_told():
            return await super().add(new)

    async def add_many(self, new: Sequence[BehavioralEventCreate]) -> list[BehavioralEvent]:
        """Insert new events, all or none.

        Otherwise as :meth:`add`. Events without a timestamp get the current one of the database,
        a microsecond apart, so that lists have them in the order given.
        """
        with _time_is_told():
            return await super().add_many(await self._timed(require_list(new, "new", self.table)))

    async def record(self, event: BehavioralEventCreate) -> BehavioralEvent:
        """Insert an event, or return the stored one with its id.

        Without a timestamp it gets the current one of the database.

        Raises:
            MissingReference: the piece or the session does not exist.
            InvalidValue: the time is more than a day ahead of the database's clock.
        """
        with _time_is_told():
            return (await self.get_or_add(event))[0]

    async def record_batch(
        self, events: Sequence[Given], *, ensure_sessions: bool = False
    ) -> BatchResult:
        """Store what is good of up to 5,000 events, and say what is bad.

        The same batch again stores nothing twice, if its events have ids; of events with one id
        the first is stored.

        Args:
            events: as inputs, or as a client sent them.
            ensure_sessions: make the sessions that do not exist yet.

        Raises:
            InvalidValue: there are more than 5,000.
        """
        if len(require_list(events, "events", self.table)) > MOST_EVENTS:
            raise invalid_field(self.table, "events", f"must be at most {MOST_EVENTS}")
        validate(STRICT_BOOL, ensure_sessions, "ensure_sessions", self.table)
        incoming = await check(events, self.mapper.to_params)
        return await record(self.engine, incoming, ensure=ensure_sessions)

    async def ingest(
        self, events: AsyncIterable[Given], *, ensure_sessions: bool = False
    ) -> IngestResult:
        """Store any number of events as :meth:`record_batch` does, in constant memory.

        Outside a transaction what came before an error stays; the same stream again stores the
        rest.
        """
        if not isinstance(events, AsyncIterable):
            raise invalid_field(self.table, "events", "must be an async iterable")
        validate(STRICT_BOOL, ensure_sessions, "ensure_sessions", self.table)
        recorded = duplicates = failed = seen = 0
        failures: list[EventFailure] = []
        async with aclosing(_chunks(events, MOST_EVENTS)) as chunks:
            async for chunk in chunks:
                incoming = await check(chunk, self.mapper.to_params, first=seen)
                result = await copy(self.engine, incoming, ensure=ensure_sessions)
                seen += len(chunk)
                recorded += result.recorded
                duplicates += result.duplicates
                failed += len(result.failed)
                failures += result.failed[: KEPT_FAILURES - len(failures)]
        return IngestResult(recorded, duplicates, failed, failures)

    async def delete_before(self, cutoff: datetime, *, batch: int = MAX_LIMIT) -> int:
        """Delete some of the events before then, the oldest first, and say how many.

        Call it until 0. What somebody else is deleting is passed over.
        """
        moment = validate(UTC_DATETIME, cutoff, "cutoff", self.table)
        keys = lock_oldest_keys_sql(e, e.id, f"{e.timestamp} < $1", e.timestamp, batch)
        delete = f"DELETE FROM {e} WHERE {e.id} = ANY({keys})"
        return affected_rows(await self.engine.execute(delete, moment))

    async def archive_before(self, cutoff: datetime, sink: Sink, *, batch: int = MAX_LIMIT) -> int:
        """Hand some of the events before then to the sink, then delete them; say how many.

        Call it until 0, from one place at a time. Nothing is deleted unless the sink returned:
        an event may come to it twice, after a failure, and is never lost. No transaction is
        held while it works.
        """
        moment = validate(UTC_DATETIME, cutoff, "cutoff", self.table)
        most = check_limit(batch, self.table, field="batch")
        if not callable(sink):
            raise invalid_field(self.table, "sink", "must be a function")
        events = await self.list_rows({"until": moment}, most, IN_TIME)
        if events:
            await sink(events)
            await self.engine.run_transaction(lambda: self._delete(events))
        return len(events)

    def export(
        self,
        *,
        session_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncGenerator[BehavioralEvent, None]:
        """All events of a session or a range of time, in order of time and in constant memory.

        No transaction is held while the caller works.

        Raises:
            InvalidValue: neither a session nor a bound is given.
        """
        given = {"session_id": session_id, "since": since, "until": until}
        given = {name: value for name, value in given.items() if value is not None}
        if not given:
            raise invalid_field(self.table, "session_id", "or a range must be given")
        return self.stream_rows(given, IN_TIME)

    async def _timed(self, events: list[BehavioralEventCreate]) -> list[BehavioralEventCreate]:
        untimed = [at for at, event in enumerate(events) if _is_untimed(event)]
        if len(untimed) > 1:
            now = await self.engine.fetchval(f"SELECT {NOW}")
            for place, at in enumerate(untimed):
                time = now + timedelta(microseconds=place)
                events[at] = events[at].model_copy(update={"timestamp": time})
        return events

    async def _delete(self, events: list[BehavioralEvent]) -> None:
        await self.engine.execute(DELETE, [event.id for event in events])


def _is_untimed(event: Any) -> bool:
    return isinstance(event, BehavioralEventCreate) and event.timestamp is None


@contextmanager
def _time_is_told() -> Iterator[None]:
    """The error for a time that ``not_ahead`` refuses says what is wrong with it."""
    try:
        yield
    except InvalidValue as error:
        if error.sqlstate != NOT_NULL or error.fields != ("timestamp",):
            raise
        raise invalid_field(BehavioralEventTable, "timestamp", TOO_LATE) from error.__cause__


async def _chunks(items: AsyncIterable[T], size: int) -> AsyncGenerator[list[T], None]:
    chunk: list[T] = []
    async for item in items:
        chunk.append(item)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
