"""Insert the example data into a database, in one transaction and without changing any row."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from itertools import cycle
from operator import attrgetter
from typing import Any, NamedTuple

from learner_app.accounts.repositories import UserRepository
from learner_app.accounts.rows import UserCreate, UserUpdate
from learner_app.content.repositories import ContentRepository
from learner_app.content.rows import ContentCreate
from learner_app.database.engine import DatabaseEngine
from learner_app.generation.repositories import GenerationRepository
from learner_app.generation.rows import GenerationCreate
from learner_app.learner.repositories import LearnerModelStateRepository, UserPreferencesRepository
from learner_app.learner.rows import LearnerModelStateCreate, UserPreferencesCreate
from learner_app.listening.repositories import (
    BehavioralEventRepository,
    LikeRepository,
    ListeningSessionRepository,
)
from learner_app.listening.rows import BehavioralEventCreate, LikeCreate
from learner_app.operations.preconditions import refuse_in_production, require_migrated
from learner_app.operations.seed import data

LOCK = f"SELECT pg_advisory_xact_lock({0x73656564})"  # serialises runs; the key spells "seed"

# No repository method does this: setting a password would create the account too, but would
# overwrite a password that the user has changed.
RESTORE_ACCOUNTS = """
INSERT INTO accounts (id, user_id, provider_id, account_id)
SELECT gen_random_uuid(), id, 'credential', id::text FROM unnest($1::uuid[]) AS id
ON CONFLICT DO NOTHING RETURNING id
"""


class SeedCounts(NamedTuple):
    """Numbers of example rows in one table."""

    created: int
    found: int


async def insert_seed(engine: DatabaseEngine) -> dict[str, SeedCounts]:
    """Insert the missing rows of the example data without changing existing rows.

    Returns:
        Numbers of created and of existing rows by table.

    Raises:
        SettingsError: APP_ENV is production in the settings of the engine.
        MigrationsPending: the tables lack migrations.
    """
    refuse_in_production(engine, "inserting example data")
    await require_migrated(engine, "accounts", "content", "generation", "learner", "listening")
    async with engine.transaction():
        await engine.execute(LOCK)
        return await _insert(engine)


async def _insert(engine: DatabaseEngine) -> dict[str, SeedCounts]:
    contents = data.load_contents()
    sessions = data.simulate_sessions(contents)
    user_ids, counts = await _add_users(engine)
    added: dict[Any, set[Any]] = {}
    for repository_class, new in _rows(contents, sessions, user_ids).items():
        repository = repository_class(engine)
        key = attrgetter(*repository.key.names)
        existing = set(map(key, await repository.get_many(list(map(key, new)))))
        missing = [one for one in new if key(one) not in existing]
        added[repository_class] = set(map(key, await repository.add_many(missing)))
        counts[repository.table._meta.tablename] = SeedCounts(len(missing), len(existing))
    playlists = ListeningSessionRepository(engine)
    for session in sessions:
        if session.new.id in added[ListeningSessionRepository]:
            await playlists.append_many(session.new.id, session.content_ids)
            await playlists.set_current(session.new.id, session.content_ids[-1])
    await _finish_jobs(GenerationRepository(engine), added[GenerationRepository])
    return counts


def _rows(
    contents: Sequence[ContentCreate], sessions: Sequence[data.SeedSession], user_ids: Sequence[str]
) -> dict[Any, Sequence[Any]]:
    """Return the inputs by class of repository, in the order of their references."""
    events = [event for session in sessions for event in session.events]
    completed = [event for event in events if event["event_type"] == "complete"]
    likes, preferences = cycle(data.CONSTANTS["likes"]), cycle(data.CONSTANTS["preferences"])
    genres = {content.id: str(content.genre) for content in contents}
    owners = [*user_ids, *(session.new.id for session in sessions[len(user_ids) :])]
    job = data.CONSTANTS["job"]
    jobs = {content.id: content.session_id for content in contents}
    jobs |= {session.new.id: session.new.id for session in sessions[-4:]}
    return {
        ListeningSessionRepository: [session.new for session in sessions],
        ContentRepository: contents,
        BehavioralEventRepository: [BehavioralEventCreate(**event) for event in events],
        LikeRepository: [
            LikeCreate(
                content_id=event["content_id"],
                session_id=event["session_id"],
                liked_at=event["timestamp"],
                **next(likes),
            )
            for event in completed[::2]
        ],
        LearnerModelStateRepository: [
            LearnerModelStateCreate(
                session_id=session.new.id,
                comprehension_level=Decimal(30 + len(session.events)) / 100,
                content_type_preferences=Counter(genres[key] for key in session.content_ids),
                data_points=len(session.events),
            )
            for session in sessions
        ],
        UserPreferencesRepository: [
            UserPreferencesCreate(id=owner, session_id=session.new.id, **next(preferences))
            for owner, session in zip(owners, sessions, strict=True)
        ],
        GenerationRepository: [
            GenerationCreate(generation_id=f"job-{key}", session_id=session_id, **job)
            for key, session_id in jobs.items()
        ],
    }


async def _finish_jobs(jobs: GenerationRepository, added: set[str]) -> None:
    """Complete the added jobs that have content, fail one of the others and claim one."""
    waiting = sorted(job_id for job_id in added if job_id.startswith("job-session-"))
    for job_id in added.difference(waiting):
        await jobs.complete(job_id, job_id.removeprefix("job-"))
    if waiting:
        await jobs.fail(waiting.pop(), "The model did not answer within 60 seconds.")
        # A worker claims the oldest job of the queue: no other job may be waiting there.
        if await jobs.count(status="generating") == len(waiting):
            await jobs.claim_next()
    await jobs.mark_webhook_sent(*added)


async def _add_users(engine: DatabaseEngine) -> tuple[list[str], dict[str, SeedCounts]]:
    """Register the missing users, restore missing credential accounts and return all user keys."""
    users = UserRepository(engine)
    ids, created = [], 0
    for seed in data.CONSTANTS["users"]:
        user = await users.find_by_email(seed["registration"]["email"])
        if user is None:
            created += 1
            user = await users.register(UserCreate(**seed["registration"]))
            await users.set_admin(user.id, seed["is_admin"])
            await users.update(user.id, UserUpdate(knowledge_level="Intermediate"))
            if seed["email_verified"]:
                await users.verify_email(user.id, user.email)
        ids.append(user.id)
    accounts = created + len(await engine.fetch(RESTORE_ACCOUNTS, ids))
    return list(map(str, ids)), {
        "users": SeedCounts(created, len(ids) - created),
        "accounts": SeedCounts(accounts, len(ids) - accounts),
    }
