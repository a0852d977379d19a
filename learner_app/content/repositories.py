"""Repository of content."""

import builtins
from collections.abc import AsyncGenerator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

import msgspec
from pydantic import TypeAdapter

from learner_app.content.rows import (
    Audio,
    AudioFormat,
    Content,
    ContentCreate,
    ContentFilters,
    ContentUpdate,
)
from learner_app.content.tables import ContentTable
from learner_app.errors import Conflict
from learner_app.repository.base import Repository
from learner_app.repository.filters import Filters, at_least, before
from learner_app.repository.inputs import invalid_field, validate
from learner_app.repository.json_values import MAX_JSON_BYTES, json_text
from learner_app.repository.locks import advisory_xact_lock
from learner_app.repository.paging import DEFAULT_LIMIT, Order, Page, Total
from learner_app.repository.rows import StoredRow, to_json
from learner_app.repository.sql import SqlNames, Statement
from learner_app.repository.values import DEFERRED, JSON_OBJECT, UnitInterval

__all__ = ["ContentRepository"]

BY_EPISODE = Order(ContentTable.episode_number, ContentTable.generated_at, ContentTable.id)

c = SqlNames(ContentTable)
unqualified = c.unqualified
MERGED = f"COALESCE(NULLIF({c.metadata}, 'null'), '{{}}') || $2::jsonb"
MERGE_METADATA = Statement(
    "content.merge_metadata",
    f"""
    UPDATE {c} SET {unqualified.metadata} = {MERGED}
    WHERE {c.id} = $1 AND octet_length(({MERGED})::text) <= {MAX_JSON_BYTES}
    RETURNING {c.fields(Content)}
    """,
)
IS_SAME_JSON = Statement("content.is_same_json", "SELECT $1::jsonb = $2::jsonb")

SCORE: TypeAdapter[Decimal] = TypeAdapter(UnitInterval, config=DEFERRED)


class ContentRepository(Repository[Content, str, ContentCreate, ContentUpdate]):
    """Repository of the content that learners listen to.

    Content is deleted by ``ListeningSessionRepository.delete_content``, which also removes it from
    the lists of all sessions.
    """

    table = ContentTable
    row = Content
    filters = Filters(
        ContentTable,
        ContentFilters,
        {
            "generated_since": at_least(ContentTable.generated_at),
            "generated_until": before(ContentTable.generated_at),
            "min_quality": at_least(ContentTable.quality_score),
        },
    )
    orders = {  # noqa: RUF012  # typed in the base class
        "key": Order(ContentTable.id),
        "newest": Order(ContentTable.generated_at, ContentTable.id, descending=True),
        "oldest": Order(ContentTable.generated_at, ContentTable.id),
    }

    # typed methods: written by `python -m learner_app.repository.typed_methods`
    if TYPE_CHECKING:

        async def list(
            self,
            *,
            limit: int = 100,
            order: Literal["key", "newest", "oldest"] = "key",
            **filters: Unpack[ContentFilters],
        ) -> builtins.list[Content]: ...

        async def page(
            self,
            *,
            limit: int = 100,
            after: str | None = None,
            total: Total | None = None,
            order: Literal["key", "newest", "oldest"] = "key",
            **filters: Unpack[ContentFilters],
        ) -> Page[Content]: ...

        def stream(
            self,
            *,
            order: Literal["key", "newest", "oldest"] = "key",
            **filters: Unpack[ContentFilters],
        ) -> AsyncGenerator[Content, None]: ...

        async def count(self, **filters: Unpack[ContentFilters]) -> int: ...

        @overload
        async def exists(self, key: str) -> bool: ...

        @overload
        async def exists(self, **filters: Unpack[ContentFilters]) -> bool: ...

        async def exists(self, *args: Any, **kwargs: Any) -> bool: ...

        async def update_where(
            self,
            changes: ContentUpdate,
            *,
            all_rows: bool = False,
            batch: int = 1000,
            **filters: Unpack[ContentFilters],
        ) -> int: ...
    # end of typed methods

    async def add_idempotent(self, new: ContentCreate) -> StoredRow[Content]:
        """Insert a content item, or return the stored one if all passed fields are equal.

        For callers that retry: a repeated call returns the row with ``created`` False.

        Raises:
            Conflict: the id belongs to other content. The message names the fields that differ.
        """
        stored = await self.get_or_create_row(new)
        if stored.created:
            return stored
        different = [
            name
            for name, value in new.set_fields().items()
            if not await self._has_value(stored.row, name, value)
        ]
        if different:
            message = f"other content has the id: use another id ({', '.join(different)} differ)"
            raise self.error(Conflict, message, "id", constraint="content_pkey")
        return stored

    async def attach_audio(
        self,
        content_id: str,
        *,
        url: str,
        format: AudioFormat,  # noqa: A002  # the name of the field
        duration: int,
        bitrate: int | None = None,
        size: int | None = None,
    ) -> Content:
        """Set the fields of the audio file.

        Args:
            content_id: the content item.
            url: absolute http or https URL.
            format: audio format.
            duration: duration in seconds.
            bitrate: bitrate in kbit/s.
            size: size in bytes.

        Raises:
            NotFound: the content does not exist.
        """
        audio = Audio(url=url, format=format, duration=duration, bitrate=bitrate, size=size)
        changes = ContentUpdate(
            audio_url=audio.url,
            audio_format=audio.format,
            audio_bitrate=audio.bitrate,
            audio_size=audio.size,
            duration=audio.duration,
        )
        return await self.update(content_id, changes)

    async def list_for_session(
        self, session_id: str, *, limit: int = DEFAULT_LIMIT
    ) -> builtins.list[Content]:
        """Return the content that a session requested, oldest first."""
        filters: ContentFilters = {"session_id": session_id}
        return await self.list_rows(filters, limit, "oldest", operation="list_for_session")

    async def list_series(
        self, session_id: str, series_id: str, *, limit: int = DEFAULT_LIMIT
    ) -> builtins.list[Content]:
        """Return the episodes of a session's series by number, then those without a number."""
        filters: ContentFilters = {"session_id": session_id, "series_id": series_id}
        return await self.list_rows(filters, limit, BY_EPISODE, operation="list_series")

    async def latest_episode(self, session_id: str, series_id: str) -> Content | None:
        """Return the episode with the highest number, or None."""
        values = self.filters.validate({"session_id": session_id, "series_id": series_id})
        if values is None:
            return None
        statement = self.statements.cached(
            "latest_episode",
            lambda: self.statements.compile(
                "latest_episode",
                self.statements.select([self.filters.condition(tuple(values))])
                .where(ContentTable.episode_number.is_not_null())
                .order_by(ContentTable.episode_number, ContentTable.id, ascending=False)
                .limit(1),
            ),
        )
        return await self.fetch_row(statement, *statement.args(values))

    async def next_episode_number(self, session_id: str, series_id: str) -> int:
        """Return the next episode number of a series and reserve it until the transaction ends.

        Concurrent callers for the same series wait for each other.

        Raises:
            TransactionRequired: the call is outside a transaction.
            TransactionError: the transaction is ``repeatable read`` or ``serializable`` and would
                not see the latest number.
            LockTimeout: another transaction reserved a number of the series for longer than
                DB_LOCK_TIMEOUT.
        """
        self.require_transaction("next_episode_number")
        series: ContentFilters = {"session_id": session_id, "series_id": series_id}
        for name, value in series.items():
            if self.filters.validate({name: value}) is None:
                raise invalid_field(ContentTable, name, "must not contain NUL characters")
        await advisory_xact_lock(self.engine, f"episode {session_id} {series_id}")
        latest = await self.latest_episode(session_id, series_id)
        return 1 + ((latest and latest.episode_number) or 0)

    async def merge_metadata(self, content_id: str, patch: dict[str, Any]) -> Content:
        """Set the keys of the patch in the metadata and keep all others.

        Keys that concurrent calls set are kept as well. A nested object is replaced as a whole.

        Raises:
            NotFound: the content does not exist.
            InvalidValue: the metadata would be larger than 1 MB.
        """
        patch = validate(JSON_OBJECT, patch, "metadata", ContentTable)
        if not patch:
            return await self.get(content_id)
        merged = await self.fetch_row_by_key(content_id, MERGE_METADATA, json_text(patch))
        return merged or await self._merge_locked(content_id, patch)

    async def set_engagement_metrics(
        self, content_id: str, metrics: dict[str, Any] | msgspec.Struct
    ) -> Content:
        """Replace the engagement metrics that are stored with the content.

        Args:
            content_id: the content item.
            metrics: a JSON object, or a struct such as the result of
                ``BehavioralEventRepository.engagement_for_content``. A struct is stored by its
                field names, with times as ISO 8601 strings.

        Raises:
            NotFound: the content does not exist.
        """
        if isinstance(metrics, msgspec.Struct):
            metrics = msgspec.json.decode(to_json(metrics))
        valid = validate(JSON_OBJECT, metrics, "engagement_metrics", ContentTable)
        return self.require_row(await self.update_row(content_id, {"engagement_metrics": valid}))

    async def set_quality_score(self, content_id: str, score: Decimal | float) -> Content:
        """Set the quality score, from 0 (poor) to 1 (excellent), rounded to hundredths.

        Raises:
            NotFound: the content does not exist.
        """
        valid = validate(SCORE, score, "quality_score", ContentTable)
        return self.require_row(await self.update_row(content_id, {"quality_score": valid}))

    async def _has_value(self, row: Content, name: str, value: Any) -> bool:
        """Return True if a stored field equals a value, with JSON compared by PostgreSQL."""
        stored = getattr(row, name)
        if stored == value or not (isinstance(stored, dict) and isinstance(value, dict)):
            return bool(stored == value)
        # Equal JSON may differ in Python: PostgreSQL returns 1e23 as an integer with 24 digits.
        return bool(await self.fetch_value(IS_SAME_JSON, json_text(stored), json_text(value)))

    async def _merge_locked(self, content_id: str, patch: dict[str, Any]) -> Content:
        """Merge in Python, after PostgreSQL found no row or a result over the limit.

        The limit excludes white space, but PostgreSQL's text of JSON contains spaces: the result
        may be below the limit without them.
        """
        async with self.engine.transaction():
            stored = (await self.get(content_id, lock="no key update")).metadata
            return await self.update(
                content_id, ContentUpdate(metadata={**(stored or {}), **patch})
            )
