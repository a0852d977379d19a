"""Every repository operation through PgBouncer in transaction mode, on shared server sessions."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from learner_app.conf import DB
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import DatabaseError, LearnerError, SessionStateRefused, TransactionRequired
from learner_app.operations.migrate import apply_migrations
from learner_app.settings import Settings
from tests.accounts import operations as accounts
from tests.faults.cluster import Cluster
from tests.faults.pgbouncer import LIMITS, PgBouncer
from tests.volume import operations

pytestmark = pytest.mark.faults

SESSIONS = 3
ARRAYS = {
    "bool": [True],
    "int2": [1],
    "int4": [1],
    "int8": [1],
    "float4": [0.5],
    "float8": [0.5],
    "varchar": ["a"],
    "bpchar": ["a"],
    "bytea": [b"a"],
    "jsonb": ["{}"],
    "json": ["{}"],
    "name": ["a"],
    "oid": [1],
}
SESSION_SETTINGS = (
    "SELECT current_setting('jit') AS jit, current_setting('statement_timeout') AS statement,"
    " (SELECT count(*) FROM pg_prepared_statements) AS prepared,"
    " (SELECT count(*) FROM pg_class WHERE relpersistence = 't') AS temporary"
)
FILL = """
INSERT INTO content (id, title, text_content, audio_url, format, genre, template_id, difficulty,
                     duration, model_parameters, session_id, episode_number, series_id)
SELECT 'c' || n, 'Title', 'text', 'url', 'podcast', 'genre', 'template', 'lexical-heavy', 300, '{}',
       's' || n % 4, n, 'series2' FROM generate_series(0, 9) AS n;
INSERT INTO sessions (id, content_ids, current_content_id)
SELECT 's' || n, ARRAY['c1', 'c2', 'c3'], 'c1' FROM generate_series(0, 9) AS n;
INSERT INTO behavioral_events (id, content_id, session_id, event_type, playback_position,
                               content_characteristics)
SELECT 'e000000' || n, 'c1', 's1', 'play', n, '{}' FROM generate_series(0, 9) AS n;
INSERT INTO like_engagement (content_id, session_id, content_characteristics)
VALUES ('c0', 's0', '{}');
INSERT INTO learner_model_state (session_id, preference_weights, comprehension_level,
                                 content_type_preferences)
SELECT id, '{}', 0.5, '{}' FROM sessions;
INSERT INTO user_preferences (id, session_id, difficulty_preference)
SELECT CASE WHEN n % 2 = 0 THEN 's' || n ELSE 'u' || n END, 's' || n, 'beginner'
FROM generate_series(0, 9) AS n;
INSERT INTO generation_status (generation_id, session_id, status)
SELECT 'g' || n, 's' || n % 10, 'generating'
FROM unnest(ARRAY[1, 2, 3, 99999, 99998, 99898]) AS n;
"""


@pytest.fixture
async def bounced(cluster: Cluster, pgbouncer_program: object) -> AsyncIterator[DatabaseEngine]:
    """The configured engine through PgBouncer, on a migrated database."""
    url = DB.url
    DB.url = cluster.url()
    async with DB.running():
        await apply_migrations(DB)
    for name, value in LIMITS.items():
        cluster.execute(f"ALTER ROLE learner SET {name} = '{value}'")
    cluster.execute("CREATE TYPE colour AS ENUM ('red', 'blue')")
    cluster.execute("SET search_path = public; " + FILL)
    with PgBouncer(cluster, pool_size=SESSIONS) as bouncer:
        DB.url, DB.settings = bouncer.url, Settings(db_pgbouncer=True, db_pool_max=12)
        try:
            async with DB.running():
                yield DB
        finally:
            DB.url, DB.settings = url, None


async def perform(engine: DatabaseEngine, call: Callable[[], Awaitable[object]]) -> None:
    """Call an operation, in a transaction where it asks for one."""
    try:
        await call()
    except TransactionRequired:
        async with engine.transaction():
            await call()


async def assert_sessions_are_clean(engine: DatabaseEngine) -> None:
    """Look at every server session, by holding all of them at the same time."""
    everybody = asyncio.Barrier(SESSIONS)

    async def look() -> tuple[object, ...]:
        async with engine.transaction():
            pid = await engine.fetchval("SELECT pg_backend_pid()")
            await everybody.wait()
            return pid, *await engine.fetchrow(SESSION_SETTINGS)

    found = await asyncio.gather(*(look() for _ in range(SESSIONS)))
    assert len({pid for pid, *_ in found}) == SESSIONS
    assert {tuple(rest) for _, *rest in found} == {("on", "54s", 0, 0)}


async def test_every_operation_works_alone(bounced: DatabaseEngine) -> None:
    await operations.prepare()
    refused = {}
    for repository, named in operations.OPERATIONS.items():
        for session in ("n1", "n2", "n3", "s10"):  # what another repository's tests deleted
            await operations.sessions.get_or_create(session)
        for name, call in named.items():
            try:
                await perform(bounced, call)
            except LearnerError as error:
                refused[f"{type(repository).__name__}.{name}"] = repr(error)
    await operations.sessions.delete_content("c2")  # not among those, since its plan is exempt
    await assert_sessions_are_clean(bounced)
    assert refused == {}


async def test_every_operation_of_accounts_works(bounced: DatabaseEngine) -> None:
    calls = accounts.operations(await accounts.make_world(bounced))
    refused = {}
    for name, call in calls.items():
        try:
            await accounts.outcome(call)
        except LearnerError as error:
            refused[name] = repr(error)
    await assert_sessions_are_clean(bounced)
    assert refused == {}


@pytest.mark.long
async def test_every_operation_works_beside_the_others(bounced: DatabaseEngine) -> None:
    """Four callers in different orders on three server sessions; conflicts are their own affair."""
    await operations.prepare()
    calls = [call for named in operations.OPERATIONS.values() for call in named.values()]
    wrong: list[Exception] = []

    async def caller() -> None:
        shuffled = random.sample(calls, len(calls))
        for call in shuffled:
            try:
                await perform(bounced, call)
            except SessionStateRefused as error:
                wrong.append(error)
            except LearnerError as error:
                if type(error) is DatabaseError or "connection" in str(error):
                    wrong.append(error)

    await asyncio.gather(*(caller() for _ in range(4)))
    await assert_sessions_are_clean(bounced)
    assert wrong == []


async def test_every_array_type_is_accepted(bounced: DatabaseEngine) -> None:
    for kind, value in ARRAYS.items():
        assert await bounced.fetchval(f"SELECT $1::{kind}[]", value) == value
        async with bounced.transaction():
            assert await bounced.fetchval(f"SELECT $1::{kind}[]", value) == value


async def test_types_of_ones_own_are_looked_up_without_a_trace(bounced: DatabaseEngine) -> None:
    """An enum and its array, alone and in transactions, which introspection must not end."""

    async def use(number: int) -> None:
        assert await bounced.fetchval("SELECT $1::public.colour[]", ["red"]) == ["red"]
        async with bounced.transaction():
            await bounced.execute("SET LOCAL work_mem = '5MB'")
            assert await bounced.fetchval(f"SELECT ROW({number}, 'red'::public.colour)")
            assert await bounced.fetchval("SHOW jit") == "on"
            assert await bounced.fetchval("SHOW work_mem") == "5MB"

    await asyncio.gather(*(use(number) for number in range(24)))
    await assert_sessions_are_clean(bounced)
