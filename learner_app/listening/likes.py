"""Repository of likes."""

import builtins
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Unpack, overload

from piccolo.querystring import QueryString
from pydantic import TypeAdapter

from learner_app.listening.engagement import (
    CHARACTERISTICS_BY_ID,
    DIMENSION,
    TOP_CONTENT,
    characteristics_or_stored,
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
from learner_app.repository.queries import Expression, IfNone
from learner_app.repository.sql import NOW, Param, SqlNames, Statement
from learner_app.repository.values import DEFERRED, OPTIONAL_UTC_DATETIME

REACTION: TypeAdapter[Reaction | None] = TypeAdapter(Reaction | None, config=DEFERRED)

k = SqlNames(LikeEngagementTable, "k")
unqualified = k.unqualified
ROW = k.fields(Like)
HAS_KEY = f"{k.content_id} = $1 AND {k.session_id} = $2"

UPSERT = f"""
INSERT INTO {k}
    ({unqualified.content_id}, {unqualified.session_id}, {unqualified.liked},
     {unqualified.liked_at}, {unqualified.reaction_type}, {unqualified.content_characteristics})
VALUES ($1::text, $2::text, true, {NOW}, COALESCE($3::text, 'like'),
        COALESCE({CHARACTERISTICS_BY_ID.format("$1::text")}, '{{}}'))
ON CONFLICT ({unqualified.content_id}, {unqualified.session_id}) DO UPDATE
"""
NEW_REACTION = f"COALESCE($3, {k.reaction_type}, 'like')"
CHANGES_REACTION = f"$3 <> COALESCE({k.reaction_type}, 'like')"


def _changed_or_existing(operation: str, write: str) -> Statement:
    """Return the statement that writes and returns the changed row, or else the existing row.

    Parameters: content and session, and those of the write. A second statement for the existing row
    could return what another transaction wrote in between.
    """
    sql = f"""
    WITH changed AS ({write} RETURNING {ROW})
    SELECT * FROM changed
    UNION ALL SELECT {ROW} FROM {k} WHERE {HAS_KEY} AND NOT EXISTS (SELECT FROM changed)
    """
    return Statement(f"like_engagement.{operation}", sql)


LIKE = _changed_or_existing(
    "like",
    f"""
    {UPSERT} SET {unqualified.liked} = true, {unqualified.liked_at} = COALESCE({k.liked_at}, {NOW}),
        {unqualified.unliked_at} = NULL, {unqualified.reaction_type} = {NEW_REACTION}
    WHERE NOT {k.liked} OR {k.reaction_type} IS DISTINCT FROM {NEW_REACTION}
    """,
)
UNLIKE = _changed_or_existing(
    "unlike",
    f"""
    UPDATE {k} SET {unqualified.liked} = false,
        {unqualified.unliked_at} = GREATEST({NOW}, {k.liked_at})
    WHERE {HAS_KEY} AND {k.liked}
    """,
)
LIKED_AFTER_TOGGLE = f"NOT {k.liked} OR ({CHANGES_REACTION}) IS TRUE"
TOGGLE = Statement(
    "like_engagement.toggle",
    f"""
    {UPSERT} SET {unqualified.liked} = {LIKED_AFTER_TOGGLE},
        {unqualified.liked_at} = COALESCE({k.liked_at}, {NOW}),
        {unqualified.unliked_at} =
            CASE WHEN NOT ({LIKED_AFTER_TOGGLE}) THEN GREATEST({NOW}, {k.liked_at}) END,
        {unqualified.reaction_type} = {NEW_REACTION}
    RETURNING {ROW}
    """,
)
SELECT_FOR_CONTENTS = Statement(
    "like_engagement.map_for_contents",
    f"SELECT {ROW} FROM {k} WHERE {k.session_id} = $1 AND {k.content_id} = ANY($2::text[])",
)

NEWEST_FIRST = Order(
    LikeEngagementTable.created_at,
    LikeEngagementTable.content_id,
    LikeEngagementTable.session_id,
    descending=True,
)
"""Order of the likes of one session, by a sort.

It is not one of the repository's ``orders``: it has no index, so a list of all likes would be slow.
"""


class LikeRepository(DeletingRepository[Like, LikeKey, LikeCreate, LikeUpdate]):
    """Repository of likes, one row per session and content.

    A removed like keeps its row with ``liked`` set to False. The other likes are called active.
    """

    table = LikeEngagementTable
    row = Like
    filters = Filters(LikeEngagementTable, LikeFilters)
    stored_as: ClassVar[Mapping[str, Expression]] = {
        "content_characteristics": IfNone(characteristics_or_stored),
        "liked_at": lambda value: QueryString(
            f"COALESCE({{}}, CASE WHEN {{}} THEN {NOW} END)", value, Param("liked")
        ),
    }

    # typed methods: written by `python -m learner_app.repository.typed_methods`
    if TYPE_CHECKING:

        async def list(
            self,
            *,
            limit: int = 100,
            **filters: Unpack[LikeFilters],
        ) -> builtins.list[Like]: ...

        async def page(
            self,
            *,
            limit: int = 100,
            after: str | None = None,
            total: Total | None = None,
            **filters: Unpack[LikeFilters],
        ) -> Page[Like]: ...

        def stream(self, **filters: Unpack[LikeFilters]) -> AsyncGenerator[Like, None]: ...

        async def count(self, **filters: Unpack[LikeFilters]) -> int: ...

        @overload
        async def exists(self, key: LikeKey) -> bool: ...

        @overload
        async def exists(self, **filters: Unpack[LikeFilters]) -> bool: ...

        async def exists(self, *args: Any, **kwargs: Any) -> bool: ...

        async def update_where(
            self,
            changes: LikeUpdate,
            *,
            all_rows: bool = False,
            batch: int = 1000,
            **filters: Unpack[LikeFilters],
        ) -> int: ...

        async def delete_where(
            self,
            *,
            all_rows: bool = False,
            batch: int = 1000,
            **filters: Unpack[LikeFilters],
        ) -> int: ...
    # end of typed methods

    async def like(self, key: LikeKey, reaction: Reaction | None = None) -> Like:
        """Like a content item and return the active like, in one statement.

        An active like is unchanged unless another reaction is passed. A removed like becomes active
        again and keeps the time of the first like.

        Args:
            key: content and session.
            reaction: the stored reaction if omitted, ``like`` if none is stored.

        Raises:
            MissingReference: the content or the session does not exist.
        """
        reaction = validate(REACTION, reaction, "reaction", self.table)
        params = self._key_params(key)
        for _ in range(MAX_ROUNDS):
            like = await self.fetch_row(LIKE, *params, reaction)
            if like is not None and like.liked and reaction in (None, like.reaction_type):
                return like
            # Another transaction changed the row after the snapshot of the statement: the upsert
            # saw the new version and had nothing to change, the SELECT returned the old version.
            # The next round has a newer snapshot.
        raise self.invisible_conflict()

    async def unlike(self, key: LikeKey) -> Like:
        """Remove a like and return it, in one statement.

        A like that was removed before is unchanged.

        Raises:
            NotFound: the session never liked the content.
        """
        if (params := self.key.params(key)) is None:
            raise self.not_found()
        for _ in range(MAX_ROUNDS):
            like = self.require_row(await self.fetch_row(UNLIKE, *params))
            if not (like.liked or like.liked_at or like.unliked_at):
                raise self.not_found()
            if not like.liked:
                return like
            # Removed by another transaction after the snapshot of the statement, see like().
        raise self.invisible_conflict()

    async def toggle(self, key: LikeKey, reaction: Reaction | None = None) -> Like:
        """Remove an active like or add a missing one, in one statement.

        Args:
            key: content and session.
            reaction: replaces a different stored reaction, in which case the like stays active.

        Raises:
            MissingReference: the content or the session does not exist.
        """
        reaction = validate(REACTION, reaction, "reaction", self.table)
        return self.require_row(await self.fetch_row(TOGGLE, *self._key_params(key), reaction))

    async def map_for_contents(
        self, session_id: str, content_ids: Sequence[str]
    ) -> dict[str, Like]:
        """Return a session's existing likes of the given content items, by content id."""
        given_ids = require_list(content_ids, "content_ids", self.table)
        pairs = [self.key.params((content_id, session_id)) for content_id in given_ids]
        ids = [pair[0] for pair in pairs if pair is not None]
        likes = await self.fetch_rows(SELECT_FOR_CONTENTS, session_id, ids) if ids else []
        return {like.content_id: like for like in likes}

    async def list_for_session(
        self, session_id: str, *, limit: int = DEFAULT_LIMIT
    ) -> builtins.list[Like]:
        """Return the active likes of a session, newest first."""
        filters: LikeFilters = {"session_id": session_id, "liked": True}
        return await self.list_rows(filters, limit, NEWEST_FIRST, operation="list_for_session")

    async def count_likes(self, content_id: str) -> int:
        """Return the number of active likes of a content item."""
        filters: LikeFilters = {"content_id": content_id, "liked": True}
        return await self.count_rows(filters, operation="count_likes")

    async def count_by(
        self, dimension: Dimension, *, since: datetime | None = None, until: datetime | None = None
    ) -> dict[str | None, int]:
        """Return the number of active likes per value of a characteristic, highest first.

        Likes without a value are counted under None. At most 1,000 values are returned.

        Args:
            dimension: the characteristic.
            since: minimum time of the first like, inclusive.
            until: maximum time of the first like, exclusive.
        """
        statement = likes_by(validate(DIMENSION, dimension, "dimension", self.table))
        bounds = [self._optional_time(since, "since"), self._optional_time(until, "until")]
        return dict(await self.fetch_records(statement, *bounds))

    async def top_content(
        self, *, limit: int = 10, since: datetime | None = None
    ) -> builtins.list[ContentLikes]:
        """Return the content items with the most active likes, most likes first.

        Args:
            limit: maximum number of items, 1 to 1,000.
            since: minimum time of the first like, inclusive.
        """
        limit = check_limit(limit, self.table)
        records = await self.fetch_records(TOP_CONTENT, self._optional_time(since, "since"), limit)
        return [ContentLikes(*record) for record in records]

    def _optional_time(self, value: datetime | None, field: str) -> datetime | None:
        return validate(OPTIONAL_UTC_DATETIME, value, field, self.table)

    def _key_params(self, key: LikeKey) -> tuple[Any, ...]:
        params = self.key.params(key)
        if params is None:
            raise invalid_field(self.table, "key", "must be a LikeKey of two ids")
        return params
