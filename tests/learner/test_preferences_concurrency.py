"""Concurrent saves and migrations of preferences, inside and outside of transactions."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import (
    Conflict,
    SerializationFailure,
    StaleVersion,
)
from learner_app.learner.repositories import UserPreferencesRepository
from learner_app.learner.rows import (
    UserPreferencesCreate,
    UserPreferencesUpdate,
)
from tests.learner.elsewhere import elsewhere

preferences = UserPreferencesRepository()

Changes = UserPreferencesUpdate


async def kinds(calls: Sequence[Any]) -> Counter[str]:
    """Await concurrent calls and count the classes of their results and errors."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    return Counter(type(result).__name__ for result in results)


async def test_20_concurrent_first_saves_create_one_row(clone: DatabaseEngine):
    fields = [
        {"auto_play": False},
        {"playback_speed": 2},
        {"preferred_genres": ["mystery"]},
        {"difficulty_preference": "advanced"},
    ]
    saves = (preferences.save("s1", Changes(**fields[n % 4])) for n in range(20))
    rows = await asyncio.gather(*saves)
    assert sorted(row.version for row in rows) == list(range(1, 21))
    assert [row.version for row in sorted(rows, key=lambda row: row.last_updated)] == list(
        range(1, 21)
    )
    row = await preferences.get("s1")
    assert (row.difficulty_preference, row.preferred_genres) == ("advanced", ["mystery"])
    assert (row.playback_speed, row.auto_play) == (2, False)
    assert row.version == 20
    assert await preferences.count() == 1


@pytest.mark.parametrize("version", [0, 1, 2])
async def test_one_of_20_concurrent_saves_with_the_same_version_succeeds(
    clone: DatabaseEngine, version: int
):
    """Version 0 means that nothing is stored, so that the callers saw the default."""
    for _ in range(version):
        await preferences.save("s1", Changes())
    shown = (await preferences.get_or_default("s1")).version
    saves = [
        preferences.save("s1", Changes(preferred_genres=[str(n)]), expect=shown) for n in range(20)
    ]
    assert await kinds(saves) == {"UserPreferences": 1, "StaleVersion": 19}
    assert (await preferences.get("s1")).version == shown + 1


async def test_concurrent_updates_and_saves_are_all_stored(clone: DatabaseEngine):
    await preferences.save("s1", Changes())
    await asyncio.gather(
        *(preferences.update("s1", Changes(auto_play=False)) for _ in range(25)),
        *(preferences.save("s1", Changes(playback_speed=3)) for _ in range(25)),
    )
    row = await preferences.get("s1")
    assert (row.version, row.auto_play, row.playback_speed) == (51, False, 3)


@pytest.mark.parametrize("users_row", ["absent", "older", "newer"])
async def test_20_concurrent_migrations_end_in_one_row(clone: DatabaseEngine, users_row: str):
    if users_row == "older":
        await preferences.save("u1", Changes(preferred_genres=["older"]))
    await preferences.save("s1", Changes())
    await preferences.save("s1", Changes(preferred_genres=["of the session"]))
    if users_row == "newer":
        await preferences.save("u1", Changes(preferred_genres=["newer"]))
    rows = await asyncio.gather(*(preferences.migrate_to_user("s1", "u1") for _ in range(20)))
    (left,) = [row async for row in preferences.stream()]
    assert all(row == left for row in rows)
    expected = ("newer", None, 1) if users_row == "newer" else ("of the session", "s1", 3)
    assert (left.id, left.preferred_genres[0], left.session_id, left.version) == ("u1", *expected)


async def test_concurrent_migrations_of_many_sessions_keep_the_last_save(clone: DatabaseEngine):
    for n in range(20):
        await preferences.save(f"s{n:02}", Changes(preferred_genres=[str(n)]))
    await asyncio.gather(*(preferences.migrate_to_user(f"s{n:02}", "u1") for n in range(20)))
    (row,) = [row async for row in preferences.stream()]
    assert (row.id, row.session_id, row.preferred_genres) == ("u1", "s19", ["19"])


async def test_saves_during_a_migration_are_not_lost(clone: DatabaseEngine):
    await preferences.save("s1", Changes())
    await asyncio.gather(
        *(preferences.save("u1", Changes(preferred_genres=["u"])) for _ in range(20)),
        *(preferences.migrate_to_user("s1", "u1") for _ in range(20)),
    )
    (row,) = [row async for row in preferences.stream()]
    assert (row.id, row.preferred_genres) == ("u1", ["u"])
    assert row.version >= 20


async def test_a_caught_error_leaves_the_callers_transaction_usable(clone: DatabaseEngine):
    async with clone.transaction():
        await preferences.save("s1", Changes())
        with pytest.raises(StaleVersion):
            await preferences.save("s1", Changes(), expect=7)
        with pytest.raises(Conflict):
            async with clone.transaction():
                await preferences.save("s1", Changes())
                await preferences.add(UserPreferencesCreate(id="s1"))
        await preferences.migrate_to_user("s1", "u1")
        assert await elsewhere(lambda: preferences.find("u1")) is None
    assert (await preferences.get("u1")).version == 2


@pytest.mark.parametrize("exists", [True, False])
async def test_an_old_snapshot_cannot_lose_a_save(clone: DatabaseEngine, exists: bool):
    if exists:
        await preferences.save("s1", Changes())
    with pytest.raises(SerializationFailure):
        async with clone.transaction(isolation="repeatable read"):
            await preferences.find("s1")
            saved = await elsewhere(lambda: preferences.save("s1", Changes(auto_play=False)))
            await preferences.save("s1", Changes(auto_play=True))
    assert await preferences.get("s1") == saved


async def test_a_session_never_shows_a_user_while_people_sign_in_and_save(clone: DatabaseEngine):
    done = asyncio.Event()
    seen = []

    async def look() -> None:
        while not done.is_set():
            seen.append(await preferences.find_for_session("s1"))

    async def sign_in(user: str) -> None:
        for n in range(10):
            await preferences.save("s1", Changes(preferred_genres=[f"before {user} {n}"]))
            await preferences.migrate_to_user("s1", user)
            await preferences.save(user, Changes(preferred_genres=[user]), session_id="s1")

    looking = [asyncio.create_task(look()) for _ in range(3)]
    await asyncio.gather(*(sign_in(f"u{n}") for n in range(4)))
    done.set()
    await asyncio.gather(*looking)
    found = [row for row in seen if row is not None]
    assert found
    assert {row.id for row in found} == {"s1"}
    assert all(row.preferred_genres[0].startswith("before") for row in found)
    assert await preferences.find_for_session("s1") is None
    assert await preferences.count(session_id="s1") == 4


async def test_first_saves_under_all_forms_of_an_id_make_one_row(clone: DatabaseEngine):
    user = UUID("9f1c0e5a-7b3d-4c21-8e6f-ab0123456789")
    forms = [user, str(user), str(user).upper()]
    rows = await asyncio.gather(*(preferences.save(forms[n % 3], Changes()) for n in range(15)))
    assert sorted(row.version for row in rows) == list(range(1, 16))
    assert await preferences.count() == 1
