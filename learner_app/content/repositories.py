"""The repository of content."""

from collections.abc import AsyncGenerator
from decimal import Decimal
from typing import Any, Unpack

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
from learner_app.repository.inputs import validate, invalid_field
from learner_app.repository.locks import advisory_xact_lock
from learner_app.repository.paging import DEFAULT_LIMIT, Order, Page, Total
from learner_app.repository.rows import json_text, to_json
from learner_app.repository.sql import SqlNames, compile_query
from learner_app.repository.values import JSON_BYTES, JSON_OBJECT, UnitInterval

OLDEST_FIRST = Order(ContentTable.generated_at, ContentTable.id)
NEWEST_FIRST = Order(ContentTable.generated_at, ContentTable.id, descending=True)
BY_EPISODE = Order(ContentTable.episode_number, ContentTable.generated_at, ContentTable.id)

c = SqlNames(ContentTable)
bare = c.unqualified
MERGED = f"COALESCE(NULLIF({c.metadata}, 'null'), '{{}}') || $2::jsonb"
MERGE_METADATA = f"""
UPDATE {c} SET {bare.metadata} = {MERGED}
WHERE {c.id} = $1 AND octet_length(({MERGED})::text) <= {JSON_BYTES}
RETURNING {c.fields(Content)}
"""

FRACTION: TypeAdapter[Decimal] = TypeAdapter(UnitInterval)


class ContentRepository(Repository[Content, str, ContentCreate, ContentUpdate]):
    """Pieces to listen to.

    There is no ``delete``: a piece has places in sessions, see
    ``ListeningSessionRepository.delete_content``.
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

    async def count(self, **filters: Unpack[ContentFilters]) -> int:
        """How many pieces the filters let through."""
        return await self.count_rows(filters)

    async def page(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        after: str | None = None,
        total: Total | None = None,
        **filters: Unpack[ContentFilters],
    ) -> Page[Content]:
        """A page by id."""
        return await self.page_rows(filters, limit, after, total)

    async def search(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        after: str | None = None,
        total: Total | None = None,
        **filters: Unpack[ContentFilters],
    ) -> Page[Content]:
        """A page of the newest first."""
        return await self.page_rows(filters, limit, after, total, NEWEST_FIRST)

    def stream(self, **filters: Unpack[ContentFilters]) -> AsyncGenerator[Content, None]:
        """All of them by id, in constant memory."""
        return self.stream_rows(filters)

    async def add_idempotent(self, new: ContentCreate) -> Content:
        """Insert a piece, or return the stored one when it is the same: for callers that retry.

        Raises:
            Conflict: the id is taken by a piece that differs in a field that was given.
        """
        stored, is_new = await self.get_or_add(new)
        if is_new:
            return stored
        different = [
            name for name, value in new.set_fields().items() if not await self._has(stored, name, value)
        ]
        if different:
            says = f"the id belongs to another piece ({', '.join(different)} differ)"
            raise self.error(Conflict, says, "id", constraint="content_pkey")
        return stored

    async def _has(self, stored: Content, name: str, value: Any) -> bool:
        known = getattr(stored, name)
        if known == value or not (isinstance(known, dict) and isinstance(value, dict)):
            return bool(known == value)
        texts = json_text(known), json_text(value)  # 1e23 comes back as another number in Python
        return bool(await self.engine.fetchval("SELECT $1::jsonb = $2::jsonb", *texts))

    async def attach_audio(
        self,
        content_id: str,
        *,
        url: str,
        format: AudioFormat,  # noqa: A002  # the field's agreed name
        duration: int,
        bitrate: int | None = None,
        size: int | None = None,
    ) -> Content:
        """Set the audio file: bitrate in kbit/s, size in bytes, duration in seconds.

        Raises:
            NotFound: there is no such piece.
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
    ) -> list[Content]:
        """What was made for a session, the oldest first."""
        return await self.list_rows({"session_id": session_id}, limit, OLDEST_FIRST)

    async def list_series(
        self, session_id: str, series_id: str, *, limit: int = DEFAULT_LIMIT
    ) -> list[Content]:
        """The episodes of a session's series in order; those without a number come last."""
        series: ContentFilters = {"session_id": session_id, "series_id": series_id}
        return await self.list_rows(series, limit, BY_EPISODE)

    async def latest_episode(self, session_id: str, series_id: str) -> Content | None:
        """The episode with the highest number."""
        given = self.filters.validate({"session_id": session_id, "series_id": series_id})
        if given is None:
            return None
        statement = self.statements.cached(
            "latest_episode",
            lambda: compile_query(
                self.statements.select([self.filters.condition(tuple(given))])
                .where(ContentTable.episode_number.is_not_null())
                .order_by(ContentTable.episode_number, ContentTable.id, ascending=False)
                .limit(1)
            ),
        )
        return await self.fetch_row(statement.sql, *statement.args(given))

    async def next_episode_number(self, session_id: str, series_id: str) -> int:
        """The number for the next episode; nobody else gets one until the transaction ends.

        Raises:
            TransactionRequired: outside a transaction the number would not stay free.
            TransactionError: in a ``repeatable read`` or ``serializable`` one, which would not see
                the latest number.
            LockTimeout: another worker is at this series for longer than DB_LOCK_TIMEOUT.
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
        """Set the keys of the patch and leave the others, also those set at the same time.

        Raises:
            NotFound: there is no such piece.
            InvalidValue: the metadata would be over 1 MB.
        """
        patch = validate(JSON_OBJECT, patch, "metadata", ContentTable)
        if not patch:
            return await self.get(content_id)
        if (key := self.key.params(content_id)) is None:
            raise self.not_found()
        merged = await self.fetch_row(MERGE_METADATA, *key, json_text(patch))
        return merged or await self._merge_with_care(content_id, patch)

    async def _merge_with_care(self, content_id: str, patch: dict[str, Any]) -> Content:
        """With the spaces of the server it is over 1 MB; without them it may not be."""
        async with self.engine.transaction():
            known = (await self.get(content_id, lock="no key update")).metadata
            changes = ContentUpdate(metadata={**(known or {}), **patch})
            return await self.update(content_id, changes)

    async def set_engagement_metrics(
        self, content_id: str, metrics: dict[str, Any] | msgspec.Struct
    ) -> Content:
        """Replace the stored engagement with the content.

        Args:
            content_id: the content.
            metrics: the result of ``BehavioralEventRepository.engagement_for_content`` or another
                structure, stored by its field names, times as ISO 8601 text; or a JSON object.

        Raises:
            NotFound: there is no such content.
        """
        if isinstance(metrics, msgspec.Struct):
            metrics = msgspec.json.decode(to_json(metrics))
        given = validate(JSON_OBJECT, metrics, "engagement_metrics", ContentTable)
        return await self._set(content_id, "engagement_metrics", given)

    async def set_quality_score(self, content_id: str, score: Decimal | float) -> Content:
        """From 0, poor, to 1, excellent; in hundredths."""
        given = validate(FRACTION, score, "quality_score", ContentTable)
        return await self._set(content_id, "quality_score", given)

    async def _set(self, content_id: str, name: str, value: Any) -> Content:
        statement = self.statements.update([name])
        return self.require_row(await self._update_one(statement, content_id, {name: value}))
