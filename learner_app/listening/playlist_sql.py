"""SQL of a session's playlist, its ordered list of content items.

Most operations are one UPDATE that computes the new values from the row itself. If a concurrent
transaction changed the row, PostgreSQL waits for it and evaluates the UPDATE again on the newest
version, so no change is lost. An operation that has to read before it writes locks the row by one
statement and changes it by a second one. A single statement would read the version of its snapshot
and update the newest version, and these may differ.

All operations lock rows in one order: content, then sessions, then the rows that refer to them.
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
from learner_app.repository.sql import SqlNames, Statement

s = SqlNames(ListeningSessionTable, "s")
unqualified = s.unqualified
c = SqlNames(ContentTable, "c")
e = SqlNames(BehavioralEventTable)
k = SqlNames(LikeEngagementTable)
SESSION = s.fields(ListeningSession)
CONTENT = c.fields(Content)

CURRENT_SUBSCRIPT = f"array_position({s.content_ids}, {s.current_content_id})"
"""Array subscript of the current content, from 1, NULL if it is not in the list."""

LOCK_CONTENTS = Statement(
    "sessions.lock_contents",
    f"""
    SELECT {c.id} FROM {c} WHERE {c.id} = ANY($1::text[]) ORDER BY {c.id} FOR KEY SHARE
    """,
)

APPEND = Statement(
    "sessions.append_many",
    f"""
    UPDATE {s} SET {unqualified.content_ids} = {s.content_ids} || $2::text[],
        {unqualified.current_content_id} = COALESCE($3, {s.current_content_id})
    WHERE {s.id} = $1
    """,
)
"""Parameters: locked session, content ids that its list lacks, new current content or NULL."""

SET_CURRENT = Statement(
    "sessions.set_current",
    f"""
    UPDATE {s} SET {unqualified.current_content_id} = $2
    WHERE {s.id} = $1 AND $2 = ANY({s.content_ids})
      AND EXISTS (SELECT FROM {c} WHERE {c.id} = $2)
    RETURNING {SESSION}
    """,
)


def _existing(ids: str, order: str) -> str:
    """Return SQL for the first (ASC) or last (DESC) existing content item of an array of ids.

    The array is unnested once. PostgreSQL finds an element of a ``text[]`` by scanning the array
    from its start, so a subscript per row would make the search quadratic. ``OFFSET 0`` preserves
    the order of the subquery, so that the search ends at the first content item that exists.
    """
    return f"""
    SELECT item.id FROM (
        SELECT id, ordinality FROM unnest({ids}) WITH ORDINALITY AS item (id, ordinality)
        ORDER BY ordinality {order} OFFSET 0
    ) AS item
    WHERE item.id IS DISTINCT FROM {s.current_content_id}
      AND EXISTS (SELECT FROM {c} WHERE {c.id} = item.id OFFSET 0)
    ORDER BY item.ordinality {order} LIMIT 1
    """


def _adjacent(subscript: str) -> str:
    """Return SQL for the content item at a subscript of the list, NULL if it does not exist."""
    return f"""
    SELECT {c.id} FROM {c}
    WHERE {c.id} = {s.content_ids}[{subscript}] AND {c.id} <> {s.current_content_id}
    """


FOLLOWING = f"""
COALESCE(
    ({_adjacent(f"{CURRENT_SUBSCRIPT} + 1")}),
    ({_existing(f"{s.content_ids}[COALESCE({CURRENT_SUBSCRIPT}, 0) + 1:]", "ASC")})
)
"""
"""Key of the next existing content item of the list, of the first one if none is current.

The second argument is evaluated only if the adjacent item was deleted by other means than
``delete_content``, or if no item is current.
"""

PRECEDING = f"""
COALESCE(
    ({_adjacent(f"{CURRENT_SUBSCRIPT} - 1")}),
    ({_existing(f"{s.content_ids}[:{CURRENT_SUBSCRIPT} - 1]", "DESC")})
)
"""
"""Key of the previous existing content item of the list, NULL if none is current."""


def _select(operation: str, neighbor: str) -> Statement:
    """Return the statement that selects a neighbor. Parameter: session."""
    key = f"SELECT {neighbor} FROM {s} WHERE {s.id} = $1"
    sql = f"SELECT {CONTENT} FROM {c} WHERE {c.id} = ({key})"
    return Statement(f"sessions.{operation}", sql)


def _move(operation: str, neighbor: str) -> Statement:
    """Return the statement that makes a neighbor current and selects it.

    Parameters: session, and the expected current content or NULL.
    """
    sql = f"""
    WITH moved AS (
        UPDATE {s} SET {unqualified.current_content_id} = {neighbor}
        WHERE {s.id} = $1 AND ($2::text IS NULL OR {s.current_content_id} = $2)
          AND {neighbor} IS NOT NULL
        RETURNING {s.current_content_id} AS id
    )
    SELECT {CONTENT} FROM moved JOIN {c} ON {c.id} = moved.id
    """
    return Statement(f"sessions.{operation}", sql)


NEXT = _select("next_content", FOLLOWING)
PREVIOUS = _select("previous_content", PRECEDING)

MOVE_NEXT = _move("move_next", FOLLOWING)
MOVE_PREVIOUS = _move("move_previous", PRECEDING)

POSITION = Statement(
    "sessions.position",
    f"""
    SELECT count(*) FILTER (WHERE item.ordinality < list.current),
           count(*),
           COALESCE(bool_or(item.ordinality = list.current), false)
    FROM (
        SELECT {s.content_ids} AS ids, {CURRENT_SUBSCRIPT} AS current FROM {s}
        WHERE {s.id} = $1 OFFSET 0
    ) AS list, unnest(list.ids) WITH ORDINALITY AS item (id, ordinality)
    JOIN {c} ON {c.id} = item.id
    """,
)
"""Parameter: session.

It returns the number of existing content items before the current one, the number of all, and
true if the current one exists.

``OFFSET 0`` computes the subscript once. A join is linear with every plan. ``id = ANY (list.ids)``
would be quadratic in the sequential scan that the planner prefers for a small table.
"""

LIST = Statement(
    "sessions.list_content",
    f"""
    SELECT {CONTENT} FROM unnest((
        SELECT {s.content_ids}[
            CASE WHEN $2::text IS NULL THEN 0 ELSE array_position({s.content_ids}, $2) END + 1:
        ] FROM {s} WHERE {s.id} = $1
    )) WITH ORDINALITY AS item (id, ordinality)
    CROSS JOIN LATERAL (SELECT * FROM {c} WHERE {c.id} = item.id OFFSET 0) AS c
    ORDER BY item.ordinality LIMIT $3
    """,
)
"""Parameters: session, the content after which the page begins or NULL, and the limit.

``OFFSET 0`` makes the planner look up the items one by one in the order of the list, so that the
scan ends at the limit. The planner does not know the length of the list, and might read the whole
table ``content`` instead.
"""

NEXT_CURRENT = f"""
CASE WHEN {s.current_content_id} = $2 THEN
    CASE WHEN {CURRENT_SUBSCRIPT} IS NOT NULL THEN COALESCE({PRECEDING}, {FOLLOWING}) END
ELSE {s.current_content_id} END
"""
"""Current content after the removal of $2: the previous item, else the next one, else NULL."""


def _remove(condition: str) -> str:
    return f"""
    UPDATE {s} SET
        {unqualified.content_ids} = array_remove({s.content_ids}, $2::text),
        {unqualified.current_content_id} = {NEXT_CURRENT}
    WHERE {condition} AND ($2 = ANY({s.content_ids}) OR {s.current_content_id} = $2)
    """


REMOVE = Statement("sessions.remove_content", f"{_remove(f'{s.id} = $1')} RETURNING {SESSION}")
REMOVE_FROM_MANY = Statement("sessions.remove_from_many", _remove(f"{s.id} = ANY($1::text[])"))
"""Parameters: sessions and content. It has no RETURNING, which would send all their lists."""

CLEAR = Statement(
    "sessions.clear",
    f"""
    UPDATE {s} SET {unqualified.content_ids} = '{{}}', {unqualified.current_content_id} = NULL
    WHERE {s.id} = $1 RETURNING {SESSION}
    """,
)

LOCK_CONTENT = Statement(
    "sessions.lock_content",
    f"SELECT {ISOLATION}, (SELECT true FROM {c} WHERE {c.id} = $1 FOR UPDATE)",
)
"""Parameter: content. It returns the isolation level, and true if the content exists."""

LOCK_SESSIONS_WITH_EVENTS = Statement(
    "sessions.lock_with_events",
    f"""
    SELECT count(*) FROM (
        SELECT {s.id} FROM {s} WHERE {s.id} = ANY(ARRAY(
            SELECT {e.session_id} FROM {e} WHERE {e.content_id} = $1
            UNION SELECT {k.session_id} FROM {k} WHERE {k.content_id} = $1
        )) ORDER BY {s.id} FOR KEY SHARE
    ) AS locked
    """,
)
"""Parameter: content. It locks the sessions with its events or likes against deletion.

A concurrent deletion of such a session would delete the same events in another order, a deadlock.
"""

LOCK_SESSIONS_WITH_CONTENT = Statement(
    "sessions.lock_with_content",
    f"""
    SELECT {s.id} FROM {s} WHERE {s.content_ids} @> $2::text[] OR {s.current_content_id} = $1
    ORDER BY {s.id} FOR NO KEY UPDATE
    """,
)
"""Parameters: content, and an array of only its id. It locks the sessions with it in their lists.

The whole table is scanned, since the agreed schema has no index on the list.
"""

DELETE_CONTENT = Statement("sessions.delete_content", f"DELETE FROM {c} WHERE {c.id} = $1")
