"""The repository of the settings that learners chose."""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from typing import Any, Unpack
from uuid import UUID

from piccolo.columns import Column
from piccolo.querystring import QueryString
from pydantic import TypeAdapter

from learner_app.errors import StaleVersion
from learner_app.learner.owner_ids import OwnerKey, owner_id
from learner_app.learner.rows import (
    UserPreferences,
    UserPreferencesCreate,
    UserPreferencesFilters,
    UserPreferencesUpdate,
)
from learner_app.learner.tables import UserPreferencesTable
from learner_app.learner.timestamps import CLOCK_NOW, STORED_AT_ONCE, later
from learner_app.repository.base import DeletingRepository
from learner_app.repository.filters import Filters, at_least, before
from learner_app.repository.inputs import validate
from learner_app.repository.paging import DEFAULT_LIMIT, Page, Total
from learner_app.repository.queries import DEFAULT
from learner_app.repository.sql import Param, SqlNames, Statement, compile_query
from learner_app.repository.values import Key, NonNegativeInt

t = UserPreferencesTable
KEY = TypeAdapter(Key)
VERSION = TypeAdapter(NonNegativeInt)
FIRST_VERSION = 1

SAVED: dict[Column, QueryString] = {
    t.version: QueryString("{} + 1", t.version),
    t.last_updated: later(t.last_updated),
}
EXPECTED = Param("expected")
IS_EXPECTED = t.version == EXPECTED

SETTINGS = tuple(UserPreferencesUpdate.model_fields)
mine, moved = SqlNames(t, "mine"), SqlNames(t, "moved")
bare = mine.unqualified
CARRIED = [getattr(bare, name) for name in (*SETTINGS, "last_updated")]
MIGRATE = f"""
WITH moved AS (
    DELETE FROM {SqlNames(t)} WHERE {bare.id} = $1 RETURNING {bare.fields(UserPreferences)}
)
INSERT INTO {mine} ({bare.id}, {bare.session_id}, {bare.version}, {", ".join(CARRIED)})
SELECT $2::text, $3::text, {moved.version} + 1, {", ".join(f"moved.{name}" for name in CARRIED)}
FROM moved
ON CONFLICT ({bare.id}) DO UPDATE SET
    {bare.session_id} = EXCLUDED.{bare.session_id},
    {bare.version} = GREATEST({mine.version} + 1, EXCLUDED.{bare.version}),
    {", ".join(f"{name} = EXCLUDED.{name}" for name in CARRIED)}
WHERE EXCLUDED.{bare.last_updated} > {mine.last_updated}
RETURNING {mine.fields(UserPreferences)}
"""
"""Parameters: owner ids of the session and of the user, and the session.

Returns no row if the user's row stays as it is.
"""


class UserPreferencesRepository(
    DeletingRepository[UserPreferences, UUID | str, UserPreferencesCreate, UserPreferencesUpdate]
):
    """Settings, by the user's id once somebody is signed in, else by the listening session's id.

    A ``UUID`` and its text in any case are the same id. Every write adds 1 to ``version`` and moves
    ``last_updated``.
    """

    table = UserPreferencesTable
    row = UserPreferences
    filters = Filters(
        t,
        UserPreferencesFilters,
        {
            "saved_since": at_least(t.last_updated),
            "saved_until": before(t.last_updated),
        },
    )
    key_type = OwnerKey
    stored_as = STORED_AT_ONCE
    on_update = SAVED

    async def count(self, **filters: Unpack[UserPreferencesFilters]) -> int:
        """How many the filters let through."""
        return await self.count_rows(filters)

    async def page(
        self,
        *,
        limit: int = DEFAULT_LIMIT,
        after: str | None = None,
        total: Total | None = None,
        **filters: Unpack[UserPreferencesFilters],
    ) -> Page[UserPreferences]:
        """A page by id."""
        return await self.page_rows(filters, limit, after, total)

    def stream(
        self, **filters: Unpack[UserPreferencesFilters]
    ) -> AsyncGenerator[UserPreferences, None]:
        """All of them by id, in constant memory."""
        return self.stream_rows(filters)

    async def find_for_user(self, user_id: UUID | str) -> UserPreferences | None:
        """Return the preferences of a user, None if the user saved none."""
        return await self.find(user_id)

    async def find_for_session(self, session_id: str) -> UserPreferences | None:
        """Return the preferences saved in a listening session without being signed in.

        Never those of a user, even if they were saved in this session or migrated from it: after
        sign-out the session belongs to whoever uses the browser next. While somebody is signed in,
        call :meth:`find_for_user`.
        """
        return await self.find(session_id)

    async def get_or_default(self, key: UUID | str) -> UserPreferences:
        """Return the stored preferences of that id, or unsaved default ones."""
        return await self.find(key) or _unchosen(owner_id(key))

    async def save(
        self,
        key: UUID | str,
        changes: UserPreferencesUpdate,
        *,
        session_id: str | None = None,
        expect_version: int | None = None,
    ) -> UserPreferences:
        """Store the fields that were given; without any, it counts as a save all the same.

        A first save takes the rest from :meth:`get_or_default`, and has version 1. With
        ``expect_version=1`` it has version 2: 1 is what that shows while nothing is stored, and of
        two who saw it only one may succeed.

        Args:
            key: the user's id once signed in, else the session's.
            changes: the fields.
            session_id: the session they are made in; left out, the known one stays.
            expect_version: the version that the caller knows.

        Raises:
            StaleVersion: that is not the stored one. Nothing changed.
            InvalidValue: an id cannot be one.
        """
        given = self.changed_fields(changes)
        if session_id is not None:
            given["session_id"] = session_id
        new = UserPreferencesCreate.model_validate({"id": key, **given})
        names = [name for name in UserPreferencesCreate.model_fields if name in given]
        if expect_version is None:
            return self.require_row(await self._upsert(new, names, {"version": FIRST_VERSION}))
        version = validate(VERSION, expect_version, "expect_version", self.table)
        saved = await self._save_expected(new, names, version)
        if saved is None:
            raise self.error(StaleVersion, "another version is stored", "version")
        return saved

    async def update(self, key: UUID | str, changes: UserPreferencesUpdate) -> UserPreferences:
        """Change the fields that were given and no others; without any, the row is as it was.

        Raises:
            NotFound: there is no such row.
        """
        given = self.changed_fields(changes)
        if not given:
            return await self.get(key)
        return self.require_row(await self.update_row(key, given))

    async def migrate_to_user(self, session_id: str, user_id: UUID | str) -> UserPreferences | None:
        """Make a session's preferences those of the user who signed in in it.

        Those of the session are gone then. Where the user has some, the ones saved last win as a
        whole: the user's stay as they are, or take over the session's values, its id, and a version
        above both. When they were last saved stays, so that several sessions may be migrated in any
        order. Doing it again changes nothing.

        Returns:
            The user's preferences; None when there are none of either.

        Raises:
            InvalidValue: ``user_id`` cannot be an id.
        """
        user = validate(KEY, owner_id(user_id), "user_id", self.table)
        session = self.key.params(session_id)
        if session is None or session == (user,):
            return await self.find(user)
        return await self.fetch_row(MIGRATE, *session, user, str(session_id)) or await self.find(
            user
        )

    async def _save_expected(
        self, new: UserPreferencesCreate, names: Sequence[str], expected: int
    ) -> UserPreferences | None:
        if expected == FIRST_VERSION:
            values = {"version": FIRST_VERSION + 1, EXPECTED: FIRST_VERSION}
            return await self._upsert(new, names, values)
        given = {name: getattr(new, name) for name in names}
        return await self.update_row(new.id, given, IS_EXPECTED, **{EXPECTED: expected})

    async def _upsert(
        self, new: UserPreferencesCreate, names: Sequence[str], more: dict[str, Any]
    ) -> UserPreferences | None:
        is_expected = EXPECTED in more
        statement = self.statements.cached(
            ("save", tuple(names), is_expected), lambda: self._save(names, is_expected)
        )
        return await self.fetch_row(statement, *statement.args({**dict(new), **more}))

    def _save(self, names: Sequence[str], is_expected: bool) -> Statement:
        row: dict[str, Any] = {name: Param(name) for name in UserPreferencesCreate.model_fields}
        row |= {"version": Param("version"), "last_updated": CLOCK_NOW}
        query = t.insert(t(**row, created_at=DEFAULT, updated_at=DEFAULT)).on_conflict(
            target=t.id,
            action="DO UPDATE",
            values=[*(t._meta.get_column_by_name(name) for name in names), *SAVED.items()],
            where=IS_EXPECTED if is_expected else None,
        )
        return compile_query("user_preferences.save", query.returning(*self.mapper.columns))


def _unchosen(key: str) -> UserPreferences:
    now = datetime.now(UTC)
    blank = UserPreferencesCreate(id="nobody's")
    return UserPreferences(
        **{**dict(blank), "id": key},
        version=FIRST_VERSION,
        last_updated=now,
        created_at=now,
        updated_at=now,
    )
