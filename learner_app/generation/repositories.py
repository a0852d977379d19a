"""Repository of the jobs that generate content, and their work queue."""

import builtins
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Unpack, overload

from piccolo.columns.combination import WhereRaw
from piccolo.querystring import QueryString
from pydantic import TypeAdapter

from learner_app.content.repositories import ContentRepository
from learner_app.content.rows import Content, ContentCreate
from learner_app.content.tables import ContentTable
from learner_app.errors import InvalidTransition, StaleClaim
from learner_app.generation import queue_sql
from learner_app.generation.rows import (
    Age,
    Generation,
    GenerationCreate,
    GenerationFilters,
    GenerationUpdate,
    GenerationWithContent,
)
from learner_app.generation.tables import GenerationStatusTable
from learner_app.listening.repositories import ListeningSessionRepository
from learner_app.repository.base import KeyedRepository
from learner_app.repository.filters import Filters, at_least, before
from learner_app.repository.inputs import invalid_field, require_instance, validate
from learner_app.repository.locks import require_read_committed_level
from learner_app.repository.paging import DEFAULT_LIMIT, Page, Total, check_limit
from learner_app.repository.rows import RowMapper, StoredRow
from learner_app.repository.sql import Param
from learner_app.repository.values import DEFERRED, UTC_DATETIME, Text

__all__ = [
    "GenerationRepository",
]

CONTENT = RowMapper(ContentTable, Content)
AGE = TypeAdapter(Age, config=DEFERRED)
TEXT = TypeAdapter(Text, config=DEFERRED)
WIDTH = len(Generation.__struct_fields__)
"""Number of the columns of the job in a record that also has those of the content."""

FENCING_TOKEN = Param("fencing token")
IS_CLAIMED = WhereRaw("{} = 'processing'", GenerationStatusTable.status) & (
    GenerationStatusTable.started_at == FENCING_TOKEN
)
"""Condition that the job is claimed with the fencing token."""


class GenerationRepository(KeyedRepository[Generation, str, GenerationCreate, GenerationUpdate]):
    """Jobs that generate content, and the queue from which workers claim them.

    A job is waiting (``generating``), then claimed (``processing``) and finally ``completed`` or
    ``failed``. A claimed job that was not updated for some time is stale and can be claimed again.

    **Claims are fenced.** A worker passes the row that :meth:`claim_next` returned to
    :meth:`complete`, :meth:`fail`, :meth:`store_for_session` and :meth:`update`. If the job was
    requeued or claimed by another worker since, these raise ``StaleClaim`` and change nothing, so
    that a slow or disconnected worker cannot overwrite the result of its successor. The fencing
    token is ``started_at``, which increases at every claim. A call with an id instead of a row is
    not fenced: operators can end any job that way, whichever worker has claimed it.

    Every :meth:`update` by a worker, for instance of ``estimated_completion_time``, extends its
    claim: the job is stale later.
    """

    table = GenerationStatusTable
    row = Generation
    filters = Filters(
        GenerationStatusTable,
        GenerationFilters,
        {
            "started_since": at_least(GenerationStatusTable.started_at),
            "started_until": before(GenerationStatusTable.started_at),
        },
    )
    stored_as = {"status": lambda _: QueryString("'generating'")}  # noqa: RUF012  # typed in the base

    # typed methods: written by `python -m learner_app.repository.typed_methods`
    if TYPE_CHECKING:

        async def list(
            self,
            *,
            limit: int = 100,
            **filters: Unpack[GenerationFilters],
        ) -> builtins.list[Generation]: ...

        async def page(
            self,
            *,
            limit: int = 100,
            after: str | None = None,
            total: Total | None = None,
            **filters: Unpack[GenerationFilters],
        ) -> Page[Generation]: ...

        def stream(
            self,
            **filters: Unpack[GenerationFilters],
        ) -> AsyncGenerator[Generation, None]: ...

        async def count(self, **filters: Unpack[GenerationFilters]) -> int: ...

        @overload
        async def exists(self, key: str) -> bool: ...

        @overload
        async def exists(self, **filters: Unpack[GenerationFilters]) -> bool: ...

        async def exists(self, *args: Any, **kwargs: Any) -> bool: ...
    # end of typed methods

    async def get_or_create_active(self, new: GenerationCreate) -> StoredRow[Generation]:
        """Return the newest unfinished job of the session, or add a new one.

        Exactly one of several concurrent callers creates the job.

        Raises:
            MissingReference: the session does not exist.
            Conflict: no job is active, and a finished one has the id.
            TransactionError: the isolation level is not ``read committed``; the transaction would
                not see jobs that concurrent callers created.
            LockTimeout: the session is locked for longer than DB_LOCK_TIMEOUT.
        """
        require_instance(GenerationCreate, new, "new", self.table)
        async with self.engine.transaction():
            # The lock on the session's row serialises concurrent callers, also while no job exists.
            isolation = await self.fetch_value(queue_sql.LOCK_SESSION, new.session_id)
            if isolation is None:
                raise self.missing_reference("session_id")
            require_read_committed_level(isolation)
            active = await self.fetch_row(queue_sql.NEWEST_ACTIVE, new.session_id)
            return StoredRow(active or await self.add(new), created=active is None)

    async def claim_next(self, *, stale_older_than: timedelta | None = None) -> Generation | None:
        """Claim the waiting job that was requested first.

        Concurrent workers claim different jobs. Pass the returned row to the operations that end
        the job. Its ``started_at`` is later than that of every earlier claim of the job, and not
        before the last write of the previous attempt.

        Args:
            stale_older_than: also claim stale jobs: claimed jobs that were not updated for longer
                than this time. The claims of their previous workers end.

        Returns:
            The claimed job, or None if there is no job to claim.

        Raises:
            InvalidValue: ``stale_older_than`` is negative or over ten years.
        """
        if stale_older_than is None:
            return await self.fetch_row(queue_sql.CLAIM)
        age = validate(AGE, stale_older_than, "stale_older_than", self.table)
        return await self.fetch_row(queue_sql.CLAIM_OR_TAKE_OVER, age)

    async def update(self, key: Generation | str, changes: GenerationUpdate) -> Generation:
        """Change the fields that were passed. An update by a worker also extends its claim.

        Args:
            key: the claimed job as :meth:`claim_next` returned it, or the id of a job.
            changes: the fields; without any field nothing is written.

        Raises:
            NotFound: the job does not exist.
            StaleClaim: ``key`` is a claimed job, and that claim has ended.
        """
        if not isinstance(key, Generation):
            return await super().update(key, changes)
        fields, (job_id, token) = self.changed_fields(changes), _id_and_token(key)
        if fields:
            changed = await self.update_row(job_id, fields, IS_CLAIMED, **{FENCING_TOKEN: token})
            if changed is not None:
                return changed
        row = await self.get(job_id)
        if fields or row.status != "processing" or row.started_at != token:
            raise self._stale_claim()
        return row

    async def delete(self, key: str) -> bool:
        """Delete a job in any state and return whether it existed."""
        params = self.key.params(key)
        return params is not None and await self.execute(self.statements.delete(), *params) == 1

    async def complete(self, job: Generation | str, content_id: str) -> Generation:
        """Complete a job with its content. Repeating the call changes nothing.

        Args:
            job: the claimed job as :meth:`claim_next` returned it, or the id of a job,
                which may then be waiting or claimed by any worker.
            content_id: the generated content.

        Raises:
            NotFound: the job does not exist.
            StaleClaim: ``job`` is a claimed job, and that claim has ended.
            InvalidTransition: the job failed, or was completed with other content.
            MissingReference: the content does not exist.
        """
        job_id, token = _id_and_token(job)
        row = None
        if (content := self.key.params(content_id)) is not None:
            row = await self.fetch_row_by_key(job_id, queue_sql.COMPLETE, *content, token)
        if row is None:
            row = await self._find_ended(job_id, token, status="completed", content_id=content_id)
        if row is None:
            raise self.missing_reference("content_id")
        return row

    async def fail(self, job: Generation | str, error: str) -> Generation:
        """End a job that failed. Repeating the call changes nothing.

        Args:
            job: the claimed job as :meth:`claim_next` returned it, or the id of a job,
                which may then be waiting or claimed by any worker.
            error: the reason; any text without NUL characters and lone surrogates.

        Raises:
            NotFound: the job does not exist.
            StaleClaim: ``job`` is a claimed job, and that claim has ended.
            InvalidTransition: the job was completed, or failed with another error.
        """
        job_id, token = _id_and_token(job)
        error = validate(TEXT, error, "error", self.table)
        row = await self.fetch_row_by_key(job_id, queue_sql.FAIL, error, token)
        if row is None:
            row = await self._find_ended(job_id, token, status="failed", error_message=error)
        return self.require_row(row)

    async def get_with_content(self, generation_id: str) -> GenerationWithContent:
        """Return a job together with the generated content, by one query.

        Raises:
            NotFound: the job does not exist.
        """
        key = self.key.params(generation_id)
        record = key and await queue_sql.GET_WITH_CONTENT.fetchrow(self.engine, *key)
        if not record:
            raise self.not_found()
        content = None if record[WIDTH] is None else CONTENT.to_row(record[WIDTH:])
        return GenerationWithContent(self.mapper.to_row(record[:WIDTH]), content)

    async def list_active(
        self, session_id: str | None = None, *, limit: int = DEFAULT_LIMIT
    ) -> builtins.list[Generation]:
        """Return unfinished jobs of one session or of all, in the order of the queue."""
        check_limit(limit, self.table)
        if session_id is None:
            return await self.fetch_rows(queue_sql.LIST_ACTIVE, limit)
        if (session := self.key.params(session_id)) is None:
            return []
        return await self.fetch_rows(queue_sql.LIST_ACTIVE_OF_SESSION, limit, *session)

    async def requeue_stale(self, older_than: timedelta, *, batch: int = DEFAULT_LIMIT) -> int:
        """Requeue a batch of stale jobs and return how many. Call it until it returns 0.

        The claims of these jobs end, and the jobs keep their place in the queue. Locked jobs are
        skipped.

        Args:
            older_than: time since the last update above which a claimed job is stale.
            batch: maximum number of jobs.

        Raises:
            InvalidValue: ``older_than`` is negative or over ten years.
        """
        age = validate(AGE, older_than, "older_than", self.table)
        return await self.execute(queue_sql.requeue_stale(batch), age)

    async def claim_webhooks(
        self, *, limit: int = DEFAULT_LIMIT, max_age: timedelta | None = None
    ) -> builtins.list[Generation]:
        """Lock and return finished jobs whose webhook is due, the oldest first.

        The jobs are locked until the caller's transaction ends: send the webhooks, call
        :meth:`mark_webhook_sent`, commit. A job that is not marked is returned again to a later
        caller, so each webhook is sent at least once. Deleting the session of a locked job waits
        for its lock: use a small limit.

        Args:
            limit: maximum number of jobs.
            max_age: only jobs whose last attempt started within this time. Without it, all
                finished jobs are read if few webhooks are due, which is slow for millions of jobs.

        Raises:
            TransactionRequired: the call is outside a transaction.
            InvalidValue: ``max_age`` is negative or over ten years.
        """
        self.require_transaction("claim_webhooks")
        check_limit(limit, self.table)
        age = None if max_age is None else validate(AGE, max_age, "max_age", self.table)
        return await self.fetch_rows(queue_sql.claim_webhooks(limit), age)

    async def mark_webhook_sent(self, *generation_ids: str) -> int:
        """Mark the due webhooks of these jobs as sent and return how many.

        Jobs that do not exist, are not finished, have no webhook or were marked before are not
        counted.
        """
        found = map(self.key.params, generation_ids)
        keys = [key for params in found if params for key in params]
        return await self.execute(queue_sql.MARK_WEBHOOK_SENT, keys) if keys else 0

    async def purge_finished(self, before: datetime, *, batch: int = DEFAULT_LIMIT) -> int:
        """Delete a batch of jobs that ended before a time and return how many.

        Call it until it returns 0. Jobs whose webhook is due are kept until it is marked as sent or
        cancelled by ``update``. Locked jobs are skipped.
        """
        time = validate(UTC_DATETIME, before, "before", self.table)
        return await self.execute(queue_sql.purge_finished(batch), time)

    async def store_for_session(
        self, session_id: str, new: ContentCreate, job: Generation | str | None = None
    ) -> Content:
        """Store content, append it to its session and complete the job, in one transaction.

        Repeating the call for a job changes nothing, so a worker may retry it.

        Args:
            session_id: the session.
            new: the content.
            job: the claimed job as :meth:`claim_next` returned it, or the id of a job.

        Raises:
            InvalidValue: the content or the job belongs to another session.
            NotFound: the session or the job does not exist; ``table`` names which one.
            StaleClaim: ``job`` is a claimed job, and that claim has ended.
            Conflict: other content has the id.
            InvalidTransition: the job failed, or was completed with other content.
        """
        if require_instance(ContentCreate, new, "new", ContentTable).session_id != session_id:
            raise invalid_field(
                ContentTable, "session_id", "must be equal to the argument session_id"
            )
        async with self.engine.transaction():
            if isinstance(job, Generation):
                # Checked before the content is stored: the worker that claimed the job next may
                # have stored other content under the same id, and StaleClaim precedes Conflict.
                await self._was_completed_with(job, new.id)
            content, _ = await ContentRepository(self.engine).add_idempotent(new)
            if await self._was_completed_with(job, content.id):
                return content  # not appended again: it may have been removed since
            await ListeningSessionRepository(self.engine).append_content(session_id, content.id)
            if job is not None:
                completed = await self.complete(job, content.id)
                if completed.session_id != session_id:
                    raise invalid_field(self.table, "job", "belongs to another session")
        return content

    async def _was_completed_with(self, job: Generation | str | None, content_id: str) -> bool:
        """Return whether the job was completed with that content.

        Raises:
            StaleClaim: ``job`` is a claimed job, and that claim has ended.
        """
        if job is None:
            return False
        job_id, token = _id_and_token(job)
        row = await self.find(job_id)
        if row is None:
            return False
        self._require_token(row, token)
        return (row.status, row.content_id) == ("completed", content_id)

    def _require_token(self, row: Generation, token: datetime | None) -> None:
        """Raise ``StaleClaim`` unless the last claim of the job has the token, if any is given.

        A requeued job (``generating``) has no claim.
        """
        if token is not None and (row.started_at != token or row.status == "generating"):
            raise self._stale_claim()

    def _stale_claim(self) -> StaleClaim:
        return self.error(StaleClaim, "the caller's claim on the job has ended", "started_at")

    async def _find_ended(
        self, job_id: str, token: datetime | None, **expected: Any
    ) -> Generation | None:
        """Return the job if it ended with the expected values, None if it has not ended.

        Raises:
            NotFound: the job does not exist.
            StaleClaim: the claim has ended.
            InvalidTransition: the job ended with other values.
        """
        row = await self.get(job_id)
        self._require_token(row, token)
        if row.status not in ("completed", "failed"):
            return None
        if row.content_id is None and (content_id := expected.get("content_id")) is not None:
            # The foreign key sets content_id to NULL when the content is deleted.
            was_deleted = not await ContentRepository(self.engine).exists(content_id)
            expected |= {"content_id": None} if was_deleted else {}
        if any(getattr(row, name) != value for name, value in expected.items()):
            raise self.error(InvalidTransition, f"the job is already {row.status}", "status")
        return row


def _id_and_token(job: Generation | str) -> tuple[str, datetime | None]:
    """Return the id of a job, and the fencing token of a claimed job, None for an id."""
    return (job.generation_id, job.started_at) if isinstance(job, Generation) else (job, None)
