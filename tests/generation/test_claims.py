"""Claims are fenced: a worker that lost its claim changes nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from learner_app.content.repositories import ContentRepository
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidTransition, NotFound, StaleClaim, StaleVersion
from learner_app.generation.repositories import GenerationRepository
from learner_app.generation.rows import Generation, GenerationUpdate
from learner_app.listening.repositories import ListeningSessionRepository
from tests.content.factories import add_contents, new_content
from tests.generation.factories import LONG_AGO, add_as_is, add_jobs, add_sessions

jobs = GenerationRepository()
contents = ContentRepository()
sessions = ListeningSessionRepository()
CLOCK_NOW = timedelta()
HOUR = timedelta(hours=1)


async def requeue() -> None:
    assert await jobs.requeue_stale(CLOCK_NOW) == 1


async def take_over() -> None:
    assert await jobs.claim_next(stale_older_than=CLOCK_NOW) is not None


async def requeue_and_claim() -> None:
    await requeue()
    assert await jobs.claim_next() is not None


LOSSES: list[Callable[[], Awaitable[None]]] = [requeue, take_over, requeue_and_claim]
STEPS: dict[str, Callable[[Generation], Awaitable[Any]]] = {
    "complete": lambda job: jobs.complete(job, "a"),
    "complete with unknown content": lambda job: jobs.complete(job, "nothing"),
    "fail": lambda job: jobs.fail(job, "late"),
    "store_for_session": lambda job: jobs.store_for_session("s1", new_content("new"), job),
    "store other content under the id": lambda job: jobs.store_for_session(
        "s1", new_content("a", title="Another"), job
    ),
    "update": lambda job: jobs.update(job, GenerationUpdate(estimated_completion_time=9)),
    "update nothing": lambda job: jobs.update(job, GenerationUpdate()),
}


async def claimed() -> Generation:
    job = await jobs.claim_next()
    assert job is not None
    return job


async def state() -> list[Any]:
    rows: list[Any] = [row async for row in jobs.stream()]
    rows += [row async for row in contents.stream()]
    return rows + [row async for row in sessions.stream()]


@pytest.fixture
async def job(db: DatabaseEngine) -> Generation:
    """The claimed job g1 of session s1, and the content a."""
    await add_sessions("s1")
    await add_contents("a")
    await add_jobs("g1")
    return await claimed()


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("step", STEPS)
async def test_a_lost_claim_changes_nothing(
    job: Generation, lose: Callable[[], Awaitable[None]], step: str
):
    await lose()
    before = await state()
    with pytest.raises(StaleClaim) as caught:
        await STEPS[step](job)
    assert isinstance(caught.value, StaleVersion)
    assert (caught.value.table, caught.value.fields) == ("generation_status", ("started_at",))
    assert not caught.value.retry
    assert await state() == before


@pytest.mark.parametrize("step", STEPS)
async def test_a_lost_claim_changes_nothing_after_the_new_worker_finished(
    job: Generation, step: str
):
    await jobs.complete(await jobs.claim_next(stale_older_than=CLOCK_NOW), "a")
    before = await state()
    with pytest.raises(StaleClaim):
        await STEPS[step](job)
    assert await state() == before


async def test_the_worker_with_the_current_claim_ends_the_job(job: Generation):
    assert (await jobs.fail(job, "no")).status == "failed"
    await add_jobs("g2")
    second = await claimed()
    await requeue()
    third = await claimed()
    assert second.generation_id == third.generation_id == "g2"
    assert (await jobs.complete(third, "a")).status == "completed"


async def test_ending_a_job_twice_with_the_same_claim_changes_nothing(job: Generation):
    done = await jobs.complete(job, "a")
    assert await jobs.complete(job, "a") == done
    with pytest.raises(InvalidTransition):
        await jobs.fail(job, "no")
    await add_jobs("g2")
    other = await claimed()
    stored = await jobs.store_for_session("s1", new_content("b"), other)
    assert await jobs.store_for_session("s1", new_content("b"), other) == stored


async def test_a_waiting_job_is_rejected_as_a_claim(job: Generation):
    (waiting,) = await add_jobs("g2")
    for step in ("complete", "fail", "store_for_session", "update", "update nothing"):
        with pytest.raises(StaleClaim):
            await STEPS[step](waiting)
    assert await jobs.get("g2") == waiting


async def test_a_deleted_job_is_not_found(job: Generation):
    await jobs.delete("g1")
    for step in ("complete", "fail", "store_for_session", "update"):
        with pytest.raises(NotFound) as caught:
            await STEPS[step](job)
        assert caught.value.table == "generation_status"


async def test_an_id_ends_a_job_claimed_by_any_worker(job: Generation):
    await take_over()
    assert (await jobs.fail("g1", "stopped by an operator")).status == "failed"


async def test_an_update_by_the_worker_extends_its_claim(job: Generation):
    await jobs.engine.execute("ALTER TABLE generation_status DISABLE TRIGGER USER")
    await jobs.engine.execute(
        "UPDATE generation_status SET updated_at = now() - interval '2 hours'"
    )
    await jobs.engine.execute("ALTER TABLE generation_status ENABLE TRIGGER USER")
    extended = await jobs.update(job, GenerationUpdate(estimated_completion_time=600))
    assert extended.started_at == job.started_at
    assert await jobs.claim_next(stale_older_than=HOUR) is None
    assert (await jobs.complete(job, "a")).status == "completed"


async def test_started_at_increases_with_every_claim(db: DatabaseEngine):
    """Covers a clock that was set back, by a job that was started in the future."""
    await add_sessions("s1")
    ahead = LONG_AGO.replace(year=2999)
    await add_as_is("g1", started_at=ahead, updated_at=LONG_AGO)
    starts = [ahead, (await claimed()).started_at]
    for _ in range(3):
        taken_over = await jobs.claim_next(stale_older_than=CLOCK_NOW)
        assert taken_over is not None
        starts.append(taken_over.started_at)
        await requeue()
        starts += [(await jobs.get("g1")).started_at, (await claimed()).started_at]
    assert starts == sorted(set(starts))


async def test_an_attempt_starts_after_the_previous_one_ended(job: Generation):
    await jobs.update(job, GenerationUpdate(estimated_completion_time=9))
    touched = (await jobs.get("g1")).updated_at
    assert job.started_at < touched
    await requeue()
    ended = await jobs.get("g1")
    assert ended.started_at >= touched
    again = await claimed()
    assert again.started_at >= ended.updated_at
    assert (await jobs.complete(again, "a")).completed_at >= again.started_at


async def test_a_requeued_job_keeps_its_place_in_the_queue(clone: DatabaseEngine):
    await add_sessions("s1")
    await add_jobs("g1", "g2", "g3")
    assert [(await claimed()).generation_id for _ in range(2)] == ["g1", "g2"]
    assert [one.generation_id for one in await jobs.list_active()] == ["g1", "g2", "g3"]
    assert await jobs.requeue_stale(CLOCK_NOW) == 2
    assert [(await claimed()).generation_id for _ in range(3)] == ["g1", "g2", "g3"]


async def test_only_the_last_of_several_workers_that_claim_a_stale_job_ends_it(
    clone: DatabaseEngine,
):
    await add_sessions("s1")
    names = [f"g{n}" for n in range(8)]
    await add_jobs(*names)
    claims: list[Generation] = []
    ended: dict[str, Generation] = {}

    async def work(number: int) -> None:
        while claim := await jobs.claim_next(stale_older_than=CLOCK_NOW):
            claims.append(claim)
            await asyncio.sleep(0.001 * (number % 3))
            try:
                content = new_content(f"{claim.generation_id}-{len(claims)}-{number}")
                await jobs.store_for_session("s1", content, claim)
            except StaleClaim:
                continue
            assert claim.generation_id not in ended
            ended[claim.generation_id] = claim

    await asyncio.gather(*map(work, range(6)))
    assert sorted(ended) == names
    assert len({(one.generation_id, one.started_at) for one in claims}) == len(claims)
    for name, claim in ended.items():
        assert claim.started_at == max(
            one.started_at for one in claims if one.generation_id == name
        )
        assert (await jobs.get(name)).started_at == claim.started_at
    assert await contents.count() == len((await sessions.get("s1")).content_ids) == len(names)
    assert len(claims) > len(names), "some must have been claimed again"


async def test_losing_the_claim_while_storing_rolls_the_content_back(clone: DatabaseEngine):
    await add_sessions("s1")
    await add_jobs("g1")
    job = await claimed()
    async with clone.connection() as other:
        await other.execute("BEGIN")
        await other.execute("SELECT FROM sessions WHERE id = 's1' FOR UPDATE")
        storing = asyncio.create_task(jobs.store_for_session("s1", new_content("late"), job))
        while not await clone.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock'"
        ):
            await asyncio.sleep(0.01)
        assert await jobs.claim_next(stale_older_than=CLOCK_NOW) is not None
        await other.execute("COMMIT")
    with pytest.raises(StaleClaim):
        await storing
    assert not await contents.exists("late")
    assert (await sessions.get("s1")).content_ids == []
