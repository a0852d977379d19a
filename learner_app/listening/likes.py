"""The repository of likes."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Unpack

from piccolo.querystring import QueryString
from pydantic import TypeAdapter

from learner_app.listening.engagement import (
    OF_CONTENT,
    TOP_CONTENT,
    characteristics,
    likes_by,
)
from learner_app.listening.rows import (
    ContentLikes,
    Dimension,
    Like,
    LikeCreate,
    LikeFilters,
    LikeKey,
    LikeUpdate,
    Reaction,
)
from learner_app.listening.tables import LikeEngagementTable
from learner_app.repository.base import MAX_ROUNDS, DeletingRepository
from learner_app.repository.filters import Filters
from learner_app.repository.inputs import invalid_field, require_list, validate
from learner_app.repository.paging import DEFAULT_LIMIT, Order, Page, Total, check_limit
from learner_app.repository.queries import Expression
from learner_app.repository.sql import NOW, Param, SqlNames
from learner_app.repository.values import OPTIONAL_UTC_DATETIME

DIMENSION: TypeAdapter[Dimension] = TypeAdapter(Dimension)
REACTION: TypeAdapter[Reaction | None] = TypeAdapter(Reaction | None)

k = SqlNames(LikeEngagementTable, "k")
bare = k.unqualified
ROW = k.fields(Like)
IS_KEY = f"{k.content_id} = $1 AND {k.session_id} = $2"

UPSERT = f"""
INSERT INTO {k}
    ({bare.content_id}, {bare.session_id}, {bare.liked}, {bare.liked_at}, {bare.reaction_type},
     {bare.content_characteristics})
VALUES ($1::text, $2::text, true, {NOW}, COALESCE($3::text, 'like'),
        COALESCE({OF_CONTENT.format("$1::text")}, '{{}}'))
ON CONFLICT ({bare.content_id}, {bare.session_id}) DO UPDATE
"""
REACTION_AFTER = f"COALESCE($3, {k.reaction_type}, 'like')"
IS_OTHER_REACTION = f"$3 <> COALESCE({k.reaction_type}, 'like')"


def _written_or_known(write: str) -> str:
    """Return SQL for the row that a statement wrote, or else the row of the key as it was.

    Both are of one statement. A second one could return what another transaction wrote in between.
    """
    return f"""
    WITH written AS ({write} RETURNING {ROW})
    SELECT * FROM written
    UNION ALL SELECT {ROW} FROM {k} WHERE {IS_KEY} AND NOT EXISTS (SELECT FROM written)
    """


LIKE = _written_or_known(
    f"""
    {UPSERT} SET {bare.liked} = true, {bare.liked_at} = COALESCE({k.liked_at}, {NOW}),
        {bare.unliked_at} = NULL, {bare.reaction_type} = {REACTION_AFTER}
    WHERE NOT {k.liked} OR {k.reaction_type} IS DISTINCT FROM {REACTION_AFTER}
    """
)
UNLIKE = _written_or_known(
    f"""
    UPDATE {k} SET {bare.liked} = false, {bare.unliked_at} = GREATEST({NOW}, {k.liked_at})
    WHERE {IS_KEY} AND {k.liked}
    """
)
TOGGLED = f"NOT {k.liked} OR ({IS_OTHER_REACTION}) IS TRUE"
TOGGLE = f"""
{UPSERT} SET {bare.liked} = {TOGGLED}, {bare.liked_at} = COALESCE({k.liked_at}, {NOW}),
    {bare.unliked_at} = CASE WHEN NOT ({TOGGLED}) THEN GREATEST({NOW}, {k.liked_at}) END,
    {bare.reaction_type} = {REACTION_AFTER}
RETURNING {ROW}
"""
OF_CONTENTS = (
    f"SELECT {ROW} FROM {k} WHERE {k.session_id} = $1 AND {k.content_id} = ANY($2::text[])"
)

NEWEST_FIRST = Order(
    LikeEngagementTable.created_at,
    LikeEngagementTable.content_id,
    LikeEngagementTable.session_id,
    descending=True,
)


class LikeRepository(DeletingRepository[Like, LikeKey, LikeCreate, LikeUpdate]):
    """Likes; each is of one session and one piece and changes no other one."""

    table = LikeEngagementTable
    row = Like
    filters = Filters(LikeEngagementTable, LikeFilters)
    stored_as: ClassVar[Mapping[str, Expression]] = {
        "content_characteristics": characteristics,
        "liked_at": lambda given: QueryString(
            "COALESCE({}, CASE WHEN {} THEN now() END)", given, Param("liked")
        ),
    }

    async def count(self, **filters: Unpack[LikeFilters]) -> int:
        """How many likes the filters let through, those taken back among them."""
        return await self.count_rows(filters)

    async def page(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        after: str | None = None,
        total: Total | None = None,
        **filters: Unpack[LikeFilters],
    ) -> Page[Like]:
        """A page by key."""
        return await self.page_rows(filters, limit, after, total)

    def stream(self, **filters: Unpack[LikeFilters]) -> AsyncGenerator[Like, None]:
        """All of them by key, in constant memory."""
        return self.stream_rows(filters)

    async def like(self, key: LikeKey, reaction: Reaction | None = None) -> Like:
        """Like the content and return the like, in one statement.

        A like that exists is unchanged unless another reaction is given. One that was taken back
        is given again, and keeps the time when it was given first.

        Args:
            key: content and session.
            reaction: the stored one if omitted, ``like`` if there is none.

        Raises:
            MissingReference: the content or the session does not exist.
        """
        wanted = validate(REACTION, reaction, "reaction", self.table)
        parts = self._parts(key)
        for _ in range(MAX_ROUNDS):
            like = await self.fetch_row(LIKE, *parts, wanted)
            if like is not None and like.liked and wanted in (None, like.reaction_type):
                return like
            # unchanged, in a newer version of the row than the snapshot of the statement has
        raise self.invisible_conflict()

    async def unlike(self, key: LikeKey) -> Like:
        """Take the like back and return it, in one statement.

        A like that was taken back before is unchanged.

        Raises:
            NotFound: the session never liked the content.
        """
        if (parts := self.key.params(key)) is None:
            raise self.not_found()
        for _ in range(MAX_ROUNDS):
            like = self.require_row(await self.fetch_row(UNLIKE, *parts))
            if not (like.liked or like.liked_at or like.unliked_at):
                raise self.not_found()
            if not like.liked:
                return like
            # taken back by another transaction after the snapshot of the statement
        raise self.invisible_conflict()

    async def toggle(self, key: LikeKey, reaction: Reaction | None = None) -> Like:
        """Take the like back, or give it if it is not given, in one statement.

        Args:
            key: content and session.
            reaction: another one than the stored one replaces it and leaves the like given.

        Raises:
            MissingReference: the content or the session does not exist.
        """
        wanted = validate(REACTION, reaction, "reaction", self.table)
        return self.require_row(await self.fetch_row(TOGGLE, *self._parts(key), wanted))

    async def map_for_contents(
        self, session_id: str, content_ids: Sequence[str]
    ) -> dict[str, Like]:
        """The session's likes of these pieces, where there are any, by one query."""
        ids_given = require_list(content_ids, "content_ids", self.table)
        pairs = [self.key.params((one, session_id)) for one in ids_given]
        ids = [pair[0] for pair in pairs if pair is not None]
        likes = await self.fetch_rows(OF_CONTENTS, session_id, ids) if ids else []
        return {like.content_id: like for like in likes}

    async def list_for_session(self, session_id: str, *, limit: int = DEFAULT_LIMIT) -> list[Like]:
        """The session's likes that stand, the newest first."""
        return await self.list_rows({"session_id": session_id, "liked": True}, limit, NEWEST_FIRST)

    async def count_likes(self, content_id: str) -> int:
        """How many likes of a piece stand."""
        return await self.count_rows({"content_id": content_id, "liked": True})

    async def count_by(
        self, dimension: Dimension, *, since: datetime | None = None, until: datetime | None = None
    ) -> dict[str | None, int]:
        """How many likes stand by a characteristic of the piece, the most first, 1,000 at most.

        Args:
            dimension: which one; those of pieces without it are under None.
            since: first liked then or later.
            until: first liked before then.
        """
        sql = likes_by(validate(DIMENSION, dimension, "dimension", self.table))
        bounds = [self._moment(since, "since"), self._moment(until, "until")]
        return dict(await self.engine.fetch(sql, *bounds))

    async def top_content(
        self, *, limit: int = 10, since: datetime | None = None
    ) -> list[ContentLikes]:
        """The pieces with the most likes that stand, counting those first given since then."""
        most = check_limit(limit, self.table)
        records = await self.engine.fetch(TOP_CONTENT, self._moment(since, "since"), most)
        return [ContentLikes(*record) for record in records]

    def _moment(self, value: datetime | None, field: str) -> datetime | None:
        return validate(OPTIONAL_UTC_DATETIME, value, field, self.table)

    def _parts(self, key: LikeKey) -> tuple[Any, ...]:
        parts = self.key.params(key)
        if parts is None:
            raise invalid_field(self.table, "key", "must be a LikeKey of two ids")
        return parts
