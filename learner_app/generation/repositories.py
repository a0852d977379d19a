"""The repository of content generation."""

from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Any, Unpack

from piccolo.columns.combination import WhereRaw
from piccolo.querystring import QueryString
from pydantic import TypeAdapter

from learner_app.content.repositories import ContentRepository
from learner_app.content.rows import Content, ContentCreate
from learner_app.content.tables import ContentTable
from learner_app.errors import InvalidTransition, StaleClaim
from learner_app.generation import queue
from learner_app.generation.rows import (
    Age,
    Generation,
    GenerationCreate,
    GenerationFilters,
    GenerationUpdate,
    GenerationWithContent,
    Started,
)
from learner_app.generation.tables import GenerationStatusTable
from learner_app.listening.repositories import ListeningSessionRepository
from learner_app.repository.base import DeletingRepository
from learner_app.repository.batches import affected_rows
from learner_app.repository.filters import Filters, at_least, before
from learner_app.repository.inputs import invalid_field, require_instance, validate
from learner_app.repository.locks import require_read_committed_level
from learner_app.repository.paging import DEFAULT_LIMIT, Page, Total, check_limit
from learner_app.repository.rows import RowMapper
from learner_app.repository.sql import Param
from learner_app.repository.values import UTC_DATETIME, Text

CONTENT = RowMapper(ContentTable, Content)
AGE = TypeAdapter(Age)
TEXT = TypeAdapter(Text)
WIDTH = len(Generation.__struct_fields__)

CLAIM = Param("claim")
HOLDS_CLAIM = WhereRaw("{} = 'processing'", GenerationStatusTable.status) & (
    GenerationStatusTable.started_at == CLAIM
)


class GenerationRepository(DeletingRepository[Generation, str, GenerationCreate, GenerationUpdate]):
    """The jobs that make content, and the queue that workers take them from.

    A job waits (``generating``), is claimed (``processing``) and ends for good (``completed`` or
    ``failed``). A job that nobody updated for a while is stale and can be claimed again.

    **Claims are fenced.** A worker passes the row that :meth:`claim_next` returned to
    :meth:`complete`, :meth:`fail`, :meth:`store_for_session` and :meth:`update`. After the job was
    requeued or claimed by another worker, these raise ``StaleClaim`` and change nothing. The token
    is ``started_at``, which moves forward at every claim. An id instead of a row is not fenced: it
    is for operators, who end a job whoever works on it.

    A worker extends its claim by an :meth:`update`, for instance of ``estimated_completion_time``.
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

    async def count(self, **filters: Unpack[GenerationFilters]) -> int:
        """How many jobs the filters let through."""
        return await self.count_rows(filters)

    async def page(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        after: str | None = None,
        total: Total | None = None,
        **filters: Unpack[GenerationFilters],
    ) -> Page[Generation]:
        """A page by id."""
        return await self.page_rows(filters, limit, after, total)

    def stream(self, **filters: Unpack[GenerationFilters]) -> AsyncGenerator[Generation, None]:
        """All of them by id, in constant memory."""
        return self.stream_rows(filters)

    async def start(self, new: GenerationCreate) -> Generation:
        """Put a job in the queue; the same as ``add``."""
        return await self.add(new)

    async def start_if_none_active(self, new: GenerationCreate) -> Started:
        """The newest job of the session that is not finished, or else a new one.

        Of many callers at once one makes it.

        Raises:
            MissingReference: there is no such session.
            Conflict: none is active, and the id is taken by a finished one.
            TransactionError: in a ``repeatable read`` or ``serializable`` transaction, which would
                not see the jobs of those who were faster.
            LockTimeout: the session is locked for longer than DB_LOCK_TIMEOUT.
        """
        require_instance(GenerationCreate, new, "new", self.table)
        async with self.engine.transaction():
            isolation = await self.engine.fetchval(queue.LOCK_SESSION, new.session_id)
            if isolation is None:
                raise self.missing_reference("session_id")
            require_read_committed_level(isolation)
            active = await self.fetch_row(queue.NEWEST_ACTIVE, new.session_id)
            return Started(active or await self.add(new), created=active is None)

    async def claim_next(self, stale_after: timedelta | None = None) -> Generation | None:
        """Claim the waiting job that was asked for first, None if no job waits.

        Of concurrent workers each gets another job. The row is the claim: pass it to the
        operations that end the job. Its ``started_at`` is later than that of every earlier claim of
        the job, and not before the end of the previous attempt.

        Args:
            stale_after: also claim jobs of other workers that were not updated for longer than
                that; their claims end.

        Raises:
            InvalidValue: ``stale_after`` is negative or over ten years.
        """
        if stale_after is None:
            return await self.fetch_row(queue.CLAIM)
        age = validate(AGE, stale_after, "stale_after", self.table)
        return await self.fetch_row(queue.CLAIM_OR_TAKE_OVER, age)

    async def update(self, key: Generation | str, changes: GenerationUpdate) -> Generation:
        """Change the given fields only. An update by a worker also extends its claim.

        Args:
            key: the claimed job, or the id of a job.
            changes: the fields; without any, the row is returned as it is.

        Raises:
            NotFound: the job does not exist.
            StaleClaim: a claimed job was given, and that claim has ended.
        """
        if not isinstance(key, Generation):
            return await super().update(key, changes)
        given, job_id, claim = self.changed_fields(changes), key.generation_id, key.started_at
        if given:
            changed = await self.update_row(job_id, given, HOLDS_CLAIM, **{CLAIM: claim})
            if changed is not None:
                return changed
        row = await self.get(job_id)
        if given or row.status != "processing" or row.started_at != claim:
            raise self._stale_claim()
        return row

    async def complete(self, generation_id: Generation | str, content_id: str) -> Generation:
        """Complete a job with its content. The same call again changes nothing.

        Args:
            generation_id: the claimed job as :meth:`claim_next` returned it, or the id of a job,
                which may then be waiting or claimed by any worker.
            content_id: the content that was generated.

        Raises:
            NotFound: the job does not exist.
            StaleClaim: a claimed job was given, and that claim has ended.
            InvalidTransition: the job failed, or was completed with other content.
            MissingReference: the content does not exist.
        """
        job_id, claim = _token(generation_id)
        piece = self.key.params(content_id)
        done = piece and await self.fetch_row_by_key(job_id, queue.COMPLETE, *piece, claim)
        done = done or await self._ended(job_id, claim, status="completed", content_id=content_id)
        if not done:
            raise self.missing_reference("content_id")
        return done

    async def fail(self, generation_id: Generation | str, error: str) -> Generation:
        """End a job that cannot be done. The same call again changes nothing.

        Args:
            generation_id: the claimed job as :meth:`claim_next` returned it, or the id of a job,
                which may then be waiting or claimed by any worker.
            error: the reason; any text without NUL.

        Raises:
            NotFound: the job does not exist.
            StaleClaim: a claimed job was given, and that claim has ended.
            InvalidTransition: the job is completed, or failed with another error.
        """
        job_id, claim = _token(generation_id)
        error = validate(TEXT, error, "error", self.table)
        failed = await self.fetch_row_by_key(job_id, queue.FAIL, error, claim)
        return self.require_row(
            failed or await self._ended(job_id, claim, status="failed", error_message=error)
        )

    async def get_with_content(self, generation_id: str) -> GenerationWithContent:
        """A job and what came of it, by one query.

        Raises:
            NotFound: there is no such job.
        """
        key = self.key.params(generation_id)
        record = key and await self.engine.fetchrow(queue.WITH_CONTENT, *key)
        if not record:
            raise self.not_found()
        content = None if record[WIDTH] is None else CONTENT.to_row(record[WIDTH:])
        return GenerationWithContent(self.mapper.to_row(record[:WIDTH]), content)

    async def list_active(
        self, session_id: str | None = None, *, limit: int = DEFAULT_LIMIT
    ) -> list[Generation]:
        """Jobs that are not finished, of a session or of all, the oldest first."""
        check_limit(limit, self.table)
        if session_id is None:
            return await self.fetch_rows(queue.LIST_ACTIVE, limit)
        if (session := self.key.params(session_id)) is None:
            return []
        return await self.fetch_rows(queue.LIST_ACTIVE_OF_SESSION, limit, *session)

    async def requeue_stale(self, older_than: timedelta, *, batch: int = DEFAULT_LIMIT) -> int:
        """Put a batch of stale jobs back into the queue and return how many. Call it until 0.

        Their claims end. They keep their place in the queue. Locked jobs are skipped.

        Args:
            older_than: jobs that were not updated for longer than that.
            batch: maximum number of jobs.

        Raises:
            InvalidValue: ``older_than`` is negative or over ten years.
        """
        age = validate(AGE, older_than, "older_than", self.table)
        return affected_rows(await self.engine.execute(queue.requeue_stale(batch), age))

    async def claim_webhooks(
        self, limit: int = DEFAULT_LIMIT, *, max_age: timedelta | None = None
    ) -> list[Generation]:
        """Finished jobs whose webhook has to be sent, the oldest first.

        They are locked until the caller's transaction ends: send, call :meth:`mark_webhook_sent`,
        commit. What is not marked then is claimed again, so that each is sent at least once.
        Meanwhile their sessions cannot be deleted: take few at a time.

        Args:
            limit: how many at most.
            max_age: only jobs whose last attempt started within that time. Without it all finished
                jobs are read when few are due, which is slow for millions of jobs.

        Raises:
            TransactionRequired: outside a transaction.
            InvalidValue: ``max_age`` is negative or over ten years.
        """
        self.require_transaction("claim_webhooks")
        check_limit(limit, self.table)
        age = None if max_age is None else validate(AGE, max_age, "max_age", self.table)
        return await self.fetch_rows(queue.claim_webhooks(limit), age)

    async def mark_webhook_sent(self, *generation_ids: str) -> int:
        """Note that the webhooks of these jobs were sent.

        Returns:
            How many of them had to be sent until now: those of jobs that are not there or not
            finished, have none or are marked already do not count.
        """
        keys = [key for parts in map(self.key.params, generation_ids) if parts for key in parts]
        return affected_rows(await self.engine.execute(queue.MARK_SENT, keys)) if keys else 0

    async def purge_finished(self, before: datetime, *, batch: int = DEFAULT_LIMIT) -> int:
        """Delete some jobs that were finished before then and say how many; call it until 0.

        Jobs whose webhook still has to be sent stay, until it is marked as sent or taken away
        with ``update``. Those that somebody has locked are passed over.
        """
        moment = validate(UTC_DATETIME, before, "before", self.table)
        return affected_rows(await self.engine.execute(queue.purge_finished(batch), moment))

    async def store_for_session(
        self, session_id: str, new: ContentCreate, generation_id: Generation | str | None = None
    ) -> Content:
        """Store content, append it to its session and complete the job: all or nothing.

        The same call again for a job changes nothing, so that a worker may repeat it.

        Args:
            session_id: the session.
            new: the content.
            generation_id: the claimed job as :meth:`claim_next` returned it, or the id of a job.

        Raises:
            InvalidValue: content or job belong to another session.
            NotFound: session or job do not exist; ``table`` names which.
            StaleClaim: a claimed job was given, and that claim has ended.
            Conflict: other content has the id.
            InvalidTransition: the job failed, or was completed with other content.
        """
        if require_instance(ContentCreate, new, "new", ContentTable).session_id != session_id:
            raise invalid_field(ContentTable, "session_id", "is not the session to store it for")
        async with self.engine.transaction():
            if isinstance(generation_id, Generation):
                # before the content: under its id the other worker may have stored its own
                await self._has_made(generation_id, new.id)
            content, _ = await ContentRepository(self.engine).add_idempotent(new)
            if await self._has_made(generation_id, content.id):
                return content  # it may have been removed from the session since
            await ListeningSessionRepository(self.engine).append_content(session_id, content.id)
            if generation_id is not None:
                job = await self.complete(generation_id, content.id)
                if job.session_id != session_id:
                    raise invalid_field(self.table, "generation_id", "is a job of another session")
        return content

    async def _has_made(self, job: Generation | str | None, content_id: str) -> bool:
        """Return whether the job is completed with that content.

        Raises:
            StaleClaim: a claimed job was given, and that claim has ended.
        """
        if job is None:
            return False
        job_id, claim = _token(job)
        row = await self.find(job_id)
        if row is None:
            return False
        self._require_claim(row, claim)
        return (row.status, row.content_id) == ("completed", content_id)

    def _require_claim(self, row: Generation, claim: datetime | None) -> None:
        """Raise StaleClaim unless the row is under that claim, or ended under it."""
        if claim is not None and (row.started_at != claim or row.status == "generating"):
            raise self._stale_claim()

    def _stale_claim(self) -> StaleClaim:
        return self.error(StaleClaim, "the caller's claim on the job has ended", "started_at")

    async def _ended(self, job_id: str, claim: datetime | None, **same: Any) -> Generation | None:
        """Return the job if it ended exactly so, None if it did not end.

        Raises:
            NotFound: the job does not exist.
            StaleClaim: the claim has ended.
            InvalidTransition: the job ended otherwise.
        """
        row = await self.get(job_id)
        self._require_claim(row, claim)
        if row.status not in ("completed", "failed"):
            return None
        if row.content_id is None and (piece := same.get("content_id")) is not None:
            was_deleted = not await ContentRepository(self.engine).exists(piece)
            same |= {"content_id": None} if was_deleted else {}
        if any(getattr(row, name) != value for name, value in same.items()):
            raise self.error(InvalidTransition, f"the job is {row.status} already", "status")
        return row


def _token(job: Generation | str) -> tuple[str, datetime | None]:
    """Return the id of a job and the ``started_at`` of the claim, None for an id alone."""
    return (job.generation_id, job.started_at) if isinstance(job, Generation) else (job, None)
