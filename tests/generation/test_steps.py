"""Status changes of jobs, and what they reject."""

from datetime import timedelta
from typing import Any

import pytest

from learner_app.content.repositories import ContentRepository
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidTransition, InvalidValue, MissingReference, NotFound
from learner_app.generation.repositories import GenerationRepository
from learner_app.listening.repositories import ListeningSessionRepository
from tests.content.factories import add_contents
from tests.generation.factories import LONG_AGO, add_as_is, add_jobs, add_sessions

jobs = GenerationRepository()
HOUR = timedelta(hours=1)
NOT_THERE = ["nothing", "", "g1\0", "\ud800", "x" * 256, 1, None]
NO_AGES: list[Any] = [timedelta(microseconds=-1), timedelta(days=3651), timedelta.max, 60, "PT1M"]


@pytest.fixture
async def session(db: DatabaseEngine) -> str:
    """The sessions s1 and s2, and the contents a and b. Returns s1."""
    await add_sessions("s1", "s2")
    await add_contents("a", "b")
    return "s1"


async def test_the_oldest_waiting_job_is_claimed(session: str):
    assert await jobs.claim_next() is None
    await add_as_is("g1", started_at=LONG_AGO + HOUR)
    await add_as_is("g3")
    await add_as_is("g2")
    await add_as_is("g0", status="completed")
    claimed = [await jobs.claim_next() for _ in range(3)]
    assert [job.generation_id for job in claimed] == ["g2", "g3", "g1"]
    assert {job.status for job in claimed} == {"processing"}
    assert all(job.updated_at > LONG_AGO for job in claimed)
    assert await jobs.claim_next() is None


async def test_stale_jobs_are_claimed_again(session: str):
    await add_as_is("g1", status="processing", started_at=LONG_AGO + HOUR)
    await add_as_is("g2")
    assert (await jobs.claim_next(stale_older_than=HOUR)).generation_id == "g2"
    assert await jobs.claim_next() is None
    assert (await jobs.claim_next(stale_older_than=HOUR)).generation_id == "g1"
    assert await jobs.claim_next(stale_older_than=HOUR) is None, "both have been updated"
    assert (await jobs.claim_next(stale_older_than=timedelta())).generation_id == "g2"


@pytest.mark.parametrize("age", NO_AGES)
async def test_invalid_ages_are_rejected(session: str, age: Any):
    calls = {
        "stale_older_than": lambda: jobs.claim_next(stale_older_than=age),
        "older_than": lambda: jobs.requeue_stale(age),
        "max_age": lambda: jobs.claim_webhooks(max_age=age),
    }
    for field, call in calls.items():
        with pytest.raises(InvalidValue) as caught:
            await call()
        assert caught.value.fields == (field,)


@pytest.mark.parametrize("requeued", [False, True])
async def test_a_completed_job_is_final(session: str, requeued: bool):
    await add_jobs("g1")
    await jobs.claim_next()
    if requeued:
        assert await jobs.requeue_stale(timedelta()) == 1
    job = await jobs.complete("g1", "a")
    assert (job.status, job.content_id, job.error_message) == ("completed", "a", None)
    assert job.completed_at >= job.started_at
    assert await jobs.complete("g1", "a") == job
    for other in (jobs.complete("g1", "b"), jobs.complete("g1", "nothing"), jobs.fail("g1", "no")):
        with pytest.raises(InvalidTransition) as caught:
            await other
        assert caught.value.fields == ("status",)
    assert await jobs.get("g1") == job, "nothing was written"
    assert await jobs.claim_next(stale_older_than=timedelta()) is None


@pytest.mark.parametrize("requeued", [False, True])
async def test_a_failed_job_is_final(session: str, requeued: bool):
    await add_jobs("g1")
    if not requeued:
        await jobs.claim_next()
    text = "no « voice » \n" * 10_000
    job = await jobs.fail("g1", text)
    assert (job.status, job.content_id, job.error_message) == ("failed", None, text)
    assert job.completed_at >= job.started_at
    assert await jobs.fail("g1", text) == job
    for other in (jobs.complete("g1", "a"), jobs.fail("g1", "another")):
        with pytest.raises(InvalidTransition):
            await other
    assert await jobs.get("g1") == job, "nothing was written"


async def test_a_job_never_ends_before_its_start(session: str):
    later = LONG_AGO.replace(year=2999)
    await add_as_is("g1", started_at=later)
    await add_as_is("g2", started_at=later)
    assert (await jobs.complete("g1", "a")).completed_at == later
    assert (await jobs.fail("g2", "")).completed_at == later


async def test_completing_and_failing_reject_invalid_arguments(session: str):
    await add_jobs("g1")
    for missing in ("nothing", "a\0", "", "x" * 256):
        with pytest.raises(MissingReference) as caught:
            await jobs.complete("g1", missing)
        assert caught.value.fields == ("content_id",)
    for text in ("no\0", "\ud800", None, 1):
        with pytest.raises(InvalidValue) as wrong:
            await jobs.fail("g1", text)
        assert wrong.value.fields == ("error",)
    assert (await jobs.get("g1")).status == "generating"


@pytest.mark.parametrize("key", NOT_THERE)
async def test_unknown_jobs_are_not_found(session: str, key: Any):
    await add_jobs("g1")
    assert await jobs.find(key) is None
    assert await jobs.list_active(key if key is not None else "") == []
    assert await jobs.mark_webhook_sent(key) == 0
    for call in (jobs.complete(key, "a"), jobs.fail(key, "no"), jobs.get_with_content(key)):
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.table == "generation_status"


async def test_a_job_is_returned_with_its_content(session: str):
    await add_jobs("g1")
    assert await jobs.get_with_content("g1") == (await jobs.get("g1"), None)
    await jobs.complete("g1", "a")
    found = await jobs.get_with_content("g1")
    assert found == (await jobs.get("g1"), await ContentRepository().get("a"))
    await ListeningSessionRepository().delete_content("a")
    job, content = await jobs.get_with_content("g1")
    assert (job.status, job.content_id, content) == ("completed", None, None)


async def test_active_jobs_are_listed_oldest_first(session: str):
    await add_as_is("g2", status="processing")
    await add_as_is("g1", started_at=LONG_AGO + HOUR)
    await add_as_is("g3", session_id="s2")
    await add_as_is("g0", status="failed")

    async def listed(*args: Any, **options: Any) -> list[str]:
        return [job.generation_id for job in await jobs.list_active(*args, **options)]

    assert await listed() == ["g2", "g3", "g1"]
    assert await listed(limit=2) == ["g2", "g3"]
    assert await listed("s1") == ["g2", "g1"]
    assert await listed("nobody") == []
    for limit in (0, 1001, "1"):
        with pytest.raises(InvalidValue) as caught:
            await jobs.list_active(limit=limit)
        assert caught.value.fields == ("limit",)


async def test_stale_jobs_are_requeued_in_batches(session: str):
    for n in range(5):
        await add_as_is(f"g{n}", status="processing", updated_at=LONG_AGO + n * HOUR)
    await add_as_is("g9")
    assert (await jobs.claim_next()).generation_id == "g9"
    assert await jobs.requeue_stale(HOUR, batch=2) == 2
    waiting = (await jobs.page(status="generating")).rows
    assert [job.generation_id for job in waiting] == ["g0", "g1"]
    assert [await jobs.requeue_stale(HOUR, batch=2) for _ in range(3)] == [2, 1, 0]
    assert (await jobs.get("g9")).status == "processing"
    with pytest.raises(InvalidValue) as caught:
        await jobs.requeue_stale(HOUR, batch=0)
    assert caught.value.fields == ("batch",)


async def test_finished_jobs_are_purged_in_batches(session: str):
    for n in range(5):
        moment = LONG_AGO + n * HOUR
        await add_as_is(f"g{n}", status="failed", started_at=moment, completed_at=moment)
    await add_as_is("hook", status="failed", completed_at=LONG_AGO, webhook_url="http://a")
    await add_as_is("late", status="failed", completed_at=LONG_AGO + 9 * HOUR)
    await add_as_is("waits")
    before = LONG_AGO + 4 * HOUR
    assert await jobs.purge_finished(before, batch=3) == 3
    assert [job.generation_id async for job in jobs.stream()] == [
        "g3", "g4", "hook", "late", "waits",
    ]  # fmt: skip
    assert await jobs.purge_finished(before, batch=3) == 1
    assert await jobs.purge_finished(before) == 0
    assert await jobs.mark_webhook_sent("hook") == 1
    assert await jobs.purge_finished(before) == 1
    for name, call in {
        "before": lambda: jobs.purge_finished(before.replace(tzinfo=None)),
        "batch": lambda: jobs.purge_finished(before, batch=10_001),
    }.items():
        with pytest.raises(InvalidValue) as caught:
            await call()
        assert caught.value.fields == (name,)


async def test_jobs_are_deleted_with_their_session(session: str):
    await add_jobs("g1")
    assert await ListeningSessionRepository().delete("s1")
    assert not await jobs.exists("g1")
