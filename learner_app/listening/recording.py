"""Storing events in bulk: what is good is stored whatever else is bad, and nothing twice.

A batch is one statement; its events come as a JSON document, which is made and sent in half the
time of twelve arrays and takes the server no longer. A stream of any length is cut into chunks,
each a transaction of its own whose events come by COPY into a temporary table.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

import msgspec

from learner_app.content.tables import ContentTable
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue, SerializationFailure
from learner_app.listening.clock import LATEST, TOO_LATE
from learner_app.listening.engagement import CHARACTERISTICS
from learner_app.listening.rows import BatchResult, BehavioralEventCreate, EventFailure
from learner_app.listening.tables import BehavioralEventTable, ListeningSessionTable
from learner_app.repository.sql import NOW, SqlNames
from learner_app.repository.values import KEY_LENGTH

Given = BehavioralEventCreate | Mapping[str, Any]
"""An event, or what a client sent as one and nobody checked yet."""

Encoded: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""From fields to what the driver takes for them."""

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
"""The fields of an event as it comes in, with the types that they are sent as."""

JSON_COLUMNS = [name for name, kind in COLUMNS.items() if kind == "jsonb"]
IN_ORDER = itemgetter(*COLUMNS)

TURN_SECONDS = 0.005
"""How long events are checked before others on the event loop have a turn; JSON may be large."""

e = SqlNames(BehavioralEventTable)
c = SqlNames(ContentTable, "c")
s = SqlNames(ListeningSessionTable, "s")
bare = s.unqualified
FIELDS = ", ".join(f'"{name}"' for name in COLUMNS)
STAGING = "incoming_events"


TYPED_FIELDS = ", ".join(f'"{name}" {kind}' for name, kind in COLUMNS.items())
FROM_DOCUMENT = f"""
SELECT {FIELDS}, place FROM ROWS FROM (json_to_recordset($1::json) AS ({TYPED_FIELDS}))
WITH ORDINALITY AS g ({FIELDS}, place)
"""
FROM_STAGING = f"SELECT {FIELDS}, place FROM {STAGING}"

CREATE_STAGING = f"""
CREATE TEMPORARY TABLE IF NOT EXISTS {STAGING} ({TYPED_FIELDS}, place bigint)
ON COMMIT DROP
"""
EMPTY_STAGING = f"TRUNCATE {STAGING}"

IS_AHEAD = f"given.timestamp > {LATEST}"


def _ensure_sessions(source: str) -> str:
    return f"""
    INSERT INTO {s} ({bare.id})
    SELECT given.session_id FROM ({source}) AS given
    JOIN {c} ON {c.id} = given.content_id
    WHERE ({IS_AHEAD}) IS NOT TRUE
    GROUP BY given.session_id ORDER BY given.session_id COLLATE "C"
    ON CONFLICT ({bare.id}) DO NOTHING
    """


def _record(source: str) -> str:
    """The rows that events refer to are locked first, in order: none can go away in between.

    The events themselves go in in the order of their ids, that of ``add_many`` too, so that
    batches with common events cannot wait for each other.

    Events without a timestamp are a microsecond apart, so that lists have them in the order given.
    A statement takes longer than that per event: later ones begin after the last of these times.
    """
    stored = {
        **{name: f'known."{name}"' for name in COLUMNS},
        "timestamp": f"COALESCE(known.timestamp, {NOW} + known.place * interval '1 microsecond')",
        "content_characteristics": "COALESCE(known.content_characteristics, known.traits)",
    }
    return f"""
    WITH given AS MATERIALIZED ({source}), pieces AS MATERIALIZED (
        SELECT {c.id} AS id, {CHARACTERISTICS} AS traits FROM {c}
        WHERE {c.id} = ANY(ARRAY(SELECT DISTINCT content_id FROM given))
        ORDER BY {c.id} FOR KEY SHARE
    ), heard AS MATERIALIZED (
        SELECT {s.id} AS id FROM {s}
        WHERE {s.id} = ANY(ARRAY(SELECT DISTINCT session_id FROM given))
          AND (SELECT count(*) FROM pieces) >= 0
        ORDER BY {s.id} FOR KEY SHARE
    ), known AS MATERIALIZED (
        SELECT given.*, pieces.traits, pieces.id IS NULL AS lacks_content,
               heard.id IS NULL AS lacks_session, ({IS_AHEAD}) IS TRUE AS is_ahead
        FROM given
        LEFT JOIN pieces ON pieces.id = given.content_id
        LEFT JOIN heard ON heard.id = given.session_id
    ), recorded AS (
        INSERT INTO {e} ({", ".join(getattr(e.unqualified, name) for name in COLUMNS)})
        SELECT DISTINCT ON (known.id COLLATE "C") {", ".join(stored.values())} FROM known
        WHERE NOT (known.lacks_content OR known.lacks_session OR known.is_ahead)
        ORDER BY known.id COLLATE "C", known.place
        ON CONFLICT ({e.unqualified.id}) DO NOTHING RETURNING 1
    )
    SELECT (SELECT count(*) FROM recorded) AS recorded,
           ARRAY(SELECT place FROM known WHERE lacks_content) AS lack_content,
           ARRAY(SELECT place FROM known WHERE lacks_session) AS lack_session,
           ARRAY(SELECT place FROM known WHERE is_ahead) AS ahead
    """


ENSURE_FROM_DOCUMENT, RECORD_DOCUMENT = _ensure_sessions(FROM_DOCUMENT), _record(FROM_DOCUMENT)
ENSURE_FROM_STAGING, RECORD_STAGING = _ensure_sessions(FROM_STAGING), _record(FROM_STAGING)

REASONS = {
    "lack_content": "content_id: there is no such piece",
    "lack_session": "session_id: there is no such session",
    "ahead": f"timestamp: {TOO_LATE}",
}
"""By what the statement tells; of several the first."""


class Incoming(NamedTuple):
    """Events that were checked: the good ones as the driver takes them, with their places."""

    rows: list[tuple[Any, ...]]
    places: list[int]
    failed: list[EventFailure]

    def document(self) -> str:
        """The good ones as JSON."""
        return msgspec.json.encode(list(map(_described, self.rows))).decode()

    def result(self, told: Any) -> BatchResult:
        """What became of all of them, from what the statement told."""
        reasons: dict[int, str] = {}
        for name, reason in REASONS.items():
            for place in told[name]:
                reasons.setdefault(place - 1, reason)
        failed = [
            EventFailure(self.places[at], self.rows[at][0], reason)
            for at, reason in reasons.items()
        ]
        duplicates = len(self.rows) - len(failed) - told["recorded"]
        everything = sorted(self.failed + failed, key=lambda failure: failure.index)
        return BatchResult(told["recorded"], duplicates, everything)


def _described(row: tuple[Any, ...]) -> dict[str, Any]:
    fields = dict(zip(COLUMNS, row, strict=True))
    for name in JSON_COLUMNS:
        if fields[name] is not None:
            fields[name] = msgspec.Raw(fields[name])
    return fields


async def check(events: Sequence[Given], encoded: Encoded, first: int = 0) -> Incoming:
    """Check events that come one behind the other, the first one at that index."""
    incoming = Incoming([], [], [])
    loop = asyncio.get_running_loop()
    until = loop.time()
    for index, event in enumerate(events, first):
        if loop.time() >= until:
            await asyncio.sleep(0)
            until = loop.time() + TURN_SECONDS
        try:
            good = _checked(event)
            row = IN_ORDER(encoded(vars(good)))
        except InvalidValue as error:
            reason = str(error).removeprefix("behavioral_events: ")
            incoming.failed.append(EventFailure(index, _id_of(event), reason))
        else:
            incoming.rows.append(row)
            incoming.places.append(index)
    return incoming


def _checked(event: Any) -> BehavioralEventCreate:
    if isinstance(event, BehavioralEventCreate):
        return event
    if not isinstance(event, Mapping):
        raise InvalidValue("is not an event")
    return BehavioralEventCreate.model_validate(dict(event))


def _id_of(event: Any) -> str | None:
    given = event.get("id") if isinstance(event, Mapping) else None
    return given[:KEY_LENGTH] if isinstance(given, str) else None


async def record(engine: DatabaseEngine, incoming: Incoming, *, ensure: bool) -> BatchResult:
    """Store a batch; without ``ensure`` by one statement, which may be repeated."""
    if not incoming.rows:
        return BatchResult(0, 0, incoming.failed)
    document = incoming.document()
    if not ensure:
        told = await engine.fetchrow(RECORD_DOCUMENT, document, idempotent=True)
        return incoming.result(told)
    return incoming.result(
        await engine.run_transaction(
            lambda: _ensured(engine, ENSURE_FROM_DOCUMENT, RECORD_DOCUMENT, document)
        )
    )


async def _ensured(engine: DatabaseEngine, ensure: str, record: str, *args: Any) -> Any:
    """What the statement tells, with the sessions made first.

    Raises:
        SerializationFailure: a session was deleted right after it was made; from the beginning,
            since to make it now would be out of the order in which rows are locked.
    """
    await engine.execute(ensure, *args)
    told = await engine.fetchrow(record, *args)
    if told and not {*told["lack_content"], *told["ahead"]}.issuperset(told["lack_session"]):
        raise SerializationFailure("a session was deleted while its events were recorded")
    return told


async def copy(engine: DatabaseEngine, incoming: Incoming, *, ensure: bool) -> BatchResult:
    """Store a chunk by COPY."""
    if not incoming.rows:
        return BatchResult(0, 0, incoming.failed)
    rows = [(*row, place) for place, row in enumerate(incoming.rows, 1)]
    names = [*COLUMNS, "place"]

    async def unit() -> Any:
        await engine.execute(CREATE_STAGING)
        await engine.execute(EMPTY_STAGING)  # in a transaction of the caller's it is there already
        await engine.perform(
            lambda it: it.copy_records_to_table(STAGING, records=rows, columns=names), "COPY"
        )
        if ensure:
            return await _ensured(engine, ENSURE_FROM_STAGING, RECORD_STAGING)
        return await engine.fetchrow(RECORD_STAGING)

    return incoming.result(await engine.run_transaction(unit))
