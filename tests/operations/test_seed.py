"""The seed: complete, sensible, the same every time, and harmless to what is there."""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from learner_app.accounts.repositories import AuthSessionRepository
from learner_app.accounts.tables import AccountTable, UserTable
from learner_app.content.tables import ContentDifficulty, ContentFormat, ContentTable
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import SettingsError
from learner_app.generation.repositories import GenerationRepository
from learner_app.generation.rows import GenerationCreate
from learner_app.generation.tables import GenerationStatusTable, JobStatus
from learner_app.learner.tables import LearnerModelStateTable, UserPreferencesTable
from learner_app.listening.repositories import ListeningSessionRepository
from learner_app.listening.tables import (
    BehavioralEventTable,
    LikeEngagementTable,
    ListeningSessionTable,
)
from learner_app.operations.seed.bulk import insert_bulk_events
from learner_app.operations.seed.data import CONSTANTS, load_contents, simulate_sessions
from learner_app.operations.seed.insert import insert_seed
from learner_app.operations.seed.state import is_empty
from learner_app.testing.servers import TestServer

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


VOLATILE = {
    "hashed_password",
    "created_at",
    "updated_at",
    "last_updated",  # of learner states and preferences: when they were written
    "completed_at",
}


async def everything() -> dict:
    """Return all rows.

    Values that depend on a salt, a random key or the clock are replaced by whether they are NULL.
    """
    users = {str(row["id"]): row["email"] for row in await UserTable.select()}
    rows = {}
    for table in TABLES:
        volatile = VOLATILE | ({"started_at"} if table is GenerationStatusTable else set())
        rows[table._meta.tablename] = sorted(
            str(
                [
                    row[name] is None if name in volatile else users.get(str(row[name]), row[name])
                    for name in row
                ]
            )
            for row in await table.select()
            if table is not AccountTable or row.pop("id")
        )
    return rows


@pytest.fixture
async def seeded(db: DatabaseEngine) -> DatabaseEngine:
    assert await is_empty(db)
    await insert_seed(db)
    return db


async def test_seed_twice_changes_nothing(seeded: DatabaseEngine):
    first = await everything()
    assert not await is_empty(seeded)
    again = (await insert_seed(seeded)).values()
    assert all(counts.created == 0 < counts.found for counts in again)
    assert await everything() == first


async def test_seed_is_the_same_everywhere(seeded: DatabaseEngine):
    first = await everything()
    await seeded.run_ddl("TRUNCATE users, content, sessions, user_preferences CASCADE")
    await insert_seed(seeded)
    assert await everything() == first


def test_the_simulation_is_the_same_as_in_earlier_versions():
    """Other events would have the same keys, and be mixed with those of seeded databases."""
    sessions = simulate_sessions(load_contents())
    facts = [(session.new.model_dump_json(), session.events) for session in sessions]
    assert hashlib.sha256(str(facts).encode()).hexdigest().startswith("ca32f104298262ef")


async def test_seed_restores_deleted_rows(seeded: DatabaseEngine):
    first = await everything()
    sessions = ListeningSessionRepository(seeded)
    for key in ("session-01", "session-25", "session-40"):
        await sessions.delete(key)  # also events, likes, learner state and jobs
    await UserPreferencesTable.delete(force=True)
    await BehavioralEventTable.delete().where(BehavioralEventTable.event_type == "pause")
    created = await insert_seed(seeded)
    assert created["sessions"] == (3, 37)
    assert created["content"].created == created["users"].created == 0
    assert await everything() == first


async def test_seed_repairs_and_never_resets(seeded: DatabaseEngine):
    await UserTable.update({UserTable.hashed_password: "mine"}).where(
        UserTable.email == "demo@example.com"
    )
    await AccountTable.delete(force=True)
    created = await insert_seed(seeded)
    assert created["accounts"] == (len(PASSWORDS), 0)
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
    assert len(CONSTANTS["users"]) == len(PASSWORDS)


async def test_users_can_sign_in_as_documented(seeded: DatabaseEngine):
    users = {row["email"]: row for row in await UserTable.select()}
    assert len(users) == 4
    for email, password in PASSWORDS.items():
        row = users[email]
        assert row["hashed_password"].startswith("$argon2id$")
        assert PasswordHasher().verify(row["hashed_password"], password)
        assert row["email_verified"] is (email != "unverified@example.com")
        assert row["is_admin"] is (email == "admin@example.com")
        account = await AccountTable.select().where(AccountTable.user_id == row["id"]).first()
        assert (account["provider_id"], account["account_id"]) == ("credential", str(row["id"]))


SPOKEN_WORDS_PER_MINUTE = {"A2": 95, "B1": 110, "B2": 125, "C1": 140}


async def test_content_is_varied(seeded: DatabaseEngine):
    rows = await ContentTable.select()
    assert len(rows) >= 24
    kinds = {(row["format"], row["difficulty"]) for row in rows}
    assert kinds == {(f.value, d.value) for f in ContentFormat for d in ContentDifficulty}
    starts = {row["id"]: row["started_at"] for row in await ListeningSessionTable.select()}
    for row in rows:
        assert 150 <= row["word_count"] == len(row["text_content"].split()) <= 300
        speed = SPOKEN_WORDS_PER_MINUTE[row["estimated_comprehension_level"]]
        assert row["duration"] == round(row["word_count"] * 60 / speed)
        assert row["audio_size"] == row["duration"] * row["audio_bitrate"] * 1000 // 8
        waited = row["generated_at"] - starts[row["session_id"]]
        assert timedelta() < waited <= timedelta(minutes=1), "before the session plays it"
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
    before, piece, reached, time = None, None, 0, session["started_at"]
    for row in rows:
        position, length = row["playback_position"], durations[row["content_id"]]
        assert 0 <= position <= length
        assert abs(row["playback_position_percent"] - 100 * position / length) < Decimal("0.02")
        if row["content_id"] == piece:
            reached += row["duration"] + {"skip": 15, "replay": -10}.get(row["event_type"], 0)
            assert abs(position - reached) <= Decimal("0.03")
        assert row["timestamp"] - time >= timedelta(seconds=float(row["duration"]) - 0.01)
        reached, time = position, row["timestamp"]
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
    jobs = await GenerationStatusTable.select()
    assert all(job["webhook_sent"] is (job["status"] in ("completed", "failed")) for job in jobs)
    assert all((job["content_id"] is None) is (job["status"] != "completed") for job in jobs)
    assert await LikeEngagementTable.count() > 20
    assert await LikeEngagementTable.count().where(LikeEngagementTable.liked.eq(False)) > 0
    assert await LearnerModelStateTable.count() > 20
    assert await UserPreferencesTable.count() > 20


async def test_seed_is_refused_in_production(db: DatabaseEngine):
    db.settings.app_env = "production"
    with pytest.raises(SettingsError, match="APP_ENV"):
        await insert_seed(db)
    assert await is_empty(db)


@pytest.fixture
async def other_database(
    learner_server: TestServer, learner_template: str
) -> AsyncIterator[DatabaseEngine]:
    """Engine with its pool on a second migrated database."""
    name = await learner_server.create(learner_template)
    engine = DatabaseEngine(learner_server.url(name))
    async with engine.running():
        yield engine
    await learner_server.drop(name)


async def numbers_of_rows(engine: DatabaseEngine) -> dict[str, int]:
    names = [table._meta.tablename for table in TABLES]
    return {name: await engine.fetchval(f"SELECT count(*) FROM {name}") for name in names}


async def test_seed_is_inserted_into_the_engine_passed(
    clone: DatabaseEngine, other_database: DatabaseEngine
):
    created = await insert_seed(other_database)
    expected = {table: counts.created for table, counts in created.items()}
    assert await numbers_of_rows(other_database) == expected
    assert set(expected.values()).isdisjoint({0})
    assert await insert_bulk_events(other_database, 100, lambda _: None) == 100
    assert set((await numbers_of_rows(clone)).values()) == {0}
    assert await is_empty(clone)
    assert not await is_empty(other_database)


async def test_production_is_read_from_the_engine_passed(
    clone: DatabaseEngine, other_database: DatabaseEngine
):
    other_database.settings.app_env = "production"
    with pytest.raises(SettingsError, match="APP_ENV"):
        await insert_seed(other_database)
    await insert_seed(clone)
    assert await is_empty(other_database)
    assert not await is_empty(clone)


async def test_concurrent_seeds_create_each_row_once(clone: DatabaseEngine):
    runs = await asyncio.gather(*(insert_seed(clone) for _ in range(3)))
    created = [sum(counts.created for counts in run.values()) for run in runs]
    assert sorted(created)[:2] == [0, 0]
    assert sum((await numbers_of_rows(clone)).values()) == max(created)


async def test_seed_claims_no_job_of_others(db: DatabaseEngine):
    await ListeningSessionRepository(db).get_or_create("mine")
    await GenerationRepository(db).add(GenerationCreate(generation_id="mine", session_id="mine"))
    await insert_seed(db)
    assert (await GenerationRepository(db).get("mine")).status == "generating"
    assert await GenerationRepository(db).count(status="processing") == 0
