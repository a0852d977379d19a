"""Batch insert of events that stores every valid event once and reports the others.

A batch is one statement. Its events are sent as one JSON document, which takes half the time of
twelve array parameters to build and send, and no longer on the server. A stream of any length is
cut into chunks. Each chunk is sent by COPY into a temporary staging table in a transaction of its
own. COPY itself cannot skip duplicates or missing references, so the same statement as for a batch
moves the events from the staging table.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import msgspec

from learner_app.content.tables import ContentTable
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue, SerializationFailure
from learner_app.listening.clock import MAX_TIMESTAMP, TOO_FAR_AHEAD
from learner_app.listening.engagement import CHARACTERISTICS
from learner_app.listening.rows import BatchResult, BehavioralEventCreate, EventFailure
from learner_app.listening.tables import BehavioralEventTable, ListeningSessionTable
from learner_app.repository.sql import NOW, SqlNames, Statement
from learner_app.repository.values import KEY_LENGTH

EventInput = BehavioralEventCreate | Mapping[str, Any]
"""Validated event, or an event as a client sent it."""

Encoder: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Conversion of field values to statement parameters."""

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
"""Columns of an event input, each with the SQL type in the document and the staging table."""

JSON_COLUMNS = [name for name, sql_type in COLUMNS.items() if sql_type == "jsonb"]
IN_COLUMN_ORDER = itemgetter(*COLUMNS)

YIELD_EVERY_SECONDS = 0.005
"""Maximum time of validation between two yields to the event loop, since JSON may be large."""

e = SqlNames(BehavioralEventTable)
c = SqlNames(ContentTable, "c")
s = SqlNames(ListeningSessionTable, "s")
bare = s.unqualified

COLUMN_LIST = ", ".join(f'"{name}"' for name in COLUMNS)
COLUMN_DEFINITIONS = ", ".join(f'"{name}" {sql_type}' for name, sql_type in COLUMNS.items())
STAGING = "incoming_events"

FROM_DOCUMENT = f"""
SELECT {COLUMN_LIST}, place
FROM ROWS FROM (json_to_recordset($1::json) AS ({COLUMN_DEFINITIONS}))
WITH ORDINALITY AS event ({COLUMN_LIST}, place)
"""
FROM_STAGING = f"SELECT {COLUMN_LIST}, place FROM {STAGING}"
"""Events with their places, which count the valid events of the batch from 1."""

CREATE_STAGING = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS {STAGING} ({COLUMN_DEFINITIONS}, place bigint)
ON COMMIT DROP
"""
TRUNCATE_STAGING = f"TRUNCATE {STAGING}"

IS_TOO_FAR_AHEAD = f"incoming.timestamp > {MAX_TIMESTAMP}"


def _create_sessions(operation: str, source: str) -> Statement:
    """Return the statement that inserts the missing sessions of all events that can be stored.

    The sessions are inserted in the order of their ids, so that two overlapping batches wait for
    each other's rows in the same order and do not deadlock.
    """
    sql = f"""
    INSERT INTO {s} ({bare.id})
    SELECT incoming.session_id FROM ({source}) AS incoming
    JOIN {c} ON {c.id} = incoming.content_id
    WHERE ({IS_TOO_FAR_AHEAD}) IS NOT TRUE
    GROUP BY incoming.session_id ORDER BY incoming.session_id COLLATE "C"
    ON CONFLICT ({bare.id}) DO NOTHING
    """
    return Statement(f"sessions.{operation}", sql)


def _insert_events(operation: str, source: str) -> Statement:
    """Return the statement that inserts valid events and returns the places of the others.

    Locks. The referenced contents and sessions are locked first, as the foreign keys would do
    row by row: contents, then sessions, each in the order of their ids. This is the lock order of
    the whole package (see ``playlist_sql``), so a batch cannot deadlock with ``delete_content`` or
    with another batch, and no row can be deleted between the check and the insert. The condition
    on ``count(*)`` is always true. It makes the second CTE depend on the first one: PostgreSQL
    evaluates CTEs in no defined order otherwise.

    The events are inserted in the order of their ids, as in ``add_many``, so that batches with
    common events wait for each other in one direction only.

    Timestamps. Events without a timestamp are one microsecond apart, so that lists return them in
    the order of the batch. The statement takes longer than a microsecond per event, so the events
    of a later statement get later times.
    """
    stored = {
        **{name: f'resolved."{name}"' for name in COLUMNS},
        "timestamp": (
            f"COALESCE(resolved.timestamp, {NOW} + resolved.place * interval '1 microsecond')"
        ),
        "content_characteristics": (
            "COALESCE(resolved.content_characteristics, resolved.characteristics)"
        ),
    }
    sql = f"""
    WITH incoming AS MATERIALIZED ({source}), contents AS MATERIALIZED (
        SELECT {c.id} AS id, {CHARACTERISTICS} AS characteristics FROM {c}
        WHERE {c.id} = ANY(ARRAY(SELECT DISTINCT content_id FROM incoming))
        ORDER BY {c.id} FOR KEY SHARE
    ), listeners AS MATERIALIZED (
        SELECT {s.id} AS id FROM {s}
        WHERE {s.id} = ANY(ARRAY(SELECT DISTINCT session_id FROM incoming))
          AND (SELECT count(*) FROM contents) >= 0
        ORDER BY {s.id} FOR KEY SHARE
    ), resolved AS MATERIALIZED (
        SELECT incoming.*, contents.characteristics, contents.id IS NULL AS lacks_content,
               listeners.id IS NULL AS lacks_session, ({IS_TOO_FAR_AHEAD}) IS TRUE AS is_ahead
        FROM incoming
        LEFT JOIN contents ON contents.id = incoming.content_id
        LEFT JOIN listeners ON listeners.id = incoming.session_id
    ), recorded AS (
        INSERT INTO {e} ({", ".join(getattr(e.unqualified, name) for name in COLUMNS)})
        SELECT DISTINCT ON (resolved.id COLLATE "C") {", ".join(stored.values())} FROM resolved
        WHERE NOT (resolved.lacks_content OR resolved.lacks_session OR resolved.is_ahead)
        ORDER BY resolved.id COLLATE "C", resolved.place
        ON CONFLICT ({e.unqualified.id}) DO NOTHING RETURNING 1
    )
    SELECT (SELECT count(*) FROM recorded) AS recorded,
           ARRAY(SELECT place FROM resolved WHERE lacks_content) AS lack_content,
           ARRAY(SELECT place FROM resolved WHERE lacks_session) AS lack_session,
           ARRAY(SELECT place FROM resolved WHERE is_ahead) AS ahead
    """
    return Statement(f"behavioral_events.{operation}", sql)


CREATE_SESSIONS_FROM_DOCUMENT = _create_sessions("record_batch", FROM_DOCUMENT)
CREATE_SESSIONS_FROM_STAGING = _create_sessions("ingest", FROM_STAGING)
INSERT_FROM_DOCUMENT = _insert_events("record_batch", FROM_DOCUMENT)
INSERT_FROM_STAGING = _insert_events("ingest", FROM_STAGING)

REASONS = {
    "lack_content": "content_id: the content does not exist",
    "lack_session": "session_id: the session does not exist",
    "ahead": f"timestamp: {TOO_FAR_AHEAD}",
}
"""Reason for each array of places that the statement returns; an event gets its first one."""


class ParsedBatch(NamedTuple):
    """Validated events of a batch, and the failures of validation."""

    rows: list[tuple[Any, ...]]
    """Statement parameters of the valid events, in the order of :data:`COLUMNS`."""
    indexes: list[int]
    """Position of each valid event in the caller's input."""
    failed: list[EventFailure]

    def document(self) -> str:
        """Return the valid events as a JSON array."""
        return msgspec.json.encode(list(map(_json_object, self.rows))).decode()

    def result(self, outcome: Any) -> BatchResult:
        """Return the result of the batch, given the record that the insert statement returned."""
        reasons: dict[int, str] = {}
        for name, reason in REASONS.items():
            for place in outcome[name]:
                reasons.setdefault(place - 1, reason)
        rejected = [
            EventFailure(self.indexes[at], self.rows[at][0], reason)
            for at, reason in reasons.items()
        ]
        duplicates = len(self.rows) - len(rejected) - outcome["recorded"]
        failed = sorted(self.failed + rejected, key=lambda failure: failure.index)
        return BatchResult(outcome["recorded"], duplicates, failed)


def _json_object(row: tuple[Any, ...]) -> dict[str, Any]:
    fields = dict(zip(COLUMNS, row, strict=True))
    for name in JSON_COLUMNS:
        if fields[name] is not None:
            fields[name] = msgspec.Raw(fields[name])
    return fields


async def parse_batch(
    events: Sequence[EventInput], encode: Encoder, *, first_index: int = 0
) -> ParsedBatch:
    """Validate events, yielding to the event loop at regular intervals.

    Args:
        events: the batch, or a chunk of a stream.
        encode: conversion of field values to statement parameters.
        first_index: position of the first event in the stream.
    """
    batch = ParsedBatch([], [], [])
    loop = asyncio.get_running_loop()
    next_yield = loop.time()
    for index, event in enumerate(events, first_index):
        if loop.time() >= next_yield:
            await asyncio.sleep(0)
            next_yield = loop.time() + YIELD_EVERY_SECONDS
        try:
            row = IN_COLUMN_ORDER(encode(vars(_validate(event))))
        except InvalidValue as error:
            reason = str(error).removeprefix("behavioral_events: ")
            batch.failed.append(EventFailure(index, _id_of(event), reason))
        else:
            batch.rows.append(row)
            batch.indexes.append(index)
    return batch


def _validate(event: Any) -> BehavioralEventCreate:
    if isinstance(event, BehavioralEventCreate):
        return event
    if not isinstance(event, Mapping):
        raise InvalidValue("is not an event")
    return BehavioralEventCreate.model_validate(dict(event))


def _id_of(event: Any) -> str | None:
    event_id = event.get("id") if isinstance(event, Mapping) else None
    return event_id[:KEY_LENGTH] if isinstance(event_id, str) else None


async def insert_batch(
    engine: DatabaseEngine, batch: ParsedBatch, *, ensure_sessions: bool
) -> BatchResult:
    """Store a batch that is sent as a JSON document.

    Without ``ensure_sessions`` it is a single statement. A repetition inserts no event twice, so
    the engine may retry it after a lost connection.
    """
    if not batch.rows:
        return BatchResult(0, 0, batch.failed)
    document = batch.document()
    if not ensure_sessions:
        outcome = await INSERT_FROM_DOCUMENT.fetchrow(engine, document, idempotent=True)
        return batch.result(outcome)
    outcome = await engine.run_transaction(
        lambda: _insert_with_sessions(
            engine, CREATE_SESSIONS_FROM_DOCUMENT, INSERT_FROM_DOCUMENT, document
        )
    )
    return batch.result(outcome)


async def _insert_with_sessions(
    engine: DatabaseEngine, create_sessions: Statement, insert_events: Statement, *args: Any
) -> Any:
    """Create missing sessions, insert the events and return the record of the insert.

    Raises:
        SerializationFailure: another transaction deleted a session after the first statement. The
            whole transaction has to be retried: creating the session now would lock it after
            contents and other sessions, against the lock order.
    """
    await create_sessions.execute(engine, *args)
    outcome: Any = await insert_events.fetchrow(engine, *args)
    # No session was created for events that are rejected for another reason.
    rejected = {*outcome["lack_content"], *outcome["ahead"]}
    if not rejected.issuperset(outcome["lack_session"]):
        raise SerializationFailure("a session was deleted while its events were recorded")
    return outcome


async def copy_batch(
    engine: DatabaseEngine, batch: ParsedBatch, *, ensure_sessions: bool
) -> BatchResult:
    """Store a batch that is sent by COPY into the staging table."""
    if not batch.rows:
        return BatchResult(0, 0, batch.failed)
    records = [(*row, place) for place, row in enumerate(batch.rows, 1)]
    columns = [*COLUMNS, "place"]

    async def unit() -> Any:
        await engine.execute(CREATE_STAGING, name="behavioral_events.create_staging")
        # In a transaction of the caller, the table has the events of the previous chunk.
        await engine.execute(TRUNCATE_STAGING, name="behavioral_events.truncate_staging")
        await engine.perform(
            lambda connection: connection.copy_records_to_table(
                STAGING, records=records, columns=columns
            ),
            "COPY",
            name="behavioral_events.copy",
        )
        if ensure_sessions:
            return await _insert_with_sessions(
                engine, CREATE_SESSIONS_FROM_STAGING, INSERT_FROM_STAGING
            )
        return await INSERT_FROM_STAGING.fetchrow(engine)

    return batch.result(await engine.run_transaction(unit))
