"""The repository of content generation."""

from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Any, Unpack

from piccolo.querystring import QueryString
from pydantic import TypeAdapter

from learner_app.content.repositories import ContentRepository
from learner_app.content.rows import Content, ContentCreate
from learner_app.content.tables import ContentTable
from learner_app.errors import InvalidTransition
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
from learner_app.repository.batches import affected
from learner_app.repository.filters import Filters, at_least, before
from learner_app.repository.inputs import checked, refused
from learner_app.repository.locks import require_fresh
from learner_app.repository.paging import DEFAULT_LIMIT, Page, Total, bounded
from learner_app.repository.rows import Shape
from learner_app.repository.values import MOMENT, Text

CONTENT = Shape(ContentTable, Content)
AGE = TypeAdapter(Age)
TEXT = TypeAdapter(Text)
WIDTH = len(Generation.__struct_fields__)


class GenerationRepository(DeletingRepository[Generation, str, GenerationCreate, GenerationUpdate]):
    """The jobs that make content, and the queue that workers take them from.

    A job waits (``generating``), is claimed (``processing``) and ends for good (``completed`` or
    ``failed``). A worker that is at it for long keeps it by :meth:`update`, of its
    ``estimated_completion_time`` for instance: stale is what nobody touched.
    """

    table = GenerationStatusTable
    row = Generation
    filters = Filters(
        GenerationStatusTable,
        GenerationFilters,
        {
            "started_from": at_least(GenerationStatusTable.started_at),
            "started_to": before(GenerationStatusTable.started_at),
        },
    )
    stored_as = {"status": lambda _: QueryString("'generating'")}  # noqa: RUF012  # typed in the base

    async def count(self, **filters: Unpack[GenerationFilters]) -> int:
        """How many jobs the filters let through."""
        return await self._count(filters)

    async def page(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        after: str | None = None,
        total: Total | None = None,
        **filters: Unpack[GenerationFilters],
    ) -> Page[Generation]:
        """A page by id."""
        return await self._page(filters, limit, after, total)

    def stream(self, **filters: Unpack[GenerationFilters]) -> AsyncGenerator[Generation, None]:
        """All of them by id, in constant memory."""
        return self._stream(filters)

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
        async with self.engine.transaction():
            isolation = await self.engine.fetchval(queue.LOCK_SESSION, new.session_id)
            if isolation is None:
                raise self._missing("session_id")
            require_fresh(isolation)
            active = await self._one(queue.NEWEST_ACTIVE, new.session_id)
            return Started(active or await self.add(new), created=active is None)

    async def claim_next(self, stale_after: timedelta | None = None) -> Generation | None:
        """Take the job that has waited longest, for this worker alone; None without any.

        Args:
            stale_after: also claimed jobs that nobody touched for longer than that, whose worker
                is taken for dead.

        Raises:
            InvalidValue: ``stale_after`` is negative or over ten years.
        """
        if stale_after is None:
            return await self._one(queue.CLAIM)
        age = checked(AGE, stale_after, "stale_after", self.table)
        return await self._one(queue.CLAIM_OR_TAKE_OVER, age)

    async def complete(self, generation_id: str, content_id: str) -> Generation:
        """End a job with the piece that came of it; the same call again changes nothing.

        A job that waits again may be completed too: by its first worker, who is late. Of two who
        complete it the first one counts.

        Raises:
            NotFound: there is no such job.
            InvalidTransition: it failed, or was completed with another piece.
            MissingReference: there is no such piece.
        """
        piece = self._key.parts(content_id)
        done = None if piece is None else await self._of_key(generation_id, queue.COMPLETE, *piece)
        done = done or await self._ended(generation_id, status="completed", content_id=content_id)
        if done is None:
            raise self._missing("content_id")
        return done

    async def fail(self, generation_id: str, error: str) -> Generation:
        """End a job that cannot be done; the same call again changes nothing.

        Args:
            generation_id: the job; one that waits again may fail too.
            error: why; any text without NUL.

        Raises:
            NotFound: there is no such job.
            InvalidTransition: it is completed, or failed with another error.
        """
        error = checked(TEXT, error, "error", self.table)
        failed = await self._of_key(generation_id, queue.FAIL, error)
        return self._found(
            failed or await self._ended(generation_id, status="failed", error_message=error)
        )

    async def get_with_content(self, generation_id: str) -> GenerationWithContent:
        """A job and what came of it, by one query.

        Raises:
            NotFound: there is no such job.
        """
        key = self._key.parts(generation_id)
        record = key and await self.engine.fetchrow(queue.WITH_CONTENT, *key)
        if not record:
            raise self._not_found()
        content = None if record[WIDTH] is None else CONTENT.make(record[WIDTH:])
        return GenerationWithContent(self._shape.make(record[:WIDTH]), content)

    async def list_active(
        self, session_id: str | None = None, *, limit: int = DEFAULT_LIMIT
    ) -> list[Generation]:
        """Jobs that are not finished, of a session or of all, the oldest first."""
        bounded(limit, self.table)
        if session_id is None:
            return await self._many(queue.LIST_ACTIVE, limit)
        if (session := self._key.parts(session_id)) is None:
            return []
        return await self._many(queue.LIST_ACTIVE_OF_SESSION, limit, *session)

    async def requeue_stale(self, older_than: timedelta, *, batch: int = DEFAULT_LIMIT) -> int:
        """Let some claimed jobs wait again and say how many; call it until 0.

        Jobs that somebody has locked are passed over.

        Args:
            older_than: for how long nobody touched them.
            batch: how many at most.

        Raises:
            InvalidValue: ``older_than`` is negative or over ten years.
        """
        age = checked(AGE, older_than, "older_than", self.table)
        return affected(await self.engine.execute(queue.requeue_stale(batch), age))

    async def claim_webhooks(
        self, limit: int = DEFAULT_LIMIT, *, max_age: timedelta | None = None
    ) -> list[Generation]:
        """Finished jobs whose webhook has to be sent, the oldest first.

        They are locked until the caller's transaction ends: send, call :meth:`mark_webhook_sent`,
        commit. What is not marked then is claimed again, so that each is sent at least once.
        Meanwhile their sessions cannot be deleted: take few at a time.

        Args:
            limit: how many at most.
            max_age: only jobs that were asked for since. Without it all finished jobs are looked
                at where few are due, which takes a while when they are millions.

        Raises:
            TransactionRequired: outside a transaction.
            InvalidValue: ``max_age`` is negative or over ten years.
        """
        self._require_transaction("claim_webhooks")
        bounded(limit, self.table)
        age = None if max_age is None else checked(AGE, max_age, "max_age", self.table)
        return await self._many(queue.claim_webhooks(limit), age)

    async def mark_webhook_sent(self, *generation_ids: str) -> int:
        """Note that the webhooks of these jobs were sent.

        Returns:
            How many of them had to be sent until now: those of jobs that are not there or not
            finished, have none or are marked already do not count.
        """
        keys = [key for parts in map(self._key.parts, generation_ids) if parts for key in parts]
        return affected(await self.engine.execute(queue.MARK_SENT, keys)) if keys else 0

    async def purge_finished(self, before: datetime, *, batch: int = DEFAULT_LIMIT) -> int:
        """Delete some jobs that were finished before then and say how many; call it until 0.

        Jobs whose webhook still has to be sent stay, until it is marked as sent or taken away
        with ``update``. Those that somebody has locked are passed over.
        """
        moment = checked(MOMENT, before, "before", self.table)
        return affected(await self.engine.execute(queue.purge_finished(batch), moment))

    async def store_for_session(
        self, session_id: str, new: ContentCreate, generation_id: str | None = None
    ) -> Content:
        """Store a piece, append it to its session and complete the job: all or nothing.

        The same call again for a job changes nothing, so that a worker may repeat it.

        Raises:
            InvalidValue: the piece or the job is of another session.
            NotFound: there is no such session, or no such job; ``table`` says which.
            Conflict: the piece's id is taken by one that differs.
            InvalidTransition: the job failed, or was completed with another piece.
        """
        if new.session_id != session_id:
            raise refused(ContentTable, "session_id", "is not the session to store it for")
        async with self.engine.transaction():
            content = await ContentRepository(self.engine).add_idempotent(new)
            if generation_id is not None and await self._has_made(generation_id, content.id):
                return content  # since then the piece may have been taken off the list
            await ListeningSessionRepository(self.engine).append_content(session_id, content.id)
            if generation_id is not None:
                job = await self.complete(generation_id, content.id)
                if job.session_id != session_id:
                    raise refused(self.table, "generation_id", "is a job of another session")
        return content

    async def _has_made(self, generation_id: str, content_id: str) -> bool:
        job = await self.find(generation_id)
        return job is not None and (job.status, job.content_id) == ("completed", content_id)

    async def _ended(self, generation_id: str, **same: Any) -> Generation | None:
        """The job, if it ended exactly so; None if it did not end.

        Raises:
            NotFound: there is no such job.
            InvalidTransition: it ended otherwise.
        """
        row = await self.get(generation_id)
        if row.status not in ("completed", "failed"):
            return None
        if row.content_id is None and (piece := same.get("content_id")) is not None:
            was_deleted = not await ContentRepository(self.engine).exists(piece)
            same |= {"content_id": None} if was_deleted else {}
        if any(getattr(row, name) != value for name, value in same.items()):
            raise self._error(InvalidTransition, f"the job is {row.status} already", "status")
        return row
