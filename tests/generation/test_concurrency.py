"""Concurrent workers: each job is claimed once and ends once."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable
from datetime import timedelta

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidTransition, MissingReference
from learner_app.generation.repositories import GenerationRepository
from learner_app.listening.repositories import ListeningSessionRepository
from tests.content.factories import add_contents, new_content
from tests.generation.factories import LONG_AGO, add_as_is, add_jobs, add_sessions, new_job

jobs = GenerationRepository()
sessions = ListeningSessionRepository()


async def kinds(calls: Iterable[Awaitable[object]]) -> Counter[str]:
    results = await asyncio.gather(*calls, return_exceptions=True)
    return Counter(type(result).__name__ for result in results)


async def test_20_workers_claim_each_of_100_jobs_once(clone: DatabaseEngine):
    await add_sessions("s1")
    await jobs.add_many([new_job(f"g{n}") for n in range(100)])

    async def work() -> list[str]:
        mine = []
        while job := await jobs.claim_next():
            mine.append(job.generation_id)
        return mine

    taken = await asyncio.gather(*(work() for _ in range(20)))
    assert Counter(name for mine in taken for name in mine) == Counter(f"g{n}" for n in range(100))
    assert await jobs.count(status="processing") == 100


async def test_concurrent_workers_claim_each_stale_job_once(clone: DatabaseEngine):
    await add_sessions("s1")
    for n in range(20):
        await add_as_is(f"g{n}", status=("generating", "processing")[n % 2])
    taken = await asyncio.gather(
        *(jobs.claim_next(stale_older_than=timedelta(hours=1)) for _ in range(30))
    )
    assert len({job.generation_id for job in taken if job}) == 20
    assert taken.count(None) == 10


async def test_10_concurrent_requests_create_one_job(clone: DatabaseEngine):
    await add_sessions("s1")
    started = await asyncio.gather(
        *(jobs.get_or_create_active(new_job(f"g{n}")) for n in range(10))
    )
    assert sum(one.created for one in started) == 1
    assert all(one.row == started[0].row for one in started)
    assert await jobs.count() == 1


async def test_concurrent_requeueing_counts_each_job_once(clone: DatabaseEngine):
    await add_sessions("s1")
    for n in range(30):
        await add_as_is(f"g{n}", status="processing")
    hour = timedelta(hours=1)
    assert sum(await asyncio.gather(*(jobs.requeue_stale(hour, batch=4) for _ in range(20)))) <= 30
    while await jobs.requeue_stale(hour):
        pass
    assert await jobs.count(status="generating") == 30


async def test_one_of_several_concurrent_completions_succeeds(clone: DatabaseEngine):
    await add_sessions("s1")
    names = [f"c{n}" for n in range(10)]
    await add_contents(*names)
    await add_jobs("g1")
    ends = await kinds(jobs.complete("g1", name) for name in names)
    assert ends == {"Generation": 1, "InvalidTransition": 9}
    winner = (await jobs.get("g1")).content_id
    assert await kinds(jobs.complete("g1", winner) for _ in range(10)) == {"Generation": 10}


async def test_a_job_either_completes_or_fails(clone: DatabaseEngine):
    await add_sessions("s1")
    await add_contents("a")
    names = [f"g{n}" for n in range(20)]
    await add_jobs(*names)
    ends = await kinds(
        end for name in names for end in (jobs.complete(name, "a"), jobs.fail(name, "no"))
    )
    assert ends == {"Generation": 20, "InvalidTransition": 20}
    async for job in jobs.stream():
        assert (job.status == "completed") == (job.error_message is None) == (job.content_id == "a")


async def test_completing_during_deletion_of_the_content_does_not_deadlock(clone: DatabaseEngine):
    names = [f"c{n}" for n in range(15)]
    await add_contents(*names)
    await add_sessions("s1")
    await sessions.append_many("s1", names)
    for name in names:  # each deletion also updates jobs that refer to the content
        await add_jobs(f"{name}-0", f"{name}-1", f"{name}-2")
        await jobs.complete(f"{name}-0", name)
    ends = await asyncio.gather(
        *(jobs.complete(f"{name}-{n}", name) for name in names for n in (1, 2)),
        *(sessions.delete_content(name) for name in names),
        return_exceptions=True,
    )
    assert {type(end) for end in ends} <= {type(await jobs.get("c0-0")), MissingReference, bool}
    assert await jobs.count(status="completed") == 15 + sum(
        not isinstance(end, bool | MissingReference) for end in ends
    )
    assert (await sessions.get("s1")).content_ids == []
    async for job in jobs.stream():
        assert job.content_id is None


async def test_completing_locks_the_content_before_the_job(clone: DatabaseEngine):
    """A deletion holds the content while the job is still unlocked."""
    await add_sessions("s1")
    await add_contents("a")
    await add_jobs("g1", "g2")
    await jobs.complete("g1", "a")
    async with clone.connection() as deleting:
        await deleting.execute("BEGIN")
        await deleting.execute("SELECT id FROM content WHERE id = 'a' FOR UPDATE")
        completing = asyncio.create_task(jobs.complete("g2", "a"))
        while not await _somebody_waits(clone):
            await asyncio.sleep(0.01)
        locked = await deleting.fetch("SELECT FROM generation_status FOR UPDATE NOWAIT")
        assert len(locked) == 2, "a completion that waits for the content must not lock the job"
        await deleting.execute("DELETE FROM content WHERE id = 'a'")
        await deleting.execute("COMMIT")
    assert await kinds([completing]) == {"MissingReference": 1}
    assert (await jobs.get("g2")).status == "generating"


async def test_one_of_several_concurrent_workers_stores_content_for_a_job(clone: DatabaseEngine):
    await add_sessions("s1")
    await add_jobs("g1")
    contents = [new_content(f"c{n}") for n in range(8)]
    results = await asyncio.gather(
        *(jobs.store_for_session("s1", content, "g1") for content in contents * 2),
        return_exceptions=True,
    )
    stored = {result.id for result in results if not isinstance(result, InvalidTransition)}
    (winner,) = stored
    assert (await sessions.get("s1")).content_ids == [winner]
    assert (await jobs.get("g1")).content_id == winner
    assert await clone.fetchval("SELECT array_agg(id) FROM content") == [winner]
    assert sum(isinstance(result, InvalidTransition) for result in results) == 14


async def test_concurrent_storing_and_deleting_stay_consistent(clone: DatabaseEngine):
    names = [f"c{n}" for n in range(12)]
    await add_sessions("s1", "s2")
    await add_jobs(*names)
    results = await asyncio.gather(
        *(jobs.store_for_session("s1", new_content(name), name) for name in names),
        *(sessions.delete_content(name) for name in names for _ in range(2)),
        *(jobs.get_or_create_active(new_job(f"n{name}", "s2")) for name in names),
        *(jobs.purge_finished(LONG_AGO) for _ in names),
    )
    assert len(results) == 60
    left = await clone.fetch("SELECT id FROM content")
    assert sorted((await sessions.get("s1")).content_ids) == sorted(row["id"] for row in left)
    assert await jobs.count(session_id="s1", status="completed") == 12


async def _somebody_waits(engine: DatabaseEngine) -> bool:
    return bool(
        await engine.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    )
