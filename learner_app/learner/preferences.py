"""Repository of the settings chosen by learners."""

import builtins
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Unpack, overload
from uuid import UUID

from piccolo.columns import Column
from piccolo.querystring import QueryString
from pydantic import TypeAdapter

from learner_app.errors import StaleVersion
from learner_app.learner.owner_ids import owner_id
from learner_app.learner.rows import (
    UserPreferences,
    UserPreferencesCreate,
    UserPreferencesFilters,
    UserPreferencesUpdate,
)
from learner_app.learner.tables import UserPreferencesTable
from learner_app.learner.timestamps import CLOCK_NOW, INSERT_EXPRESSIONS, strictly_after
from learner_app.repository.base import DeletingRepository
from learner_app.repository.filters import Filters, at_least, before
from learner_app.repository.inputs import validate
from learner_app.repository.keys import TableKey
from learner_app.repository.paging import Page, Total
from learner_app.repository.queries import DEFAULT
from learner_app.repository.sql import Param, SqlNames, Statement
from learner_app.repository.values import DEFERRED, Key, NonNegativeInt

t = UserPreferencesTable
KEY = TypeAdapter(Key, config=DEFERRED)
VERSION = TypeAdapter(NonNegativeInt, config=DEFERRED)

FIRST_VERSION = 1
"""Version of the first save, and of the default preferences while nothing is stored."""

EXPECTED = Param("expected")
IS_EXPECTED = t.version == EXPECTED

target, moved = SqlNames(t, "target"), SqlNames(t, "moved")
unqualified = target.unqualified
MIGRATED_FIELDS = (*UserPreferencesUpdate.model_fields, "last_updated")
MIGRATED_COLUMNS = [getattr(unqualified, name) for name in MIGRATED_FIELDS]
MIGRATE = Statement(
    "user_preferences.migrate_to_user",
    f"""
    WITH moved AS (
        DELETE FROM {SqlNames(t)} WHERE {unqualified.id} = $1
        RETURNING {unqualified.fields(UserPreferences)}
    )
    INSERT INTO {target}
        ({unqualified.id}, {unqualified.session_id}, {unqualified.version},
         {", ".join(MIGRATED_COLUMNS)})
    SELECT $2::text, $3::text, {moved.version} + 1,
           {", ".join(f"moved.{column}" for column in MIGRATED_COLUMNS)}
    FROM moved
    ON CONFLICT ({unqualified.id}) DO UPDATE SET
        {unqualified.session_id} = EXCLUDED.{unqualified.session_id},
        {unqualified.version} = GREATEST({target.version} + 1, EXCLUDED.{unqualified.version}),
        {", ".join(f"{column} = EXCLUDED.{column}" for column in MIGRATED_COLUMNS)}
    WHERE EXCLUDED.{unqualified.last_updated} > {target.last_updated}
    RETURNING {target.fields(UserPreferences)}
    """,
)
"""Parameters: owner ids of the session and of the user, and the session id.

It returns no row if the session has no preferences, or if those of the user were saved later.
"""


class UserPreferencesRepository(
    DeletingRepository[UserPreferences, UUID | str, UserPreferencesCreate, UserPreferencesUpdate]
):
    """Repository of preferences, whose key is the id of a user or of a session without a user.

    A ``UUID`` and its text in upper or lower case are the same id. Every write increases
    ``version``. Every save also changes ``last_updated``.
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
    key = TableKey(t, owner_id)
    stored_as = INSERT_EXPRESSIONS
    on_update: ClassVar[Mapping[Column, QueryString]] = {
        t.version: QueryString("{} + 1", t.version),
        t.last_updated: strictly_after(t.last_updated),
    }

    # typed methods: written by `python -m learner_app.repository.typed_methods`
    if TYPE_CHECKING:

        async def list(
            self,
            *,
            limit: int = 100,
            **filters: Unpack[UserPreferencesFilters],
        ) -> builtins.list[UserPreferences]: ...

        async def page(
            self,
            *,
            limit: int = 100,
            after: str | None = None,
            total: Total | None = None,
            **filters: Unpack[UserPreferencesFilters],
        ) -> Page[UserPreferences]: ...

        def stream(
            self,
            **filters: Unpack[UserPreferencesFilters],
        ) -> AsyncGenerator[UserPreferences, None]: ...

        async def count(self, **filters: Unpack[UserPreferencesFilters]) -> int: ...

        @overload
        async def exists(self, key: UUID | str) -> bool: ...

        @overload
        async def exists(self, **filters: Unpack[UserPreferencesFilters]) -> bool: ...

        async def exists(self, *args: Any, **kwargs: Any) -> bool: ...

        async def update_where(
            self,
            changes: UserPreferencesUpdate,
            *,
            all_rows: bool = False,
            batch: int = 1000,
            **filters: Unpack[UserPreferencesFilters],
        ) -> int: ...

        async def delete_where(
            self,
            *,
            all_rows: bool = False,
            batch: int = 1000,
            **filters: Unpack[UserPreferencesFilters],
        ) -> int: ...
    # end of typed methods

    async def find_for_session(self, session_id: str) -> UserPreferences | None:
        """Return the preferences saved in a listening session without a signed-in user.

        The preferences of a user are never returned, even if they were saved in this session or
        migrated from it: after sign-out, somebody else may use the same browser. While a user is
        signed in, call :meth:`find` with the user's id.
        """
        return await self.find(session_id)

    async def get_or_default(self, key: UUID | str) -> UserPreferences:
        """Return the stored preferences, or the default ones, which are not stored."""
        return await self.find(key) or _default_preferences(owner_id(key))

    async def save(
        self,
        key: UUID | str,
        changes: UserPreferencesUpdate,
        *,
        session_id: str | None = None,
        expect: int | None = None,
    ) -> UserPreferences:
        """Insert preferences, or change the passed fields of the stored ones.

        A call without fields also counts as a save. The first save stores default settings for
        omitted fields, and version 1, or version 2 with ``expect=1``: :meth:`get_or_default`
        returns version 1 while nothing is stored, and exactly one of several concurrent callers
        that expect this version succeeds.

        Args:
            key: id of the user, or of the session without a signed-in user.
            changes: the fields to change.
            session_id: the session in which they are saved, the stored one if omitted.
            expect: the version that the caller has read.

        Raises:
            StaleVersion: another version is stored. Nothing is changed.
            InvalidValue: ``key`` or ``session_id`` is malformed.
        """
        fields = self.changed_fields(changes)
        if session_id is not None:
            fields["session_id"] = session_id
        new = UserPreferencesCreate.model_validate({"id": key, **fields})
        names = [name for name in UserPreferencesCreate.model_fields if name in fields]
        if expect is None:
            return self.require_row(
                await self._insert_or_update(new, names, {"version": FIRST_VERSION})
            )
        version = validate(VERSION, expect, "expect", self.table)
        saved = await self._save_expected(new, names, version)
        if saved is None:
            raise self.error(
                StaleVersion, "another version is stored: read the row again", "version"
            )
        return saved

    async def migrate_to_user(self, session_id: str, user_id: UUID | str) -> UserPreferences | None:
        """Move the preferences of a session to the user who signed in.

        If both have preferences, all settings of the row that was saved last are kept. Either the
        user's row stays unchanged, or it gets the settings and the id of the session, and a version
        above both. ``last_updated`` remains the time of that save, so that several sessions may be
        migrated in any order. The session's row is deleted. A repeated call changes nothing.

        Returns:
            The preferences of the user, None if neither the session nor the user has any.

        Raises:
            InvalidValue: ``user_id`` is malformed.
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
        if expected == FIRST_VERSION:  # the stored version, or that of the default preferences
            values = {"version": FIRST_VERSION + 1, EXPECTED: FIRST_VERSION}
            return await self._insert_or_update(new, names, values)
        fields = {name: getattr(new, name) for name in names}
        return await self.update_row(new.id, fields, IS_EXPECTED, **{EXPECTED: expected})

    async def _insert_or_update(
        self, new: UserPreferencesCreate, names: Sequence[str], values: dict[str, Any]
    ) -> UserPreferences | None:
        is_expected = EXPECTED in values
        statement = self.statements.cached(
            ("save", tuple(names), is_expected), lambda: self._save_statement(names, is_expected)
        )
        return await self.fetch_row(statement, *statement.args({**dict(new), **values}))

    def _save_statement(self, names: Sequence[str], is_expected: bool) -> Statement:
        row: dict[str, Any] = {name: Param(name) for name in UserPreferencesCreate.model_fields}
        row |= {"version": Param("version"), "last_updated": CLOCK_NOW}
        query = t.insert(t(**row, created_at=DEFAULT, updated_at=DEFAULT)).on_conflict(
            target=t.id,
            action="DO UPDATE",
            values=[*(t._meta.get_column_by_name(name) for name in names), *self.on_update.items()],
            where=IS_EXPECTED if is_expected else None,
        )
        return self.statements.compile("save", query.returning(*self.mapper.columns))


def _default_preferences(key: str) -> UserPreferences:
    now = datetime.now(UTC)
    fields = UserPreferencesCreate.model_fields
    defaults = {
        name: field.get_default(call_default_factory=True)
        for name, field in fields.items()
        if not field.is_required()
    }
    return UserPreferences(
        id=key,
        **defaults,
        version=FIRST_VERSION,
        last_updated=now,
        created_at=now,
        updated_at=now,
    )
