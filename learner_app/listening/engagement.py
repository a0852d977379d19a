"""SQL of engagement and of likes by characteristics: everything of a question in one query."""

from functools import cache
from typing import Any

from piccolo.querystring import QueryString

from learner_app.content.tables import ContentTable
from learner_app.listening.rows import Dimension, Engagement
from learner_app.listening.tables import BehavioralEventTable, LikeEngagementTable
from learner_app.repository.sql import Param, SqlNames

e = SqlNames(BehavioralEventTable, "e")
k = SqlNames(LikeEngagementTable, "k")
c = SqlNames(ContentTable, "c")

CHARACTERISTICS = f"""
jsonb_build_object('format', {c.format}, 'genre', {c.genre},
                   'difficulty', {c.difficulty}, 'template_id', {c.template_id})
"""
OF_CONTENT = f"(SELECT {CHARACTERISTICS} FROM {c} WHERE {c.id} = {{}})"


def characteristics(given: Param) -> QueryString:
    """Those given, else those of the piece."""
    sql = f"COALESCE({{}}, {OF_CONTENT}, jsonb_build_object())"
    return QueryString(sql, given, Param("content_id"))


KEYS: dict[Dimension, str] = {
    "format": "format",
    "genre": "genre",
    "difficulty": "difficulty",
    "template": "template_id",
}

EVENTS = f"""
{e} CROSS JOIN LATERAL (
    SELECT {c.duration}::numeric AS duration, 2 * {c.duration}::numeric AS too_far
    FROM {c} WHERE {c.id} = {e.content_id} OFFSET 0
) AS heard
"""
"""Events with the duration of their content.

``OFFSET 0`` has it looked up by key and memoized, also where a join would read all contents.
"""

FURTHEST = f"""
max(LEAST({e.playback_position}, heard.duration))
    FILTER (WHERE {e.playback_position} BETWEEN 0 AND heard.too_far)
"""
"""Furthest position of a session in a content, the end for one that is a little past it.

One beyond twice the duration is an error of the client: it is ignored, since a single one would
otherwise decide the mean.
"""

PER_SESSION = f"""
count(*) AS events,
count(*) FILTER (WHERE {e.event_type} = 'play') AS plays,
count(*) FILTER (WHERE {e.event_type} IN ('complete', 'complete-with-replay')) AS completions,
count(*) FILTER (WHERE {e.event_type} LIKE 'skip%') AS skips,
count(*) FILTER (WHERE {e.event_type} LIKE 'replay%') AS replays,
{FURTHEST} AS furthest,
max({e.timestamp}) AS newest
"""
OVER_SESSIONS = """
COALESCE(sum(v.events), 0)::bigint AS events,
COALESCE(sum(v.plays), 0)::bigint AS plays,
COALESCE(sum(v.completions), 0)::bigint AS completions,
COALESCE(sum(v.skips), 0)::bigint AS skips,
COALESCE(sum(v.replays), 0)::bigint AS replays,
COALESCE(avg(v.furthest), 0)::float AS furthest,
max(v.newest) AS newest
"""

FOR_CONTENTS = f"""
SELECT g.id AS kind, {OVER_SESSIONS},
       (SELECT count(*) FROM {k} WHERE {k.content_id} = g.id AND {k.liked}) AS likes
FROM unnest($1::text[]) AS g (id)
LEFT JOIN LATERAL (
    SELECT {PER_SESSION} FROM {EVENTS} WHERE {e.content_id} = g.id GROUP BY {e.session_id}
) AS v ON true
GROUP BY g.id
"""

LIKED_CONTENT = f"""
liked (id) AS (
    (SELECT {k.content_id} FROM {k} ORDER BY {k.content_id} LIMIT 1)
    UNION ALL
    SELECT (SELECT {k.content_id} FROM {k} WHERE {k.content_id} > liked.id
            ORDER BY {k.content_id} LIMIT 1)
    FROM liked WHERE liked.id IS NOT NULL
)
"""
"""The pieces that have likes, found along the primary key: likes are then counted piece by piece,
by index, since neither their time nor their characteristics have one that gives them in order."""

STANDING = f"""
{k.liked} AND ($1::timestamptz IS NULL OR {k.liked_at} >= $1)
"""

TOP_CONTENT = f"""
WITH RECURSIVE {LIKED_CONTENT}
SELECT liked.id, n.likes
FROM liked CROSS JOIN LATERAL (
    SELECT count(*) AS likes FROM {k} WHERE {k.content_id} = liked.id AND {STANDING}
) AS n
WHERE n.likes > 0 ORDER BY n.likes DESC, liked.id LIMIT $2
"""

MOST_KINDS = 1000


@cache
def likes_by(dimension: Dimension, limit: str = f"LIMIT {MOST_KINDS}") -> str:
    """Takes since and until, each or NULL; gives kind and likes."""
    kind = f"{k.content_characteristics} ->> '{KEYS[dimension]}'"
    return f"""
    WITH RECURSIVE {LIKED_CONTENT}
    SELECT n.kind, sum(n.likes)::bigint AS likes
    FROM liked CROSS JOIN LATERAL (
        SELECT {kind} AS kind, count(*) AS likes FROM {k}
        WHERE {k.content_id} = liked.id AND {STANDING}
          AND ($2::timestamptz IS NULL OR {k.liked_at} < $2)
        GROUP BY kind
    ) AS n
    GROUP BY n.kind ORDER BY likes DESC, n.kind {limit}
    """


@cache
def engagement_by(dimension: Dimension, *, since: bool, until: bool) -> str:
    """Takes since and until; those that are not told of are NULL."""
    kind = f"{e.content_characteristics} ->> '{KEYS[dimension]}'"
    bounds = [f"{e.timestamp} >= $1"] * since + [f"{e.timestamp} < $2"] * until
    return f"""
    WITH events AS (
        SELECT v.kind, {OVER_SESSIONS} FROM (
            SELECT {kind} AS kind, {PER_SESSION} FROM {EVENTS}
            WHERE {" AND ".join(bounds) or "true"}
            GROUP BY kind, {e.content_id}, {e.session_id}
        ) AS v GROUP BY v.kind
    ), likes AS ({likes_by(dimension, limit="")})
    SELECT COALESCE(events.kind, likes.kind) AS kind, events.events, events.plays,
           events.completions, events.skips, events.replays, events.furthest, events.newest,
           COALESCE(likes.likes, 0) AS likes
    FROM events FULL JOIN likes
      ON COALESCE(events.kind, '') = COALESCE(likes.kind, '')
     AND (events.kind IS NULL) = (likes.kind IS NULL)
    ORDER BY events.events DESC NULLS LAST, kind LIMIT {MOST_KINDS}
    """


def engagement(record: Any) -> Engagement:
    """From a record of the queries above."""
    events, plays = record["events"] or 0, record["plays"] or 0
    completions = record["completions"] or 0
    return Engagement(
        total_plays=plays,
        total_completions=completions,
        average_completion_rate=min(completions / plays, 1.0) if plays else 0.0,
        average_listening_duration=record["furthest"] or 0.0,
        like_count=record["likes"],
        skip_rate=(record["skips"] or 0) / events if events else 0.0,
        replay_rate=(record["replays"] or 0) / events if events else 0.0,
        last_engaged_at=record["newest"],
    )


NONE = Engagement(0, 0, 0.0, 0.0, 0, 0.0, 0.0, None)
"""Where nothing happened."""
