"""Preferences: saves count versions, and signing in migrates them to the user."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from learner_app.accounts.repositories import AuthSessionRepository, UserRepository
from learner_app.accounts.rows import UserCreate
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import (
    Conflict,
    InvalidValue,
    NotFound,
    StaleVersion,
)
from learner_app.learner.repositories import UserPreferencesRepository
from learner_app.learner.rows import (
    UserPreferences,
    UserPreferencesCreate,
    UserPreferencesUpdate,
)

preferences = UserPreferencesRepository()

Changes = UserPreferencesUpdate
FORMATS = ["narrative", "podcast", "educational"]
DEFAULTS = ("intermediate", FORMATS, [], Decimal("1.00"), True)
MALFORMED = ["", "s\0", "s" * 256, "\ud800"]


def chosen(row: UserPreferences) -> tuple[object, ...]:
    """Return the settings, without keys, version and times."""
    return tuple(getattr(row, name) for name in Changes.model_fields)


async def test_the_default_is_not_stored(db: DatabaseEngine):
    before = datetime.now(UTC)
    row = await preferences.get_or_default("s1")
    assert (row.id, row.session_id, row.version) == ("s1", None, 1)
    assert chosen(row) == DEFAULTS
    assert before <= row.created_at == row.updated_at == row.last_updated
    row.preferred_genres.append("mystery")
    row.preferred_formats.clear()
    assert chosen(await preferences.get_or_default("s1")) == DEFAULTS
    assert not await preferences.exists("s1")


@pytest.mark.parametrize("wrong", MALFORMED)
async def test_malformed_ids_are_not_found_and_not_stored(db: DatabaseEngine, wrong: str):
    assert await preferences.find(wrong) is None
    assert await preferences.find(wrong) is None
    assert await preferences.find_for_session(wrong) is None
    assert chosen(await preferences.get_or_default(wrong)) == DEFAULTS
    with pytest.raises(NotFound):
        await preferences.update(wrong, Changes(auto_play=False))
    assert await preferences.migrate_to_user(wrong, "u1") is None
    for call, field in (
        (preferences.save(wrong, Changes(auto_play=False)), "id"),
        (preferences.save(wrong, Changes(), expect=3), "id"),
        (preferences.save("s1", Changes(), session_id=wrong), "session_id"),
        (preferences.migrate_to_user("s1", wrong), "user_id"),
    ):
        with pytest.raises(InvalidValue) as caught:
            await call
        assert caught.value.fields == (field,)
    assert await preferences.count() == 0


async def test_a_first_save_stores_defaults_for_omitted_fields(db: DatabaseEngine):
    row = await preferences.save("s1", Changes(playback_speed=1.255), session_id="s1")
    assert chosen(row) == (*DEFAULTS[:3], Decimal("1.26"), True)
    assert (row.id, row.session_id, row.version) == ("s1", "s1", 1)
    assert await preferences.get("s1") == row


async def test_a_save_changes_the_given_fields_only(db: DatabaseEngine):
    first = await preferences.save(
        "s1", Changes(preferred_genres=["mystery"], auto_play=False), session_id="s1"
    )
    second = await preferences.save("s1", Changes(preferred_formats=["podcast"]))
    assert chosen(second) == ("intermediate", ["podcast"], ["mystery"], Decimal(1), False)
    assert (second.session_id, second.version) == ("s1", 2)
    assert second.last_updated > first.last_updated
    assert second.created_at == first.created_at
    third = await preferences.save("s1", Changes(), session_id="s2")
    assert chosen(third) == chosen(second)
    assert (third.session_id, third.version) == ("s2", 3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("difficulty_preference", "expert"),
        ("difficulty_preference", None),
        ("preferred_formats", ["opera"]),
        ("preferred_formats", ["podcast", "podcast"]),
        ("preferred_formats", None),
        ("preferred_genres", ["x" * 101]),
        ("preferred_genres", ["a\0"]),
        ("preferred_genres", ["a"] * 101),
        ("playback_speed", 0.244),
        ("playback_speed", 4.005),
        ("playback_speed", float("nan")),
        ("auto_play", None),
        ("version", 3),
        ("last_updated", datetime(2026, 1, 1, tzinfo=UTC)),
        ("session_id", "s1"),
    ],
)
async def test_invalid_settings_and_read_only_fields_are_rejected(field: str, value: object):
    with pytest.raises(InvalidValue) as caught:
        Changes(**{field: value})
    assert caught.value.fields == (field,)


async def test_the_bounds_of_the_speed_are_valid(db: DatabaseEngine):
    for speed in (0.25, 4):
        assert (await preferences.save("s1", Changes(playback_speed=speed))).playback_speed == speed
    empty = Changes(preferred_formats=[], preferred_genres=[])
    assert chosen(await preferences.save("s1", empty))[1:3] == ([], [])


async def test_a_save_that_expects_another_version_is_stale(db: DatabaseEngine):
    first = await preferences.save("s1", Changes(auto_play=False))
    row = await preferences.save("s1", Changes(auto_play=True), expect=1)
    assert row.version == 2
    for wrong in (1, 3, 0, 2**31 - 1):
        for changes in (Changes(auto_play=False), Changes()):
            with pytest.raises(StaleVersion) as caught:
                await preferences.save("s1", changes, expect=wrong)
            assert caught.value.fields == ("version",)
    assert await preferences.get("s1") == row != first
    assert (await preferences.save("s1", Changes(), session_id="s1", expect=2)).version == 3
    for invalid in (-1, 2**31, "one"):
        with pytest.raises(InvalidValue) as rejected:
            await preferences.save("s1", Changes(), expect=invalid)  # type: ignore[arg-type]
        assert rejected.value.fields == ("expect",)


async def test_the_default_counts_as_version_1(db: DatabaseEngine):
    with pytest.raises(StaleVersion):
        await preferences.save("s1", Changes(auto_play=False), expect=2)
    assert not await preferences.exists("s1")
    shown = await preferences.get_or_default("s1")
    row = await preferences.save("s1", Changes(auto_play=False), expect=shown.version)
    assert row.version == shown.version + 1
    assert chosen(row) == (*DEFAULTS[:4], False)
    with pytest.raises(StaleVersion):
        await preferences.save("s1", Changes(auto_play=True), expect=shown.version)


async def test_update_increments_the_version(db: DatabaseEngine):
    first = await preferences.add(UserPreferencesCreate(id="s1"))
    assert (first.version, chosen(first)) == (1, DEFAULTS)
    assert await preferences.update("s1", Changes()) == first, "the row was written"
    row = await preferences.update("s1", Changes(difficulty_preference="advanced"))
    assert chosen(row) == ("advanced", *DEFAULTS[1:])
    assert row.version == 2
    assert row.last_updated > first.last_updated
    with pytest.raises(NotFound):
        await preferences.update("s2", Changes(auto_play=True))
    with pytest.raises(NotFound):
        await preferences.update("s2", Changes())
    with pytest.raises(Conflict):
        async with db.transaction():
            await preferences.add(UserPreferencesCreate(id="s1"))
    assert await preferences.delete("s1")
    assert not await preferences.delete("s1")


async def test_no_two_saves_have_the_same_last_updated(db: DatabaseEngine):
    await preferences.save("s1", Changes())
    # as written with a clock that was ahead
    await db.execute("UPDATE user_preferences SET last_updated = now() + interval '1 hour'")
    before = await preferences.get("s1")
    saved = await preferences.save("s1", Changes())
    updated = await preferences.update("s1", Changes(auto_play=True))
    step = timedelta(microseconds=1)
    assert (saved.last_updated, updated.last_updated) == (
        before.last_updated + step,
        before.last_updated + 2 * step,
    )


async def test_a_session_finds_its_own_preferences_and_never_those_of_a_user(db: DatabaseEngine):
    assert await preferences.find_for_session("s1") is None
    users = await preferences.save("u1", Changes(auto_play=False), session_id="s1")
    assert await preferences.find_for_session("s1") is None
    own = await preferences.save("s1", Changes())
    assert await preferences.find_for_session("s1") == own
    newer = await preferences.save("u1", Changes(), session_id="s1")
    assert await preferences.find_for_session("s1") == own
    assert await preferences.find("u1") == newer != users
    assert await preferences.find("s2") is None


async def test_after_sign_out_the_browser_does_not_find_the_preferences_of_the_user(
    db: DatabaseEngine,
):
    user = await UserRepository().register(
        UserCreate(email="anna@example.com", password="correct-horse-7")
    )
    await preferences.save("s1", Changes(preferred_genres=["mystery"]))
    opened = await AuthSessionRepository().open(user.id, timedelta(days=1))
    moved = await preferences.migrate_to_user("s1", user.id)
    saved = await preferences.save(user.id, Changes(auto_play=False), session_id="s1")
    assert (moved.id, saved.preferred_genres) == (str(user.id), ["mystery"])
    await AuthSessionRepository().close(opened.token)

    assert await preferences.find_for_session("s1") is None
    assert chosen(await preferences.get_or_default("s1")) == DEFAULTS
    next_visitor = await preferences.save("s1", Changes(preferred_genres=["science"]))
    assert chosen(next_visitor)[2] == ["science"]
    assert await preferences.find_for_session("s1") == next_visitor
    assert await preferences.find(user.id) == saved


USER = UUID("9f1C0e5a-7b3d-4c21-8e6f-aB0123456789")
FORMS: list[UUID | str] = [USER, str(USER), str(USER).upper(), str(USER).title()]


@pytest.mark.parametrize("stored_as", FORMS, ids=["UUID", "lower", "upper", "mixed"])
async def test_preferences_are_found_by_a_uuid_and_its_text_in_any_case(
    db: DatabaseEngine, stored_as: UUID | str
):
    saved = await preferences.save(stored_as, Changes(auto_play=False))
    assert saved.id == str(USER)
    for form in FORMS:
        assert await preferences.find(form) == await preferences.get(form) == saved
        assert await preferences.find(form) == saved
        assert await preferences.get_or_default(form) == saved
        assert await preferences.get_many([form, "s1"]) == [saved]
        assert await preferences.exists(form)
        assert await preferences.update(form, Changes()) == saved
        assert await preferences.migrate_to_user(str(form), form) == saved
    for form in FORMS:
        assert (await preferences.save(form, Changes())).id == saved.id
        with pytest.raises(Conflict):
            async with db.transaction():
                await preferences.add(UserPreferencesCreate(id=form))
    assert (await preferences.get(USER)).version == 1 + len(FORMS)
    assert await preferences.count() == 1
    await preferences.save("s1", Changes(preferred_genres=["mystery"]))
    moved = await preferences.migrate_to_user("s1", FORMS[2])
    assert (moved.id, moved.preferred_genres, moved.session_id) == (str(USER), ["mystery"], "s1")
    assert await preferences.delete(FORMS[3])
    assert (await preferences.get_or_default(USER)).id == str(USER)


async def test_other_texts_are_different_ids(db: DatabaseEngine):
    texts = ["s1", "S1", USER.hex, USER.hex.upper(), f"{{{USER}}}", USER.urn, f"{USER}\n"]
    for text in texts:
        assert (await preferences.save(text, Changes())).id == text
    assert await preferences.count() == len(texts)
    session = str(USER).upper()
    await preferences.save("u1", Changes(), session_id=session)
    assert await preferences.count(session_id=session) == 1, "session ids are case-sensitive"


async def test_filters_apply_to_pages_counts_and_streams(db: DatabaseEngine):
    for n in range(5):
        level = ("beginner", "advanced")[n % 2]
        await preferences.save(f"u{n}", Changes(difficulty_preference=level), session_id=f"s{n}")
    assert await preferences.count() == 5
    assert await preferences.count(session_id="s3") == 1
    assert await preferences.count(session_id="s3\0") == 0
    page = await preferences.page(limit=2, total="exact", difficulty_preference="beginner")
    assert ([row.id for row in page.rows], page.total) == (["u0", "u2"], 3)
    page = await preferences.page(limit=2, after=page.next, difficulty_preference="beginner")
    assert ([row.id for row in page.rows], page.next) == (["u4"], None)
    time = (await preferences.get("u3")).last_updated
    assert [row.id async for row in preferences.stream(saved_since=time)] == ["u3", "u4"]
    assert await preferences.count(saved_until=time) == 3
    with pytest.raises(InvalidValue):
        await preferences.count(difficulty_preference="expert")  # type: ignore[arg-type]


async def test_migration_moves_the_preferences_to_the_user(db: DatabaseEngine):
    assert await preferences.migrate_to_user("s1", "u1") is None
    own = await preferences.save("s1", Changes(preferred_genres=["mystery"], auto_play=False))
    moved = await preferences.migrate_to_user("s1", "u1")
    assert (moved.id, moved.session_id, moved.version) == ("u1", "s1", own.version + 1)
    assert chosen(moved) == chosen(own)
    assert moved.last_updated == own.last_updated
    assert not await preferences.exists("s1")
    assert await preferences.find_for_session("s1") is None
    assert await preferences.migrate_to_user("s1", "u1") == moved, "the row was written"
    with pytest.raises(
        StaleVersion
    ):  # a caller that saw the default does not know the migrated ones
        await preferences.save("u1", Changes(), expect=1)


async def test_migration_keeps_the_preferences_saved_last(db: DatabaseEngine):
    for _ in range(4):
        await preferences.save("u1", Changes(auto_play=False), session_id="s9")
    newer = await preferences.save("s1", Changes(preferred_genres=["newer"]))
    won = await preferences.migrate_to_user("s1", "u1")
    assert chosen(won) == chosen(newer)
    assert (won.session_id, won.version, won.last_updated) == ("s1", 5, newer.last_updated)

    await preferences.save("s2", Changes(preferred_genres=["older"]))
    newest = await preferences.save("u1", Changes(preferred_genres=["newest"]))
    assert await preferences.migrate_to_user("s2", "u1") == newest, "the row was written"
    assert [row.id async for row in preferences.stream()] == ["u1"]


async def test_sessions_may_be_migrated_in_any_order(db: DatabaseEngine):
    await preferences.save("s1", Changes(preferred_genres=["first"]))
    for _ in range(3):
        await preferences.save("s2", Changes(preferred_genres=["last"]))
    await preferences.migrate_to_user("s2", "u1")
    row = await preferences.migrate_to_user("s1", "u1")
    assert (row.preferred_genres, row.session_id, row.version) == (["last"], "s2", 4)
    assert await preferences.count() == 1


async def test_migrating_to_itself_changes_nothing(db: DatabaseEngine):
    assert await preferences.migrate_to_user("s1", "s1") is None
    row = await preferences.save("s1", Changes(auto_play=False))
    assert await preferences.migrate_to_user("s1", "s1") == row
    assert await preferences.migrate_to_user("s\0", "s1") == row
