"""Insert of a batch of events that stores every valid event once and reports the others.

A small batch is one statement, whose parameter is a JSON document. The events of a larger batch are
copied straight into the table, which takes the server less time. COPY cannot skip duplicates and
events that refer to a missing row, so a statement before it finds both, and locks the rows that the
events refer to.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import Any, Self, TypeAlias

import msgspec

from learner_app.content.tables import ContentTable
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import (
    CommitUnknown,
    Conflict,
    DatabaseError,
    SerializationFailure,
    StatementRefused,
)
from learner_app.listening.batch_parsing import EventParams, ParsedBatch, in_turns
from learner_app.listening.clock import MAX_TIMESTAMP, TOO_FAR_AHEAD
from learner_app.listening.engagement import CHARACTERISTICS
from learner_app.listening.rows import BatchResult
from learner_app.listening.tables import BehavioralEventTable, ListeningSessionTable
from learner_app.repository.inputs import invalid_field
from learner_app.repository.sql import NOW, SqlNames, Statement

MAX_DOCUMENT_EVENTS = 100
"""Maximum size of a batch that is sent as a document.

A document needs one round trip, COPY in a transaction five. From about 100 events on these take
less time than a document takes the server.
"""

COLUMNS = {
    "id": "text",
    "content_id": "text",
    "event_type": "text",
    "timestamp": "timestamptz",
    "playback_position": "numeric",
    "playback_position_percent": "numeric",
    "duration": "numeric",
    "session_id": "text",
    "content_characteristics": "jsonb",
    "device_info": "jsonb",
    "network_type": "text",
    "context": "jsonb",
}
"""Columns that an event sets, in the order of EventParams, each with its SQL type."""

JSON_COLUMNS = [name for name, sql_type in COLUMNS.items() if sql_type == "jsonb"]

Rejected: TypeAlias = dict[int, str]
"""Reasons why events cannot be stored, by their place in the list of valid events."""

Write: TypeAlias = Callable[[DatabaseEngine, list[EventParams]], Awaitable[int]]
"""Function that stores events and returns how many were inserted."""

e = SqlNames(BehavioralEventTable)
c = SqlNames(ContentTable, "c")
s = SqlNames(ListeningSessionTable, "s")
unqualified = s.unqualified

COLUMN_LIST = ", ".join(f'"{name}"' for name in COLUMNS)
COLUMN_DEFINITIONS = ", ".join(f'"{name}" {sql_type}' for name, sql_type in COLUMNS.items())
INSERT_INTO = f"INSERT INTO {e} ({', '.join(getattr(e.unqualified, name) for name in COLUMNS)})"

IS_TOO_FAR_AHEAD = f"incoming.timestamp > {MAX_TIMESTAMP}"

FROM_DOCUMENT = f"""
SELECT {COLUMN_LIST}, ordinality
FROM ROWS FROM (json_to_recordset($1::json) AS ({COLUMN_DEFINITIONS}))
WITH ORDINALITY AS event ({COLUMN_LIST}, ordinality)
"""
"""Query for the events of a document; ``ordinality`` numbers the valid events of a batch from 1."""

FROM_ARRAYS = """
SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[])
AS event (content_id, session_id, timestamp)
"""
"""Query for what decides which sessions a batch needs."""


def _is_planned_each_time(parameter: str) -> str:
    """Return a condition that is true, and makes PostgreSQL plan a statement for its arrays.

    After five executions PostgreSQL would use a generic plan, made for arrays of ten ids and for
    the size that the tables had then. Such a plan reads a small table completely, and compares each
    row with each id. The cost of the generic plan contains that of the series here, so that it is
    never chosen; a plan for the value false does not contain the series.

    Args:
        parameter: bind parameter, for which False has to be passed.
    """
    return f"(SELECT count(*) FROM generate_series(1, 1000000000) WHERE {parameter}::boolean) = 0"


def _locked_references(content_ids: str, session_ids: str, characteristics: str) -> str:
    """Return CTEs that lock the existing content and sessions to which events refer.

    The foreign keys would lock the same rows one by one. The locks are those of the package's lock
    order (see ``playlist_sql``): content, then sessions, each in the order of their ids. So a batch
    cannot deadlock with ``delete_content`` or with another batch, and no row can be deleted between
    the check and the insert. The condition on ``count(*)`` is always true. It makes the second CTE
    depend on the first one, because PostgreSQL evaluates independent CTEs in no defined order.

    Args:
        content_ids: SQL for an array of ids.
        session_ids: SQL for an array of ids.
        characteristics: SQL for the second column of the content.
    """
    return f"""
    content_items AS MATERIALIZED (
        SELECT {c.id} AS id, {characteristics} AS characteristics FROM {c}
        WHERE {c.id} = ANY({content_ids}) ORDER BY {c.id} FOR KEY SHARE
    ), locked_sessions AS MATERIALIZED (
        SELECT {s.id} AS id FROM {s}
        WHERE {s.id} = ANY({session_ids}) AND (SELECT count(*) FROM content_items) >= 0
        ORDER BY {s.id} FOR KEY SHARE
    )
    """


def _create_sessions(
    operation: str, source: str, content_ids: str, condition: str = "true"
) -> Statement:
    """Return the statement that inserts the missing sessions of all events that can be stored.

    It locks the content first, which is the lock order of the package. The sessions are inserted in
    the order of their ids, so that two overlapping batches wait for each other's rows in the same
    order and do not deadlock.

    Args:
        operation: second part of the statement's name.
        source: query for the events.
        content_ids: SQL for an array of ids.
        condition: SQL condition on the content.
    """
    sql = f"""
    WITH incoming AS MATERIALIZED (
        SELECT content_id, session_id FROM ({source}) AS incoming
        WHERE ({IS_TOO_FAR_AHEAD}) IS NOT TRUE
    ), content_items AS MATERIALIZED (
        SELECT {c.id} AS id FROM {c} WHERE {c.id} = ANY({content_ids}) AND {condition}
        ORDER BY {c.id} FOR KEY SHARE
    )
    INSERT INTO {s} ({unqualified.id})
    SELECT incoming.session_id FROM incoming
    JOIN content_items ON content_items.id = incoming.content_id
    GROUP BY incoming.session_id ORDER BY incoming.session_id COLLATE "C"
    ON CONFLICT ({unqualified.id}) DO NOTHING
    """
    return Statement(f"sessions.{operation}", sql)


def _insert_from_document() -> Statement:
    """Return the statement that inserts valid events and returns the ordinalities of the others.

    The events are inserted in the order of their ids, as in ``add_many``, so that batches with
    common events wait for each other in one direction only.

    Events without a timestamp are one microsecond apart, so that lists return them in the order of
    the batch. The statement takes longer than a microsecond per event, so the events of a later
    statement get later times.
    """
    stored = {
        **{name: f'resolved."{name}"' for name in COLUMNS},
        "timestamp": (
            f"COALESCE(resolved.timestamp, {NOW} + resolved.ordinality * interval '1 microsecond')"
        ),
        "content_characteristics": (
            "COALESCE(resolved.content_characteristics, resolved.characteristics)"
        ),
    }
    references = _locked_references(
        "ARRAY(SELECT DISTINCT content_id FROM incoming)",
        "ARRAY(SELECT DISTINCT session_id FROM incoming)",
        CHARACTERISTICS,
    )
    sql = f"""
    WITH incoming AS MATERIALIZED ({FROM_DOCUMENT}), {references}, resolved AS MATERIALIZED (
        SELECT incoming.*, content_items.characteristics,
               content_items.id IS NULL AS lacks_content,
               locked_sessions.id IS NULL AS lacks_session,
               ({IS_TOO_FAR_AHEAD}) IS TRUE AS is_too_far_ahead
        FROM incoming
        LEFT JOIN content_items ON content_items.id = incoming.content_id
        LEFT JOIN locked_sessions ON locked_sessions.id = incoming.session_id
    ), recorded AS (
        {INSERT_INTO}
        SELECT DISTINCT ON (resolved.id COLLATE "C") {", ".join(stored.values())} FROM resolved
        WHERE NOT (resolved.lacks_content OR resolved.lacks_session OR resolved.is_too_far_ahead)
        ORDER BY resolved.id COLLATE "C", resolved.ordinality
        ON CONFLICT ({e.unqualified.id}) DO NOTHING RETURNING 1
    )
    SELECT (SELECT count(*) FROM recorded) AS recorded,
           ARRAY(SELECT ordinality FROM resolved WHERE lacks_content) AS without_content,
           ARRAY(SELECT ordinality FROM resolved WHERE lacks_session) AS without_session,
           ARRAY(SELECT ordinality FROM resolved WHERE is_too_far_ahead) AS too_far_ahead
    """
    return Statement("behavioral_events.record_batch", sql)


def _find_references() -> Statement:
    """Return the statement that locks what events refer to, and finds the stored events.

    Parameters: arrays of the ids of content, sessions and events, and whether the characteristics
    are needed, whose computation takes longer than the lock.
    """
    characteristics = f"CASE WHEN $4::boolean THEN {CHARACTERISTICS}::text END"
    sql = f"""
    WITH {_locked_references("$1::text[]", "$2::text[]", characteristics)}
    SELECT {NOW} AS now, {MAX_TIMESTAMP} AS max_timestamp,
           ARRAY(SELECT id FROM content_items) AS content_ids,
           ARRAY(SELECT characteristics FROM content_items) AS characteristics,
           ARRAY(SELECT id FROM locked_sessions) AS session_ids,
           ARRAY(SELECT {e.id} FROM {e} WHERE {e.id} = ANY($3::text[])) AS stored_ids
    WHERE {_is_planned_each_time("$5")}
    """
    return Statement("behavioral_events.find_references", sql)


CREATE_SESSIONS_FROM_DOCUMENT = _create_sessions(
    "create_for_document", FROM_DOCUMENT, "ARRAY(SELECT DISTINCT content_id FROM incoming)"
)
CREATE_SESSIONS_FROM_ARRAYS = _create_sessions(
    "create_for_events", FROM_ARRAYS, "$1::text[]", _is_planned_each_time("$4")
)
INSERT_FROM_DOCUMENT = _insert_from_document()
FIND_REFERENCES = _find_references()
INSERT_UNLESS_STORED = Statement(
    "behavioral_events.insert",
    f"{INSERT_INTO} VALUES ({', '.join(f'${number + 1}' for number in range(len(COLUMNS)))}) "
    f"ON CONFLICT ({e.unqualified.id}) DO NOTHING RETURNING 1",
)

NO_CONTENT = "content_id: the content does not exist"
NO_SESSION = "session_id: the session does not exist"
TOO_LATE = f"timestamp: {TOO_FAR_AHEAD}"


async def insert_batch(
    engine: DatabaseEngine, batch: ParsedBatch, *, ensure_sessions: bool
) -> BatchResult:
    """Store a batch in one statement or one transaction, which is retried where that is possible.

    If the answer to COMMIT is lost, the engine looks up whether the transaction was committed. If
    that is unknown, the batch is repeated, which inserts no event twice, as all have an id by now.
    """
    events = batch.events
    if not events:
        return batch.result(0, {})
    if len(events) <= MAX_DOCUMENT_EVENTS:
        return batch.result(*await _insert_document(engine, events, ensure_sessions))
    store = partial(_store, engine, events, ensure_sessions)
    try:
        outcome = await engine.run_transaction(partial(store, _copy), track_commit=True)
    except (Conflict, StatementRefused):
        # Another transaction has inserted one of the events after the check, or COPY is not
        # supported, as with row-level security.
        outcome = await engine.run_transaction(partial(store, _insert), track_commit=True)
    except CommitUnknown as unknown:
        if unknown.unconfirmed or engine.transaction_exists():
            raise
        try:
            outcome = await engine.run_transaction(partial(store, _insert), track_commit=True)
        except DatabaseError as error:
            raise unknown from error
    return batch.result(*outcome)


async def _insert_document(
    engine: DatabaseEngine, events: Sequence[EventParams], ensure_sessions: bool
) -> tuple[int, Rejected]:
    """Store events that are sent as a JSON document, and return how many, and the rejected ones.

    Without ``ensure_sessions`` it is a single statement, which the engine may execute again after a
    lost connection, because it inserts no event twice.
    """
    document = msgspec.json.encode(list(map(_json_object, events))).decode()

    async def insert_with_sessions() -> Any:
        await CREATE_SESSIONS_FROM_DOCUMENT.execute(engine, document)
        outcome: Any = await INSERT_FROM_DOCUMENT.fetchrow(engine, document)
        # No session was created for events that are rejected for another reason.
        rejected = {*outcome["without_content"], *outcome["too_far_ahead"]}
        if not rejected.issuperset(outcome["without_session"]):
            raise _deleted_session()
        return outcome

    outcome: Any
    if ensure_sessions:
        outcome = await engine.run_transaction(insert_with_sessions)
    else:
        outcome = await INSERT_FROM_DOCUMENT.fetchrow(engine, document, idempotent=True)
    rejected: Rejected = {}
    for name, reason in (
        ("without_content", NO_CONTENT),
        ("without_session", NO_SESSION),
        ("too_far_ahead", TOO_LATE),
    ):
        for ordinality in outcome[name]:
            rejected.setdefault(ordinality - 1, reason)
    return outcome["recorded"], rejected


def _json_object(event: EventParams) -> dict[str, Any]:
    fields: dict[str, Any] = event._asdict()
    for name in JSON_COLUMNS:
        if fields[name] is not None:
            fields[name] = msgspec.Raw(fields[name])
    return fields


class References:
    """Locked rows to which the events of a batch refer, and the ids of stored events."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        """
        Args:
            found: record of :data:`FIND_REFERENCES`.
        """
        self._now: datetime = found["now"]
        self._max_timestamp: datetime = found["max_timestamp"]
        self._characteristics: dict[str, str] = dict(
            zip(found["content_ids"], found["characteristics"], strict=True)
        )
        self._session_ids = set(found["session_ids"])
        self.stored_ids = set(found["stored_ids"])

    @classmethod
    async def find(
        cls, engine: DatabaseEngine, events: Sequence[EventParams], ids: Sequence[str]
    ) -> Self:
        """Lock what the events refer to, and find which of the ids are stored."""
        content_ids = {event.content_id for event in events}
        session_ids = {event.session_id for event in events}
        lacks_characteristics = any(event.content_characteristics is None for event in events)
        record: Any = await FIND_REFERENCES.fetchrow(
            engine, list(content_ids), list(session_ids), ids, lacks_characteristics, False
        )
        return cls(record)

    def is_too_far_ahead(self, event: EventParams) -> bool:
        return event.timestamp is not None and event.timestamp > self._max_timestamp

    def reason(self, event: EventParams) -> str | None:
        """Return the reason why the event cannot be stored, None if it can."""
        if event.content_id not in self._characteristics:
            return NO_CONTENT
        if event.session_id not in self._session_ids:
            return NO_SESSION
        return TOO_LATE if self.is_too_far_ahead(event) else None

    def completed(self, event: EventParams, place: int) -> EventParams:
        """Return the event with a timestamp and characteristics.

        Events without a timestamp are one microsecond apart, as in the statement for a document.
        """
        if event.timestamp is not None and event.content_characteristics is not None:
            return event
        return event._replace(
            timestamp=event.timestamp or self._now + timedelta(microseconds=place + 1),
            content_characteristics=event.content_characteristics
            or self._characteristics.get(event.content_id, "{}"),
        )


async def insert_all(engine: DatabaseEngine, events: Sequence[EventParams]) -> None:
    """Copy all events into the table, inside a transaction.

    Raises:
        Conflict: an event with one of the ids exists.
        MissingReference: the content or the session of an event does not exist.
        InvalidValue: a timestamp is more than a day ahead of the database's clock.
    """
    references = await References.find(engine, events, [])
    if any(map(references.is_too_far_ahead, events)):
        raise invalid_field(BehavioralEventTable, "timestamp", TOO_FAR_AHEAD)
    await _copy(engine, list(map(references.completed, events, range(len(events)))))


async def _store(
    engine: DatabaseEngine, events: Sequence[EventParams], ensure_sessions: bool, write: Write
) -> tuple[int, Rejected]:
    """Store new events, and return how many, and the rejected ones."""
    if ensure_sessions:
        needed = [(event.content_id, event.session_id, event.timestamp) for event in events]
        arrays = map(list, zip(*needed, strict=True))
        await CREATE_SESSIONS_FROM_ARRAYS.execute(engine, *arrays, False)
    references = await References.find(engine, events, [event.id for event in events])
    rejected: Rejected = {}
    new: dict[str, EventParams] = {}
    for place, event in enumerate(events):
        reason = references.reason(event)
        if reason is not None:
            rejected[place] = reason
            # no session was created for events that are rejected for another reason
            if ensure_sessions and reason is NO_SESSION and not references.is_too_far_ahead(event):
                raise _deleted_session()
        elif event.id not in references.stored_ids:
            new.setdefault(event.id, references.completed(event, len(new)))
    return await write(engine, list(new.values())) if new else 0, rejected


async def _copy(engine: DatabaseEngine, events: list[EventParams]) -> int:
    async with aclosing(in_turns(_in_order(events))) as records:
        status: str = await engine.perform(
            lambda connection: connection.copy_records_to_table(
                BehavioralEventTable._meta.tablename, records=records, columns=[*COLUMNS]
            ),
            "COPY",
            name="behavioral_events.copy",
        )
    return int(status.removeprefix("COPY "))


async def _insert(engine: DatabaseEngine, events: list[EventParams]) -> int:
    return len(await INSERT_UNLESS_STORED.fetchmany(engine, _in_order(events)))


def _in_order(events: list[EventParams]) -> list[EventParams]:
    """Return events in the order of their ids, as the statement for a document inserts them.

    Batches with common events then wait for each other in one direction only. Strings are compared
    by code points, which is the order of their bytes in UTF-8.
    """
    return sorted(events, key=itemgetter(0))


def _deleted_session() -> SerializationFailure:
    """Return the error for a session that was deleted after it had been created or found.

    The whole transaction has to be retried: creating the session now would lock it after other
    sessions, not in the order of the ids.
    """
    return SerializationFailure(
        "a session was deleted while its events were recorded: retry the transaction"
    )
