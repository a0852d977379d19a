"""SQL of a session's list of pieces: what has to hold of it is decided in one statement each.

Locks are taken in one order everywhere: pieces, then sessions, then what refers to both. So adding
a piece to a list and deleting it cannot wait for each other, and a deleted piece stays in no list.
"""

from learner_app.content.rows import Content
from learner_app.content.tables import ContentTable
from learner_app.listening.rows import ListeningSession
from learner_app.listening.tables import ListeningSessionTable
from learner_app.repository.sql import Names

bare = Names(ListeningSessionTable)
s = Names(ListeningSessionTable, "s")
c = Names(ContentTable, "c")
SESSION = s.fields(ListeningSession)
CONTENT = c.fields(Content)

HELD = f"""
SELECT {s.id} AS id, {s.content_ids} AS items, {s.current_content_id} AS current,
       array_position({s.content_ids}, {s.current_content_id}) AS place
FROM {s}
"""
ONE = f"{HELD} WHERE {s.id} = $1"
"""``place`` counts from 1."""

APPEND = f"""
WITH pieces AS (
    SELECT {c.id} FROM {c} WHERE {c.id} = ANY($2::text[]) ORDER BY {c.id} FOR KEY SHARE
), held AS (
    {ONE} AND (SELECT count(*) FROM pieces) >= 0 FOR NO KEY UPDATE
), given AS (
    SELECT item, min(place) AS place
    FROM unnest($2::text[]) WITH ORDINALITY AS g (item, place) GROUP BY item
), missing AS (
    SELECT item FROM given WHERE item NOT IN (SELECT id FROM pieces)
), changed AS (
    UPDATE {s} SET
        {bare.content_ids} = held.items || ARRAY(
            SELECT item FROM given WHERE item <> ALL (held.items) ORDER BY place
        ),
        {bare.current_content_id} = CASE WHEN $3 THEN ($2::text[])[1] ELSE held.current END
    FROM held
    WHERE {s.id} = held.id AND NOT EXISTS (SELECT FROM missing)
      AND (NOT held.items @> $2::text[]
           OR $3 AND held.current IS DISTINCT FROM ($2::text[])[1])
    RETURNING {s.id}
)
SELECT held.items, EXISTS (SELECT FROM missing) AS lacks FROM held
"""
"""Takes session, pieces and whether the first of them becomes the current one.

Gives the list as it was, and whether a piece does not exist: then nothing is changed.
"""

SET_CURRENT = f"""
UPDATE {s} SET {bare.current_content_id} = $2
WHERE {s.id} = $1 AND $2 = ANY({s.content_ids})
  AND EXISTS (SELECT FROM {c} WHERE {c.id} = $2)
RETURNING {SESSION}
"""


def _neighbour(forward: bool, lock: str = "") -> str:
    """The nearest piece that still exists, and where the session stands."""
    is_there = "item.place > COALESCE(held.place, 0)" if forward else "item.place < held.place"
    return f"""
    WITH held AS ({ONE} {lock}), target AS (
        SELECT {CONTENT}
        FROM held, unnest(held.items) WITH ORDINALITY AS item (id, place)
        JOIN {c} ON {c.id} = item.id
        WHERE {is_there} ORDER BY item.place {"" if forward else "DESC"} LIMIT 1
    )
    """


def _peek(forward: bool) -> str:
    return f"{_neighbour(forward)} SELECT * FROM target"


def _move(forward: bool) -> str:
    return f"""{_neighbour(forward, "FOR NO KEY UPDATE")}, moved AS (
        UPDATE {s} SET {bare.current_content_id} = target.id FROM held, target
        WHERE {s.id} = held.id AND ($2::text IS NULL OR held.current = $2)
        RETURNING {s.id}
    )
    SELECT held.current, target.* FROM held LEFT JOIN target ON true
    """


NEXT, PREVIOUS = _peek(forward=True), _peek(forward=False)
MOVE_NEXT, MOVE_PREVIOUS = _move(forward=True), _move(forward=False)
"""Take the session, and the piece that has to be the current one or NULL.

Give the current piece as it was, and the one that it is moved to, NULL at the end of the list.
"""

POSITION = f"""
WITH held AS ({ONE})
SELECT count(*) FILTER (WHERE item.place < held.place),
       count(*),
       COALESCE(bool_or(item.place = held.place), false)
FROM held, unnest(held.items) WITH ORDINALITY AS item (id, place)
JOIN {c} ON {c.id} = item.id
"""

LIST = f"""
SELECT {CONTENT}
FROM {s}, unnest({s.content_ids}) WITH ORDINALITY AS item (id, place)
JOIN {c} ON {c.id} = item.id
WHERE {s.id} = $1 ORDER BY item.place LIMIT $2
"""

NEXT_CURRENT = f"""
CASE WHEN held.current = $2 THEN (
    SELECT item.id FROM unnest(held.items) WITH ORDINALITY AS item (id, place)
    JOIN {c} ON {c.id} = item.id
    WHERE item.place <> held.place
    ORDER BY item.place > held.place, abs(item.place - held.place) LIMIT 1
) ELSE held.current END
"""
"""Of a list that the piece is taken off: the previous neighbour, else the next one, or none."""


def _remove(held: str) -> str:
    return f"""
    WITH held AS ({held} FOR NO KEY UPDATE)
    UPDATE {s} SET
        {bare.content_ids} = array_remove(held.items, $2::text),
        {bare.current_content_id} = {NEXT_CURRENT}
    FROM held WHERE {s.id} = held.id AND ($2 = ANY(held.items) OR held.current = $2)
    RETURNING {SESSION}
    """


REMOVE = _remove(ONE)
REMOVE_EVERYWHERE = _remove(
    f"{HELD} WHERE {s.content_ids} @> $1::text[] OR {s.current_content_id} = $2 ORDER BY {s.id}"
)
"""Takes the piece, in a list and alone. Looks at every session: the agreed schema has no index."""

CLEAR = f"""
UPDATE {s} SET {bare.content_ids} = '{{}}', {bare.current_content_id} = NULL
WHERE {s.id} = $1 RETURNING {SESSION}
"""

LOCK_CONTENT = f"SELECT {c.id} FROM {c} WHERE {c.id} = $1 FOR UPDATE"

DELETE_CONTENT = f"DELETE FROM {c} WHERE {c.id} = $1"
