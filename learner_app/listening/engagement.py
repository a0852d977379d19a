"""SQL of engagement, and of likes by characteristic."""

from functools import cache
from typing import Any

from piccolo.querystring import QueryString
from pydantic import TypeAdapter

from learner_app.content.tables import ContentTable
from learner_app.listening.rows import Dimension, Engagement
from learner_app.listening.tables import BehavioralEventTable, LikeEngagementTable
from learner_app.repository.sql import Param, SqlNames, Statement
from learner_app.repository.values import DEFERRED

e = SqlNames(BehavioralEventTable, "e")
k = SqlNames(LikeEngagementTable, "k")
c = SqlNames(ContentTable, "c")

CHARACTERISTICS = f"""
jsonb_build_object('format', {c.format}, 'genre', {c.genre},
                   'difficulty', {c.difficulty}, 'template_id', {c.template_id})
"""
CHARACTERISTICS_BY_ID = f"(SELECT {CHARACTERISTICS} FROM {c} WHERE {c.id} = {{}})"
"""Characteristics of the stored content whose id replaces the placeholder ``{}``."""

CHARACTERISTIC_KEYS: dict[Dimension, str] = {
    "format": "format",
    "genre": "genre",
    "difficulty": "difficulty",
    "template": "template_id",
}

DIMENSION: TypeAdapter[Dimension] = TypeAdapter(Dimension, config=DEFERRED)

MAX_GROUPS = 1000
"""Maximum number of values of a characteristic that a query returns."""

DURATION_OF = f"""
LATERAL (
    SELECT {c.duration}::numeric AS duration, 2 * {c.duration}::numeric AS max_position
    FROM {c} WHERE {c.id} = {{}} OFFSET 0
) AS content
"""
"""Duration of the content whose id replaces the placeholder ``{}``.

``OFFSET 0`` prevents the planner from turning the subquery into a join, which would read the whole
content table. The subquery is an index lookup per id instead, and its results are memoized.
"""

FURTHEST_POSITION = f"""
max(LEAST({e.playback_position}, content.duration))
    FILTER (WHERE {e.playback_position} BETWEEN 0 AND content.max_position)
"""
"""Furthest position of a session in a content item, at most the duration of the item.

A position after twice the duration is an error of the client. It is ignored, since one such value
would dominate the mean.
"""

AGGREGATES_PER_SESSION = f"""
count(*) AS events,
count(*) FILTER (WHERE {e.event_type} = 'play') AS plays,
count(*) FILTER (WHERE {e.event_type} IN ('complete', 'complete-with-replay')) AS completions,
count(*) FILTER (WHERE {e.event_type} LIKE 'skip%') AS skips,
count(*) FILTER (WHERE {e.event_type} LIKE 'replay%') AS replays,
{FURTHEST_POSITION} AS furthest,
max({e.timestamp}) AS newest
"""
AGGREGATES_OVER_SESSIONS = """
COALESCE(sum(per_session.events), 0)::bigint AS events,
COALESCE(sum(per_session.plays), 0)::bigint AS plays,
COALESCE(sum(per_session.completions), 0)::bigint AS completions,
COALESCE(sum(per_session.skips), 0)::bigint AS skips,
COALESCE(sum(per_session.replays), 0)::bigint AS replays,
COALESCE(avg(per_session.furthest), 0)::float AS furthest,
max(per_session.newest) AS newest
"""

ENGAGEMENT_FOR_CONTENTS = Statement(
    "behavioral_events.engagement_for_contents",
    f"""
    SELECT requested.id AS content_id, {AGGREGATES_OVER_SESSIONS},
           (SELECT count(*) FROM {k} WHERE {k.content_id} = requested.id AND {k.liked}) AS likes
    FROM unnest($1::text[]) AS requested (id)
    LEFT JOIN {DURATION_OF.format("requested.id")} ON true
    LEFT JOIN LATERAL (
        SELECT {AGGREGATES_PER_SESSION} FROM {e}
        WHERE {e.content_id} = requested.id GROUP BY {e.session_id}
    ) AS per_session ON true
    GROUP BY requested.id
    """,
)
"""Parameter: content ids."""

IS_LIKED_SINCE = f"""
{k.liked} AND ($1::timestamptz IS NULL OR {k.liked_at} >= $1)
"""
"""Condition on active likes. It has no index, so that the statements below read all likes."""

TOP_CONTENT = Statement(
    "like_engagement.top_content",
    f"""
    SELECT {k.content_id}, count(*) AS likes FROM {k} WHERE {IS_LIKED_SINCE}
    GROUP BY {k.content_id} ORDER BY likes DESC, {k.content_id} LIMIT $2
    """,
)
"""Parameters: minimum of ``liked_at`` or NULL, and the limit."""


def characteristics_or_stored(value: Param) -> QueryString:
    """Return SQL for the passed characteristics, or for those of the stored content if NULL."""
    sql = f"COALESCE({{}}, {CHARACTERISTICS_BY_ID}, jsonb_build_object())"
    return QueryString(sql, value, Param("content_id"))


@cache
def likes_by(dimension: Dimension) -> Statement:
    """Return the statement for the number of active likes per value of a characteristic.

    Parameters: minimum (inclusive) and maximum (exclusive) of ``liked_at``; NULL is no limit.
    """
    return Statement("like_engagement.count_by", f"{_likes_by(dimension)} LIMIT {MAX_GROUPS}")


def _likes_by(dimension: Dimension) -> str:
    value = f"{k.content_characteristics} ->> '{CHARACTERISTIC_KEYS[dimension]}'"
    return f"""
    SELECT {value} AS value, count(*) AS likes FROM {k}
    WHERE {IS_LIKED_SINCE} AND ($2::timestamptz IS NULL OR {k.liked_at} < $2)
    GROUP BY value ORDER BY likes DESC, value
    """


@cache
def engagement_by(dimension: Dimension, *, has_since: bool, has_until: bool) -> Statement:
    """Return the statement for the engagement per value of a characteristic.

    Parameters: minimum (inclusive) and maximum (exclusive) of the times, NULL where the flag is
    False. A False flag omits the condition on the timestamp, so that the planner can use the index;
    with a test of the parameter for NULL it could not.
    """
    value = f"{e.content_characteristics} ->> '{CHARACTERISTIC_KEYS[dimension]}'"
    bounds = [f"{e.timestamp} >= $1"] * has_since + [f"{e.timestamp} < $2"] * has_until
    sql = f"""
    WITH events AS (
        SELECT per_session.value, {AGGREGATES_OVER_SESSIONS} FROM (
            SELECT {value} AS value, {AGGREGATES_PER_SESSION}
            FROM {e} CROSS JOIN {DURATION_OF.format(e.content_id)}
            WHERE {" AND ".join(bounds) or "true"}
            GROUP BY value, {e.content_id}, {e.session_id}
        ) AS per_session GROUP BY per_session.value
    ), likes AS ({_likes_by(dimension)})
    SELECT COALESCE(events.value, likes.value) AS value, events.events, events.plays,
           events.completions, events.skips, events.replays, events.furthest, events.newest,
           COALESCE(likes.likes, 0) AS likes
    FROM events FULL JOIN likes
      ON COALESCE(events.value, '') = COALESCE(likes.value, '')
     AND (events.value IS NULL) = (likes.value IS NULL)
    ORDER BY events.events DESC NULLS LAST, value LIMIT {MAX_GROUPS}
    """
    return Statement("behavioral_events.engagement_by", sql)


def to_engagement(record: Any) -> Engagement:
    """Convert a record of an engagement query of this module."""
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


NO_ENGAGEMENT = Engagement(0, 0, 0.0, 0.0, 0, 0.0, 0.0, None)
