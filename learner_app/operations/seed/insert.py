"""Insert the example data into a database, in one transaction and without changing any row."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, TypeVar

from learner_app.accounts.repositories import UserRepository
from learner_app.content.repositories import ContentRepository
from learner_app.database.engine import DatabaseEngine
from learner_app.generation.repositories import GenerationRepository
from learner_app.learner.repositories import (
    LearnerModelStateRepository,
    UserPreferencesRepository,
)
from learner_app.listening.repositories import (
    BehavioralEventRepository,
    LikeRepository,
    ListeningSessionRepository,
)
from learner_app.operations.preconditions import refuse_in_production, require_migrated
from learner_app.operations.seed.contents import load_contents
from learner_app.operations.seed.learning import (
    finish_jobs,
    generation_jobs,
    learner_states,
    preferences,
)
from learner_app.operations.seed.simulation import SimulatedSession, simulate_sessions
from learner_app.operations.seed.users import SeedCounts, add_missing_users
from learner_app.repository.base import KeyedRepository
from learner_app.repository.inputs import Input
from learner_app.repository.rows import Row

APPS = ("accounts", "content", "generation", "learner", "listening")
"""Piccolo apps whose tables are filled."""

ADVISORY_LOCK = 0x73656564
"""Key of the advisory lock that serialises concurrent runs: the letters of "seed"."""

R = TypeVar("R", bound=Row)
C = TypeVar("C", bound=Input)


async def insert_seed(engine: DatabaseEngine) -> dict[str, SeedCounts]:
    """Insert the missing rows of the example data without changing existing rows.

    Returns:
        Numbers of created and of existing rows by table.

    Raises:
        SettingsError: APP_ENV is production in the settings of the engine.
        MigrationsPending: the tables lack migrations.
    """
    refuse_in_production(engine, "inserting example data")
    await require_migrated(engine, *APPS)
    async with engine.transaction():
        await engine.execute(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
        return await _insert(engine)


async def is_empty(engine: DatabaseEngine) -> bool:
    """Return True if the database has neither users nor content."""
    users = await UserRepository(engine).page(limit=1)
    contents = await ContentRepository(engine).page(limit=1)
    return not (users.rows or contents.rows)


async def _insert(engine: DatabaseEngine) -> dict[str, SeedCounts]:
    contents = load_contents()
    sessions = simulate_sessions(contents)
    users, counts = await add_missing_users(engine)
    new_sessions = await _add_missing(
        ListeningSessionRepository(engine), [session.new for session in sessions], counts
    )
    await _add_missing(ContentRepository(engine), [content.new for content in contents], counts)
    await _fill_playlists(engine, sessions, {row.id for row in new_sessions})
    events = [event for session in sessions for event in session.events]
    batch = await BehavioralEventRepository(engine).record_batch(events)
    counts["behavioral_events"] = SeedCounts(batch.recorded, batch.duplicates)
    likes = [like for session in sessions for like in session.likes]
    await _add_missing(LikeRepository(engine), likes, counts)
    await _add_missing(LearnerModelStateRepository(engine), learner_states(sessions), counts)
    await _add_missing(UserPreferencesRepository(engine), preferences(sessions, users), counts)
    jobs = GenerationRepository(engine)
    new_jobs = await _add_missing(jobs, generation_jobs(contents, sessions), counts)
    await finish_jobs(jobs, new_jobs, contents)
    return counts


async def _add_missing(
    repository: KeyedRepository[R, Any, C, Any], new: Sequence[C], counts: dict[str, SeedCounts]
) -> list[R]:
    """Insert the rows whose key does not exist, count them and return them."""
    key = attrgetter(*repository.key.names)
    keys = [key(one) for one in new]
    existing = set(map(key, await repository.get_many(keys)))
    added = await repository.add_many([one for one in new if key(one) not in existing])
    counts[repository.table._meta.tablename] = SeedCounts(len(added), len(new) - len(added))
    return added


async def _fill_playlists(
    engine: DatabaseEngine, sessions: Sequence[SimulatedSession], ids: set[str]
) -> None:
    """Append the played contents to the sessions with these ids, the last one as current."""
    repository = ListeningSessionRepository(engine)
    for session in sessions:
        if session.id in ids:
            await repository.append_many(session.id, session.content_ids)
            await repository.set_current(session.id, session.content_ids[-1])
