"""Batch insert of events that stores every valid event once and reports the others.

A batch is one statement. Its events are sent as one JSON document: twelve array parameters would
take twice as long to build and send, and as long on the server. A stream of any length is cut into
chunks. Each chunk is sent by COPY into a temporary staging table in a transaction of its own. COPY
cannot skip duplicates and events that refer to a missing row, so the statement that stores a batch
also moves the events from the staging table.
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
from learner_app.repository.values import MAX_KEY_LENGTH

EventInput = BehavioralEventCreate | Mapping[str, Any]
"""Validated event, or the mapping of a client's JSON."""

ToParams: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any]]
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
"""Columns that an event sets, each with the SQL type in the document and the staging table."""

JSON_COLUMNS = [name for name, sql_type in COLUMNS.items() if sql_type == "jsonb"]
in_column_order = itemgetter(*COLUMNS)

YIELD_EVERY_SECONDS = 0.005
"""Time of validation after which other tasks of the event loop run, since JSON may be large."""

e = SqlNames(BehavioralEventTable)
c = SqlNames(ContentTable, "c")
s = SqlNames(ListeningSessionTable, "s")
unqualified = s.unqualified

COLUMN_LIST = ", ".join(f'"{name}"' for name in COLUMNS)
COLUMN_DEFINITIONS = ", ".join(f'"{name}" {sql_type}' for name, sql_type in COLUMNS.items())
STAGING = "incoming_events"

FROM_DOCUMENT = f"""
SELECT {COLUMN_LIST}, ordinality
FROM ROWS FROM (json_to_recordset($1::json) AS ({COLUMN_DEFINITIONS}))
WITH ORDINALITY AS event ({COLUMN_LIST}, ordinality)
"""
"""Query for the events of a document; ``ordinality`` numbers the valid events of a batch from 1."""

FROM_STAGING = f"SELECT {COLUMN_LIST}, ordinality FROM {STAGING}"
"""Query for the events of the staging table, with the same columns."""

CREATE_STAGING = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS {STAGING} ({COLUMN_DEFINITIONS}, ordinality bigint)
ON COMMIT DROP
"""
TRUNCATE_STAGING = f"TRUNCATE {STAGING}"

IS_TOO_FAR_AHEAD = f"incoming.timestamp > {MAX_TIMESTAMP}"


REFERENCED_CONTENT = f"""
FROM {c} WHERE {c.id} = ANY(ARRAY(SELECT DISTINCT content_id FROM incoming))
ORDER BY {c.id} FOR KEY SHARE
"""
"""Clauses that lock the existing content items to which the events refer, in the order of ids."""


def _create_sessions(operation: str, source: str) -> Statement:
    """Return the statement that inserts the missing sessions of all events that can be stored.

    It locks the content first, which is the lock order of the package. The sessions are inserted in
    the order of their ids, so that two overlapping batches wait for each other's rows in the same
    order and do not deadlock.
    """
    sql = f"""
    WITH incoming AS MATERIALIZED (
        SELECT content_id, session_id FROM ({source}) AS incoming
        WHERE ({IS_TOO_FAR_AHEAD}) IS NOT TRUE
    ), content_items AS MATERIALIZED (SELECT {c.id} AS id {REFERENCED_CONTENT})
    INSERT INTO {s} ({unqualified.id})
    SELECT incoming.session_id FROM incoming
    JOIN content_items ON content_items.id = incoming.content_id
    GROUP BY incoming.session_id ORDER BY incoming.session_id COLLATE "C"
    ON CONFLICT ({unqualified.id}) DO NOTHING
    """
    return Statement(f"sessions.{operation}", sql)


def _insert_events(operation: str, source: str) -> Statement:
    """Return the statement that inserts valid events and returns the ordinalities of the others.

    Locks. The referenced content and sessions are locked first, as the foreign keys would do row by
    row: content, then sessions, each in the order of their ids. This is the lock order of the
    package (see ``playlist_sql``), so a batch cannot deadlock with ``delete_content`` or with
    another batch, and no row can be deleted between the check and the insert. The condition on
    ``count(*)`` is always true. It makes the second CTE depend on the first one, because PostgreSQL
    evaluates independent CTEs in no defined order.

    The events are inserted in the order of their ids, as in ``add_many``, so that batches with
    common events wait for each other in one direction only.

    Timestamps. Events without a timestamp are one microsecond apart, so that lists return them in
    the order of the batch. The statement takes longer than a microsecond per event, so the events
    of a later statement get later times.
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
    sql = f"""
    WITH incoming AS MATERIALIZED ({source}), content_items AS MATERIALIZED (
        SELECT {c.id} AS id, {CHARACTERISTICS} AS characteristics {REFERENCED_CONTENT}
    ), locked_sessions AS MATERIALIZED (
        SELECT {s.id} AS id FROM {s}
        WHERE {s.id} = ANY(ARRAY(SELECT DISTINCT session_id FROM incoming))
          AND (SELECT count(*) FROM content_items) >= 0
        ORDER BY {s.id} FOR KEY SHARE
    ), resolved AS MATERIALIZED (
        SELECT incoming.*, content_items.characteristics,
               content_items.id IS NULL AS lacks_content,
               locked_sessions.id IS NULL AS lacks_session,
               ({IS_TOO_FAR_AHEAD}) IS TRUE AS is_too_far_ahead
        FROM incoming
        LEFT JOIN content_items ON content_items.id = incoming.content_id
        LEFT JOIN locked_sessions ON locked_sessions.id = incoming.session_id
    ), recorded AS (
        INSERT INTO {e} ({", ".join(getattr(e.unqualified, name) for name in COLUMNS)})
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
    return Statement(f"behavioral_events.{operation}", sql)


CREATE_SESSIONS_FROM_DOCUMENT = _create_sessions("record_batch", FROM_DOCUMENT)
CREATE_SESSIONS_FROM_STAGING = _create_sessions("ingest", FROM_STAGING)
INSERT_FROM_DOCUMENT = _insert_events("record_batch", FROM_DOCUMENT)
INSERT_FROM_STAGING = _insert_events("ingest", FROM_STAGING)

REASONS = {
    "without_content": "content_id: the content does not exist",
    "without_session": "session_id: the session does not exist",
    "too_far_ahead": f"timestamp: {TOO_FAR_AHEAD}",
}
"""Reason for each array of ordinalities that the insert returns, the first one that applies."""


class ParsedBatch(NamedTuple):
    """Validated events of a batch, and the failures of validation."""

    rows: list[tuple[Any, ...]]
    """Statement parameters of the valid events, in the order of :data:`COLUMNS`."""
    indexes: list[int]
    """Index of each valid event in the caller's input."""
    failed: list[EventFailure]

    def document(self) -> str:
        """Return the valid events as a JSON array."""
        return msgspec.json.encode(list(map(_json_object, self.rows))).decode()

    def result(self, outcome: Any) -> BatchResult:
        """Return the result of the batch, given the record that the insert statement returned."""
        reasons: dict[int, str] = {}
        for name, reason in REASONS.items():
            for ordinality in outcome[name]:
                reasons.setdefault(ordinality - 1, reason)
        rejected = [
            EventFailure(self.indexes[number], self.rows[number][0], reason)
            for number, reason in reasons.items()
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
    events: Sequence[EventInput], to_params: ToParams, *, first_index: int = 0
) -> ParsedBatch:
    """Validate events, yielding to the event loop at regular intervals.

    Args:
        events: the batch, or a chunk of a stream.
        to_params: conversion of field values to statement parameters.
        first_index: index of the first event in the stream.
    """
    batch = ParsedBatch([], [], [])
    loop = asyncio.get_running_loop()
    next_yield = loop.time()
    for index, event in enumerate(events, first_index):
        if loop.time() >= next_yield:
            await asyncio.sleep(0)
            next_yield = loop.time() + YIELD_EVERY_SECONDS
        try:
            row = in_column_order(to_params(vars(_validate(event))))
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
        raise InvalidValue("must be a BehavioralEventCreate or a mapping")
    return BehavioralEventCreate.model_validate(dict(event))


def _id_of(event: Any) -> str | None:
    event_id = event.get("id") if isinstance(event, Mapping) else None
    return event_id[:MAX_KEY_LENGTH] if isinstance(event_id, str) else None


async def insert_batch(
    engine: DatabaseEngine, batch: ParsedBatch, *, ensure_sessions: bool
) -> BatchResult:
    """Store a batch that is sent as a JSON document.

    Without ``ensure_sessions`` it is a single statement, which the engine may execute again after a
    lost connection, because it inserts no event twice.
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
            whole transaction has to be retried: creating the session now would lock it after other
            sessions, not in the order of the ids.
    """
    await create_sessions.execute(engine, *args)
    outcome: Any = await insert_events.fetchrow(engine, *args)
    # No session was created for events that are rejected for another reason.
    rejected = {*outcome["without_content"], *outcome["too_far_ahead"]}
    if not rejected.issuperset(outcome["without_session"]):
        raise SerializationFailure(
            "a session was deleted while its events were recorded: retry the transaction"
        )
    return outcome


async def copy_batch(
    engine: DatabaseEngine, batch: ParsedBatch, *, ensure_sessions: bool
) -> BatchResult:
    """Store a batch that is sent by COPY into the staging table."""
    if not batch.rows:
        return BatchResult(0, 0, batch.failed)
    records = [(*row, ordinality) for ordinality, row in enumerate(batch.rows, 1)]
    columns = [*COLUMNS, "ordinality"]

    async def unit() -> Any:
        await engine.execute(CREATE_STAGING, name="behavioral_events.create_staging")
        # Inside the caller's transaction, the table still contains the previous chunk.
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
