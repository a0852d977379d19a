"""SQL of the work queue. One statement checks and writes each transition of a job.

Rows are locked in one order everywhere: content, sessions, jobs (see
:mod:`learner_app.listening.playlist_sql`). Statements that process a batch of jobs skip the rows
that other transactions have locked.
"""

from learner_app.content.rows import Content
from learner_app.content.tables import ContentTable
from learner_app.generation.rows import Generation
from learner_app.generation.tables import GenerationStatusTable
from learner_app.listening.tables import ListeningSessionTable
from learner_app.repository.batches import lock_oldest_keys_sql
from learner_app.repository.locks import ISOLATION
from learner_app.repository.sql import NOW, SqlNames, Statement

g = SqlNames(GenerationStatusTable)
unqualified = g.unqualified
j = SqlNames(GenerationStatusTable, "j")
c = SqlNames(ContentTable, "c")
s = SqlNames(ListeningSessionTable)
ROW = g.fields(Generation)

IS_WAITING = f"{g.status} = 'generating'"
IS_ACTIVE = f"{g.status} IN ('generating', 'processing')"
IS_FINISHED = f"{g.status} IN ('completed', 'failed')"

IS_WEBHOOK_DUE = f"{IS_FINISHED} AND {g.webhook_url} IS NOT NULL AND NOT {g.webhook_sent}"
"""Condition on finished jobs with a webhook that was not marked as sent."""

END_TIME = f"GREATEST({NOW}, {g.started_at})"
"""Time of completion or failure, never before the start, even if the clock was set back."""

NEXT_START = f"GREATEST({NOW}, {g.updated_at}, {g.started_at} + interval '1 microsecond')"
"""New ``started_at`` of a job that is claimed or requeued.

It is strictly after the previous start and not before the last write of the previous attempt, even
if the clock was set back. Two claims of a job therefore never have the same ``started_at``, which
is the fencing token.
"""

REQUESTED_AT = f"LEAST({g.created_at}, {g.started_at})"
"""Time at which the job was requested.

A claim changes ``started_at``, but must not change the place in the queue. Imported jobs may have
been requested before their row was created.
"""

QUEUE_ORDER = f"{REQUESTED_AT}, {g.started_at}"
"""ORDER BY terms of the queue, without the key, which must follow.

The expression has no index on purpose: the few active jobs are found by the index on the status or
the session and then sorted. If the order were ``started_at`` alone, the planner would scan the
index on it, through all finished jobs.
"""

IS_CLAIMED_BY = (
    f"({{0}}::timestamptz IS NULL OR {g.status} = 'processing' AND {g.started_at} = {{0}})"
)
"""Condition that the job has the fencing token of the caller's claim; NULL matches any job.

A template: ``{0}`` is the placeholder of the bind parameter.
"""

IS_STALE = f"{g.status} = 'processing' AND {g.updated_at} < {NOW} - $1::interval"
"""Condition on claimed jobs that were not updated for longer than ``$1``.

A claim is an update: the trigger sets ``updated_at``.
"""


def _claim(name: str, condition: str) -> Statement:
    key = lock_oldest_keys_sql(g, g.generation_id, condition, QUEUE_ORDER, 1)
    return Statement(
        name,
        f"""
        UPDATE {g} SET {unqualified.status} = 'processing', {unqualified.started_at} = {NEXT_START}
        WHERE {g.generation_id} = ANY({key}) RETURNING {ROW}
        """,
    )


CLAIM = _claim("generation_status.claim_next", IS_WAITING)

CLAIM_OR_TAKE_OVER = _claim(
    "generation_status.claim_next_or_stale", f"({IS_WAITING} OR {IS_STALE})"
)
"""Parameter: age above which a claimed job is stale and may be claimed by another worker."""

COMPLETE = Statement(
    "generation_status.complete",
    f"""
    WITH found AS (SELECT {c.id} AS id FROM {c} WHERE {c.id} = $2 FOR KEY SHARE)
    UPDATE {g} SET {unqualified.status} = 'completed', {unqualified.content_id} = found.id,
        {unqualified.completed_at} = {END_TIME}
    FROM found WHERE {g.generation_id} = $1 AND {IS_ACTIVE} AND {IS_CLAIMED_BY.format("$3")}
    RETURNING {ROW}
    """,
)
"""Parameters: job, content, fencing token. The content is locked first, as in the lock order."""

FAIL = Statement(
    "generation_status.fail",
    f"""
    UPDATE {g} SET {unqualified.status} = 'failed', {unqualified.error_message} = $2,
        {unqualified.completed_at} = {END_TIME}
    WHERE {g.generation_id} = $1 AND {IS_ACTIVE} AND {IS_CLAIMED_BY.format("$3")} RETURNING {ROW}
    """,
)
"""Parameters: job, error message, fencing token."""

LOCK_SESSION = Statement(
    "sessions.lock", f"SELECT {ISOLATION} FROM {s} WHERE {s.id} = $1 FOR NO KEY UPDATE"
)

NEWEST_ACTIVE = Statement(
    "generation_status.newest_active",
    f"""
    SELECT {ROW} FROM {g} WHERE {g.session_id} = $1 AND {IS_ACTIVE}
    ORDER BY {REQUESTED_AT} DESC, {g.started_at} DESC, {g.generation_id} DESC LIMIT 1
    """,
)

LIST_ACTIVE = Statement(
    "generation_status.list_active",
    f"""
    SELECT {ROW} FROM {g} WHERE {IS_ACTIVE} ORDER BY {QUEUE_ORDER}, {g.generation_id} LIMIT $1
    """,
)

LIST_ACTIVE_OF_SESSION = Statement(
    "generation_status.list_active_of_session",
    f"""
    SELECT {ROW} FROM {g} WHERE {IS_ACTIVE} AND {g.session_id} = $2
    ORDER BY {QUEUE_ORDER}, {g.generation_id} LIMIT $1
    """,
)

GET_WITH_CONTENT = Statement(
    "generation_status.get_with_content",
    f"""
    SELECT {j.fields(Generation)}, {c.fields(Content)}
    FROM {j} LEFT JOIN {c} ON {c.id} = {j.content_id} WHERE {j.generation_id} = $1
    """,
)

MARK_WEBHOOK_SENT = Statement(
    "generation_status.mark_webhook_sent",
    f"""
    UPDATE {g} SET {unqualified.webhook_sent} = true WHERE {g.generation_id} = ANY(ARRAY(
        SELECT {g.generation_id} FROM {g}
        WHERE {g.generation_id} = ANY($1::text[]) AND {IS_WEBHOOK_DUE}
        ORDER BY {g.generation_id} FOR UPDATE
    ))
    """,
)
"""Parameter: keys. Rows are locked in key order, so that concurrent calls cannot deadlock."""


def requeue_stale(batch: int) -> Statement:
    """Return the statement that requeues a batch of stale jobs.

    Parameter: age above which a claimed job is stale.
    """
    keys = lock_oldest_keys_sql(g, g.generation_id, IS_STALE, g.updated_at, batch)
    return Statement(
        "generation_status.requeue_stale",
        f"""
        UPDATE {g} SET {unqualified.status} = 'generating', {unqualified.started_at} = {NEXT_START}
        WHERE {g.generation_id} = ANY({keys})
        """,
    )


def claim_webhooks(limit: int) -> Statement:
    """Return the statement that locks finished jobs with a due webhook.

    Parameter: maximum age of the last attempt; NULL selects jobs of any age.

    The limit is a literal: PostgreSQL plans a bound LIMIT as if it were a tenth of the table. The
    CASE hides the condition from the planner, which would otherwise expect few rows and read the
    whole table. With it, the plan scans the index on ``started_at`` and stops at the limit.
    """
    return Statement(
        "generation_status.claim_webhooks",
        f"""
        SELECT {ROW} FROM {g}
        WHERE CASE WHEN {IS_WEBHOOK_DUE} THEN true ELSE false END AND {g.started_at} >= COALESCE(
            {NOW} - $1::interval, '-infinity'
        )
        ORDER BY {g.started_at}, {g.generation_id} LIMIT {limit:d} FOR UPDATE SKIP LOCKED
        """,
    )


def purge_finished(batch: int) -> Statement:
    """Return the statement that deletes a batch of jobs which ended before a time.

    Parameter: the time. The condition on ``started_at`` follows from that on ``completed_at``,
    and has an index.
    """
    has_ended = f"{g.started_at} < $1 AND {g.completed_at} < $1 AND {IS_FINISHED}"
    condition = f"{has_ended} AND NOT ({IS_WEBHOOK_DUE})"
    keys = lock_oldest_keys_sql(g, g.generation_id, condition, g.started_at, batch)
    sql = f"DELETE FROM {g} WHERE {g.generation_id} = ANY({keys})"
    return Statement("generation_status.purge_finished", sql)
