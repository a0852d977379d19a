"""The seed: complete, sensible, the same every time, and harmless to what is there."""

from collections import defaultdict
from datetime import timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from learner_app.accounts.repositories import AuthSessionRepository
from learner_app.accounts.tables import AccountTable, UserTable
from learner_app.content.tables import ContentDifficulty, ContentFormat, ContentTable
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import SettingsError
from learner_app.generation.tables import GenerationStatusTable, JobStatus
from learner_app.learner.tables import LearnerModelStateTable, UserPreferencesTable
from learner_app.listening.tables import (
    BehavioralEventTable,
    LikeEngagementTable,
    ListeningSessionTable,
)
from learner_app.operations.seed.people import SEED_USERS
from learner_app.operations.seed.plant import insert_seed, is_empty

TABLES = (
    ContentTable,
    ListeningSessionTable,
    BehavioralEventTable,
    LikeEngagementTable,
    LearnerModelStateTable,
    UserPreferencesTable,
    GenerationStatusTable,
    UserTable,
    AccountTable,
)


async def everything() -> dict:
    """All rows but what a salt or the clock makes different."""
    volatile = {"hashed_password"}
    rows = {}
    for table in TABLES:
        key = table._meta.primary_key
        columns = [c for c in table._meta.columns if c._meta.name not in volatile]
        found = await table.select(*columns).order_by(*getattr(key, "columns", [key]))
        if table in (UserTable, AccountTable):
            found = [
                {k: v for k, v in row.items() if k not in ("created_at", "updated_at")}
                for row in found
            ]
        rows[table._meta.tablename] = found
    return rows


@pytest.fixture
async def seeded(db: DatabaseEngine) -> DatabaseEngine:
    assert await is_empty()
    await insert_seed(db)
    return db


async def test_seed_twice_changes_nothing(seeded: DatabaseEngine):
    first = await everything()
    assert not await is_empty()
    again = (await insert_seed(seeded)).values()
    assert all(planted.created == 0 < planted.found for planted in again)
    assert await everything() == first


async def test_seed_is_the_same_everywhere(seeded: DatabaseEngine):
    first = await everything()
    await seeded.run_ddl("TRUNCATE users, content, sessions, user_preferences CASCADE")
    await insert_seed(seeded)
    assert await everything() == first


async def test_seed_repairs_and_never_resets(seeded: DatabaseEngine):
    await UserTable.update({UserTable.hashed_password: "mine"}).where(
        UserTable.email == "demo@example.com"
    )
    await AccountTable.delete(force=True)
    created = await insert_seed(seeded)
    assert created["accounts"] == (len(SEED_USERS), 0)
    user = await UserTable.select().where(UserTable.email == "demo@example.com").first()
    assert user["hashed_password"] == "mine"


PASSWORDS = {
    "test@example.com": "TestPassword123!",
    "admin@example.com": "AdminPassword123!",
    "demo@example.com": "DemoPassword123!",
    "unverified@example.com": "UnverifiedPassword123!",
}


async def test_the_example_users_have_the_agreed_passwords(seeded: DatabaseEngine, checkout: Path):
    sessions = AuthSessionRepository(seeded)
    page = (checkout / "docs/seed.md").read_text()
    for email, password in PASSWORDS.items():
        opened = await sessions.sign_in(email, password, timedelta(hours=1))
        assert opened is not None
        assert f"| `{email}` | `{password}` |" in page
    assert {user.email: user.password for user in SEED_USERS} == PASSWORDS


async def test_users_can_sign_in_as_documented(seeded: DatabaseEngine):
    users = {row["email"]: row for row in await UserTable.select()}
    assert len(users) == 4
    for user in SEED_USERS:
        row = users[user.email]
        assert row["hashed_password"].startswith("$argon2id$")
        assert PasswordHasher().verify(row["hashed_password"], user.password)
        assert row["email_verified"] is (user.email != "unverified@example.com")
        account = await AccountTable.select().where(AccountTable.user_id == row["id"]).first()
        assert (account["provider_id"], account["account_id"]) == ("credential", str(row["id"]))


async def test_content_is_varied(seeded: DatabaseEngine):
    rows = await ContentTable.select()
    assert len(rows) >= 24
    kinds = {(row["format"], row["difficulty"]) for row in rows}
    assert kinds == {(f.value, d.value) for f in ContentFormat for d in ContentDifficulty}
    assert all(150 <= row["word_count"] <= 300 for row in rows)
    series = defaultdict(list)
    for row in rows:
        if row["series_id"]:
            series[row["series_id"]].append(row["episode_number"])
    assert len(series) == 2
    for episodes in series.values():
        assert sorted(episodes) == list(range(1, len(episodes) + 1))
        assert len(episodes) >= 3


async def test_events_make_sense_as_listening(seeded: DatabaseEngine):
    durations = {row["id"]: row["duration"] for row in await ContentTable.select()}
    sessions = {row["id"]: row for row in await ListeningSessionTable.select()}
    assert len(sessions) == 40
    events = defaultdict(list)
    order = (BehavioralEventTable.timestamp, BehavioralEventTable.id)
    for row in await BehavioralEventTable.select().order_by(*order):
        events[row["session_id"]].append(row)
    assert {row["event_type"] for rows in events.values() for row in rows} == {
        "play",
        "pause",
        "skip",
        "replay",
        "complete",
        "abandon",
    }
    assert events.keys() == sessions.keys()
    for key, rows in events.items():
        check_session(sessions[key], rows, durations)


def check_session(session: dict, rows: list[dict], durations: dict[str, int]) -> None:
    before, piece = None, None
    for row in rows:
        position, length = row["playback_position"], durations[row["content_id"]]
        assert 0 <= position <= length
        if row["content_id"] != piece:
            assert before in (None, "complete", "abandon"), "one piece ends before another begins"
            assert (row["event_type"], position) == ("play", 0)
        if before == "pause":
            assert row["event_type"] == "play"
        if row["event_type"] == "complete":
            assert position == length
        if row["event_type"] == "abandon":
            assert position < length
        assert row["content_id"] in session["content_ids"]
        before, piece = row["event_type"], row["content_id"]
    assert before in ("complete", "abandon")
    assert session["last_activity_at"] >= rows[-1]["timestamp"] >= session["started_at"]
    listened = sum(row["duration"] for row in rows)
    assert abs(session["total_listening_time"] - listened) < 2


async def test_what_follows_is_there(seeded: DatabaseEngine):
    statuses = {row["status"] for row in await GenerationStatusTable.select()}
    assert statuses == {status.value for status in JobStatus}
    assert await LikeEngagementTable.count() > 20
    assert await LikeEngagementTable.count().where(LikeEngagementTable.liked.eq(False)) > 0
    assert await LearnerModelStateTable.count() > 20
    assert await UserPreferencesTable.count() > 20


async def test_seed_is_refused_in_production(db: DatabaseEngine):
    db.settings.app_env = "production"
    with pytest.raises(SettingsError, match="APP_ENV"):
        await insert_seed(db)
    assert await is_empty()
