"""SQL of the work queue: every step of a job is decided and done by one statement.

Locks are taken in one order everywhere: pieces, then sessions, then jobs (see
:mod:`learner_app.listening.playlist_sql`). Whoever takes some jobs of many passes over those that
others have locked.
"""

from learner_app.content.rows import Content
from learner_app.content.tables import ContentTable
from learner_app.generation.rows import Generation
from learner_app.generation.tables import GenerationStatusTable
from learner_app.listening.tables import ListeningSessionTable
from learner_app.repository.batches import lock_oldest_keys_sql
from learner_app.repository.locks import ISOLATION
from learner_app.repository.sql import NOW, SqlNames

g = SqlNames(GenerationStatusTable)
bare = g.unqualified
j = SqlNames(GenerationStatusTable, "j")
c = SqlNames(ContentTable, "c")
s = SqlNames(ListeningSessionTable)
ROW = g.fields(Generation)

WAITS = f"{g.status} = 'generating'"
ACTIVE = f"{g.status} IN ('generating', 'processing')"
FINISHED = f"{g.status} IN ('completed', 'failed')"
IS_DUE = f"{FINISHED} AND {g.webhook_url} IS NOT NULL AND NOT {g.webhook_sent}"
"""The webhook has to be sent."""

ENDED = f"GREATEST({NOW}, {g.started_at})"
"""A job is never completed before it is started, whatever happens to the clock."""

NEXT_START = f"GREATEST({NOW}, {g.updated_at}, {g.started_at} + interval '1 microsecond')"
"""Start of a new attempt, or of a new wait: strictly after the previous start, and not before the
last write of the previous attempt, even if the clock was set back. Two claims of a job therefore
never have the same ``started_at``, which serves as the fencing token.
"""

QUEUED = f"LEAST({g.created_at}, {g.started_at})"
"""When the job was asked for. A claim moves ``started_at`` forward but not the job's place in the
queue; imported jobs may have been asked for before their row was created.
"""

IN_ORDER = f"{QUEUED}, {g.started_at}"
"""Queue order, to be followed by the key.

There is no index on the expression, so the few active jobs are found by the index on the status or
the session and sorted. By ``started_at`` alone the planner would walk its index through all
finished jobs.
"""

HOLDS = f"({{0}}::timestamptz IS NULL OR {g.status} = 'processing' AND {g.started_at} = {{0}})"
"""Fence with a parameter for the ``started_at`` of the caller's claim; NULL matches any job."""

IS_STALE = f"{g.status} = 'processing' AND {g.updated_at} < {NOW} - $1::interval"
"""Claimed and untouched for longer than that: ``updated_at`` moves at the claim."""


def _claim(condition: str) -> str:
    key = lock_oldest_keys_sql(g, g.generation_id, condition, IN_ORDER, 1)
    return f"""
    UPDATE {g} SET {bare.status} = 'processing', {bare.started_at} = {NEXT_START}
    WHERE {g.generation_id} = ANY({key}) RETURNING {ROW}
    """


CLAIM = _claim(WAITS)
CLAIM_OR_TAKE_OVER = _claim(f"({WAITS} OR {IS_STALE})")
"""Takes the interval after which a claimed job is another worker's to claim."""

COMPLETE = f"""
WITH piece AS (SELECT {c.id} AS id FROM {c} WHERE {c.id} = $2 FOR KEY SHARE)
UPDATE {g} SET {bare.status} = 'completed', {bare.content_id} = piece.id,
    {bare.completed_at} = {ENDED}
FROM piece WHERE {g.generation_id} = $1 AND {ACTIVE} AND {HOLDS.format("$3")} RETURNING {ROW}
"""
"""Parameters: job, piece, claim. The join starts with the piece, so it is locked before the job."""

FAIL = f"""
UPDATE {g} SET {bare.status} = 'failed', {bare.error_message} = $2, {bare.completed_at} = {ENDED}
WHERE {g.generation_id} = $1 AND {ACTIVE} AND {HOLDS.format("$3")} RETURNING {ROW}
"""
"""Parameters: job, error, claim."""

LOCK_SESSION = f"SELECT {ISOLATION} FROM {s} WHERE {s.id} = $1 FOR NO KEY UPDATE"

NEWEST_ACTIVE = f"""
SELECT {ROW} FROM {g} WHERE {g.session_id} = $1 AND {ACTIVE}
ORDER BY {QUEUED} DESC, {g.started_at} DESC, {g.generation_id} DESC LIMIT 1
"""

LIST_ACTIVE = f"""
SELECT {ROW} FROM {g} WHERE {ACTIVE} ORDER BY {IN_ORDER}, {g.generation_id} LIMIT $1
"""

LIST_ACTIVE_OF_SESSION = f"""
SELECT {ROW} FROM {g} WHERE {ACTIVE} AND {g.session_id} = $2
ORDER BY {IN_ORDER}, {g.generation_id} LIMIT $1
"""

WITH_CONTENT = f"""
SELECT {j.fields(Generation)}, {c.fields(Content)}
FROM {j} LEFT JOIN {c} ON {c.id} = {j.content_id} WHERE {j.generation_id} = $1
"""

MARK_SENT = f"""
UPDATE {g} SET {bare.webhook_sent} = true WHERE {g.generation_id} = ANY(ARRAY(
    SELECT {g.generation_id} FROM {g} WHERE {g.generation_id} = ANY($1::text[]) AND {IS_DUE}
    ORDER BY {g.generation_id} FOR UPDATE
))
"""
"""Takes the keys; locks in their order, so that two calls cannot wait for each other."""


def requeue_stale(batch: int) -> str:
    """Return SQL that ends the claims of stale jobs; its parameter is their minimum age."""
    keys = lock_oldest_keys_sql(g, g.generation_id, IS_STALE, g.updated_at, batch)
    return f"""
    UPDATE {g} SET {bare.status} = 'generating', {bare.started_at} = {NEXT_START}
    WHERE {g.generation_id} = ANY({keys})
    """


def claim_webhooks(limit: int) -> str:
    """The limit stands in it as a literal, since a bound one spoils the plan.

    The CASE hides the condition from the planner, which would read the whole table when it expects
    few rows; so it walks the index on ``started_at`` and stops at the limit.
    """
    return f"""
    SELECT {ROW} FROM {g}
    WHERE CASE WHEN {IS_DUE} THEN true ELSE false END AND {g.started_at} >= COALESCE(
        {NOW} - $1::interval, '-infinity'
    )
    ORDER BY {g.started_at}, {g.generation_id} LIMIT {limit:d} FOR UPDATE SKIP LOCKED
    """


def purge_finished(batch: int) -> str:
    """Takes the moment; the first condition follows from the second and has an index."""
    condition = f"{g.started_at} < $1 AND {g.completed_at} < $1 AND {FINISHED} AND NOT ({IS_DUE})"
    keys = lock_oldest_keys_sql(g, g.generation_id, condition, g.started_at, batch)
    return f"DELETE FROM {g} WHERE {g.generation_id} = ANY({keys})"
