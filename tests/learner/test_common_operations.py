"""Lists, upserts and bulk operations keep the versions of learner states and preferences."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue, StaleVersion
from learner_app.learner.repositories import LearnerModelStateRepository, UserPreferencesRepository
from learner_app.learner.rows import (
    LearnerModelStateCreate,
    LearnerModelStateUpdate,
    UserPreferencesCreate,
    UserPreferencesUpdate,
)
from learner_app.listening.repositories import ListeningSessionRepository

states, preferences = LearnerModelStateRepository(), UserPreferencesRepository()
sessions = ListeningSessionRepository()
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
async def three_states(db: DatabaseEngine) -> None:
    """States of the sessions s1, s2 and s3, with 1, 2 and 3 data points."""
    for n in (1, 2, 3):
        await sessions.get_or_create(f"s{n}")
        await states.add(LearnerModelStateCreate(session_id=f"s{n}", data_points=n))


async def test_states_are_listed_by_key_or_least_recently_updated_first(three_states: None):
    await states.update("s1", LearnerModelStateUpdate(data_points=9))
    assert [row.session_id for row in await states.list()] == ["s1", "s2", "s3"]
    oldest = await states.list(order="least_recently_updated", limit=2)
    assert [row.session_id for row in oldest] == ["s2", "s3"]
    assert await states.exists(min_data_points=9)
    assert not await states.exists(min_data_points=10)


async def test_update_where_changes_last_updated_of_every_changed_state(three_states: None):
    before = await states.list()
    changes = LearnerModelStateUpdate(comprehension_level=1)
    assert await states.update_where(changes, min_data_points=2, batch=1) == 2
    after = await states.list()
    assert after[0] == before[0]
    for old, new in zip(before[1:], after[1:], strict=True):
        assert new.last_updated > old.last_updated
        with pytest.raises(StaleVersion):
            await states.update(old.session_id, changes, expect=old.last_updated)


async def test_update_where_of_a_time_in_the_future_still_advances(three_states: None):
    future = datetime.now(UTC) + timedelta(hours=1)
    await states.engine.execute("UPDATE learner_model_state SET last_updated = $1", future)
    assert await states.update_where(LearnerModelStateUpdate(data_points=0), all_rows=True) == 3
    assert {row.last_updated for row in await states.list()} == {future + MICROSECOND}


async def test_upsert_of_a_state_changes_last_updated(three_states: None):
    old = await states.get("s1")
    row, created = await states.upsert(LearnerModelStateCreate(session_id="s1", data_points=5))
    assert not created
    assert (row.data_points, row.comprehension_level) == (5, old.comprehension_level)
    assert row.last_updated > old.last_updated
    assert await states.delete("s1")
    again, created = await states.upsert(LearnerModelStateCreate(session_id="s1", data_points=6))
    assert created
    assert again.last_updated > row.last_updated


async def test_delete_where_deletes_matching_states(three_states: None):
    before = (await states.get("s3")).last_updated
    assert await states.delete_where(learned_until=before) == 2
    assert [row.session_id for row in await states.list()] == ["s3"]
    assert await sessions.count() == 3


async def test_update_where_counts_a_version_of_every_changed_row(db: DatabaseEngine):
    changes = UserPreferencesUpdate(auto_play=False)
    for name in ("u1", "u2"):
        await preferences.save(name, UserPreferencesUpdate(), session_id="s1")
    other = await preferences.save("u3", UserPreferencesUpdate())
    before = await preferences.get("u1")
    assert await preferences.update_where(changes, session_id="s1", batch=1) == 2
    rows = await preferences.list()
    assert [(row.version, row.auto_play) for row in rows] == [(2, False), (2, False), (1, True)]
    assert rows[0].last_updated > before.last_updated
    assert rows[2] == other
    with pytest.raises(StaleVersion):
        await preferences.save("u1", changes, expect=before.version)
    with pytest.raises(InvalidValue):
        await preferences.update_where(changes, all_rows=True, session_id="s1")


async def test_upsert_of_preferences_counts_versions_and_normalizes_the_id(db: DatabaseEngine):
    user = UUID("9f1c0e5a-7b3d-4c21-8e6f-ab0123456789")
    first = await preferences.upsert(UserPreferencesCreate(id=user, preferred_genres=["mystery"]))
    assert (first.created, first.row.version) == (True, 1)
    text = str(user).upper()
    second = await preferences.upsert(UserPreferencesCreate(id=text, auto_play=False))
    assert (second.created, second.row.version, second.row.id) == (False, 2, str(user))
    assert (second.row.preferred_genres, second.row.auto_play) == (["mystery"], False)
    assert second.row.last_updated > first.row.last_updated
    assert await preferences.count() == 1


async def test_concurrent_upserts_and_saves_are_all_counted(clone: DatabaseEngine):
    results = await asyncio.gather(
        *(
            preferences.upsert(UserPreferencesCreate(id="u1", playback_speed=1 + n / 10))
            for n in range(10)
        ),
        *(preferences.save("u1", UserPreferencesUpdate(auto_play=False)) for _ in range(10)),
    )
    assert sum(result.created for result in results[:10]) <= 1
    row = await preferences.get("u1")
    assert (row.version, row.auto_play) == (20, False)


async def test_delete_where_deletes_matching_preferences(db: DatabaseEngine):
    for name in ("s1", "s2", "u1"):
        await preferences.save(name, UserPreferencesUpdate())
    until = (await preferences.get("u1")).last_updated
    assert await preferences.delete_where(saved_until=until, batch=1) == 2
    assert [row.id for row in await preferences.list()] == ["u1"]
