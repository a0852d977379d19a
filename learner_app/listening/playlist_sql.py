"""SQL of a session's list of pieces.

Each statement changes the row that it finds, by that row's own values: PostgreSQL applies it to the
newest version of the row, whatever others did meanwhile. What has to look first, locks the row and
changes it by a second statement, which sees the row as locked; one statement that does both would
meet the row in two versions, and wait for itself beside others.

Locks are taken in one order everywhere: pieces, then sessions, then what refers to both.
"""

from learner_app.content.rows import Content
from learner_app.content.tables import ContentTable
from learner_app.listening.rows import ListeningSession
from learner_app.listening.tables import (
    BehavioralEventTable,
    LikeEngagementTable,
    ListeningSessionTable,
)
from learner_app.repository.locks import ISOLATION
from learner_app.repository.sql import Names

s = Names(ListeningSessionTable, "s")
bare = s.unqualified
c = Names(ContentTable, "c")
e = Names(BehavioralEventTable)
k = Names(LikeEngagementTable)
SESSION = s.fields(ListeningSession)
CONTENT = c.fields(Content)

PLACE = f"array_position({s.content_ids}, {s.current_content_id})"
"""Of the current piece, from 1; NULL without one."""

ITEMS = f"""
unnest({s.content_ids}) WITH ORDINALITY AS item (id, place) JOIN {c} ON {c.id} = item.id
"""
"""The pieces that still exist, in their places."""

LOCK_PIECES = f"""
SELECT {c.id} FROM {c} WHERE {c.id} = ANY($1::text[]) ORDER BY {c.id} FOR KEY SHARE
"""

APPEND = f"""
UPDATE {s} SET {bare.content_ids} = {s.content_ids} || $2::text[],
    {bare.current_content_id} = COALESCE($3, {s.current_content_id})
WHERE {s.id} = $1
"""
"""Takes the session, which is locked, the pieces that it lacks, and a new current one or NULL."""

SET_CURRENT = f"""
UPDATE {s} SET {bare.current_content_id} = $2
WHERE {s.id} = $1 AND $2 = ANY({s.content_ids})
  AND EXISTS (SELECT FROM {c} WHERE {c.id} = $2)
RETURNING {SESSION}
"""


def _neighbour(forward: bool) -> str:
    """The key of the nearest piece that still exists."""
    where = f"item.place > COALESCE({PLACE}, 0)" if forward else f"item.place < {PLACE}"
    return f"""(
        SELECT item.id FROM {ITEMS}
        WHERE {where} ORDER BY item.place {"" if forward else "DESC"} LIMIT 1
    )"""


def _peek(forward: bool) -> str:
    key = f"SELECT {_neighbour(forward)} FROM {s} WHERE {s.id} = $1"
    return f"SELECT {CONTENT} FROM {c} WHERE {c.id} = ({key})"


def _move(forward: bool) -> str:
    return f"""
    WITH moved AS (
        UPDATE {s} SET {bare.current_content_id} = {_neighbour(forward)}
        WHERE {s.id} = $1 AND ($2::text IS NULL OR {s.current_content_id} = $2)
          AND {_neighbour(forward)} IS NOT NULL
        RETURNING {s.current_content_id} AS id
    )
    SELECT {CONTENT} FROM moved JOIN {c} ON {c.id} = moved.id
    """


NEXT, PREVIOUS = _peek(forward=True), _peek(forward=False)
MOVE_NEXT, MOVE_PREVIOUS = _move(forward=True), _move(forward=False)
"""Take the session, and the piece that has to be the current one or NULL; give the piece."""

POSITION = f"""
SELECT count(*) FILTER (WHERE item.place < {PLACE}),
       count(*),
       COALESCE(bool_or(item.place = {PLACE}), false)
FROM {s}, {ITEMS} WHERE {s.id} = $1
"""

LIST = f"SELECT {CONTENT} FROM {s}, {ITEMS} WHERE {s.id} = $1 ORDER BY item.place LIMIT $2"

NEXT_CURRENT = f"""
CASE WHEN {s.current_content_id} = $2 THEN (
    SELECT item.id FROM {ITEMS} WHERE item.place <> {PLACE}
    ORDER BY item.place > {PLACE}, abs(item.place - {PLACE}) LIMIT 1
) ELSE {s.current_content_id} END
"""
"""Of a list that the piece is taken off: the previous neighbour, else the next one, or none."""


def _remove(condition: str) -> str:
    return f"""
    UPDATE {s} SET
        {bare.content_ids} = array_remove({s.content_ids}, $2::text),
        {bare.current_content_id} = {NEXT_CURRENT}
    WHERE {condition} AND ($2 = ANY({s.content_ids}) OR {s.current_content_id} = $2)
    RETURNING {SESSION}
    """


REMOVE, REMOVE_FROM_MANY = _remove(f"{s.id} = $1"), _remove(f"{s.id} = ANY($1::text[])")

CLEAR = f"""
UPDATE {s} SET {bare.content_ids} = '{{}}', {bare.current_content_id} = NULL
WHERE {s.id} = $1 RETURNING {SESSION}
"""

LOCK_CONTENT = f"SELECT {ISOLATION} FROM {c} WHERE {c.id} = $1 FOR UPDATE"

LOCK_LISTENERS = f"""
SELECT count(*) FROM (
    SELECT {s.id} FROM {s} WHERE {s.id} = ANY(ARRAY(
        SELECT {e.session_id} FROM {e} WHERE {e.content_id} = $1
        UNION SELECT {k.session_id} FROM {k} WHERE {k.content_id} = $1
    )) ORDER BY {s.id} FOR KEY SHARE
) AS locked
"""
"""Nobody deletes these sessions then: their events would go in another order than the piece's."""

LOCK_HOLDERS = f"""
SELECT {s.id} FROM {s} WHERE {s.content_ids} @> $2::text[] OR {s.current_content_id} = $1
ORDER BY {s.id} FOR NO KEY UPDATE
"""
"""Takes the piece, alone and in a list. Looks at every session: the agreed schema has no index."""

DELETE_CONTENT = f"DELETE FROM {c} WHERE {c.id} = $1"
