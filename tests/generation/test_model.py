"""Random sequences of operations, compared with a model of the queue in memory."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidTransition, NotFound, StaleClaim
from learner_app.generation.repositories import GenerationRepository
from learner_app.generation.rows import Generation
from learner_app.generation.tables import GenerationStatusTable
from tests.content.factories import add_contents
from tests.examples import examples
from tests.generation.factories import add_sessions, new_job

jobs = GenerationRepository()
HOUR, NOTHING = timedelta(hours=1), timedelta()
SESSIONS, CONTENTS, IDS = ["s1", "s2"], ["a", "b"], [f"g{n}" for n in range(6)]


@dataclass
class Job:
    session: str
    has_webhook: bool
    status: str = "generating"
    result: str | None = None
    sent: bool = False
    touched: int = 0
    started: int = 0
    """Start of the last attempt."""

    @property
    def is_active(self) -> bool:
        return self.status in ("generating", "processing")

    @property
    def is_due(self) -> bool:
        return not self.is_active and self.has_webhook and not self.sent


class Model:
    """Model of the queue: jobs by id, the oldest first."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.clock = 0
        self.claims: dict[str, list[tuple[Generation, int]]] = {}
        """Rows that claim_next returned, with the start of the attempt, by id."""

    def add(self, key: str, session: str, webhook: bool) -> None:
        self.clock += 1
        self.jobs[key] = Job(session, webhook, started=self.clock)
        self.claims.pop(key, None)

    def begin(self, job: Job, status: str) -> None:
        self.touch(job, status=status, started=self.clock + 1)

    def touch(self, job: Job, **changes: Any) -> None:
        self.clock += 1
        for name, value in {**changes, "touched": self.clock}.items():
            setattr(job, name, value)

    def get_or_create_active(self, key: str, session: str, webhook: bool) -> tuple[str, bool]:
        active = [name for name, job in self.jobs.items() if job.session == session]
        active = [name for name in active if self.jobs[name].is_active]
        if active:
            return active[-1], False
        self.add(key, session, webhook)
        return key, True

    def claim(self, stale: bool) -> str | None:
        for name, job in self.jobs.items():
            if job.status == "generating" or (stale and job.status == "processing"):
                self.begin(job, "processing")
                return name
        return None

    def end(self, key: str, status: str, result: str, claim: int | None) -> str:
        job = self.jobs.get(key)
        if job is None:
            return "NotFound"
        if claim is not None and (job.started != claim or job.status == "generating"):
            return "StaleClaim"
        if job.is_active:
            self.touch(job, status=status, result=result)
        return "Generation" if (job.status, job.result) == (status, result) else "InvalidTransition"

    def requeue(self, batch: int) -> int:
        stale = [job for job in self.jobs.values() if job.status == "processing"]
        stale = sorted(stale, key=lambda job: job.touched)[:batch]
        for job in stale:
            self.begin(job, "generating")
        return len(stale)

    def due(self) -> list[str]:
        return self.by_start([name for name, job in self.jobs.items() if job.is_due])

    def by_start(self, names: list[str]) -> list[str]:
        return sorted(names, key=lambda name: self.jobs[name].started)

    def mark(self, keys: list[str]) -> int:
        due = set(self.due()) & set(keys)
        for name in due:
            self.touch(self.jobs[name], sent=True)
        return len(due)

    def purge(self, batch: int) -> int:
        over = [name for name, job in self.jobs.items() if not job.is_active and not job.is_due]
        over = self.by_start(over)
        for name in over[:batch]:
            del self.jobs[name]
        return len(over[:batch])


async def kind(call: Any) -> str:
    try:
        return type(await call).__name__
    except (NotFound, InvalidTransition, StaleClaim) as error:
        return type(error).__name__


async def start(model: Model, key: str, number: int) -> None:
    if key in model.jobs:
        return
    session, webhook = SESSIONS[number % 2], number % 3 == 0
    new = new_job(key, session, webhook_url="http://a.example" if webhook else None)
    if number % 5 == 0:
        await jobs.add(new)
        model.add(key, session, webhook)
        return
    started, created = await jobs.get_or_create_active(new)
    expected = model.get_or_create_active(key, session, webhook)
    assert (started.generation_id, created) == expected


async def claim(model: Model, _: str, number: int) -> None:
    age = [None, NOTHING, HOUR][number % 3]
    job = await jobs.claim_next(stale_older_than=age)
    assert (job and job.generation_id) == model.claim(age == NOTHING)
    if job is not None:
        attempt = model.jobs[job.generation_id].started
        model.claims.setdefault(job.generation_id, []).append((job, attempt))


def holder(model: Model, key: str, number: int) -> tuple[Generation | str, int | None]:
    """Return a claim of any attempt, as a worker passes it, or the id, as an operator does."""
    claims = model.claims.get(key, [])
    return claims[number % len(claims)] if claims and number % 4 else (key, None)


async def complete(model: Model, key: str, number: int) -> None:
    content = CONTENTS[number % 2]
    job, claim = holder(model, key, number)
    assert await kind(jobs.complete(job, content)) == model.end(key, "completed", content, claim)


async def fail(model: Model, key: str, number: int) -> None:
    error = f"error {number % 2}"
    job, claim = holder(model, key, number)
    assert await kind(jobs.fail(job, error)) == model.end(key, "failed", error, claim)


async def requeue(model: Model, _: str, number: int) -> None:
    assert await jobs.requeue_stale(HOUR) == 0
    batch = 1 + number % 2
    assert await jobs.requeue_stale(NOTHING, batch=batch) == model.requeue(batch)


async def send(model: Model, key: str, number: int) -> None:
    limit = 1 + number % 3
    async with jobs.engine.transaction():
        due = [job.generation_id for job in await jobs.claim_webhooks(limit=limit)]
        assert due == model.due()[:limit]
        sent = [*due[:1], key]
        assert await jobs.mark_webhook_sent(*sent) == model.mark(sent)


async def purge(model: Model, _: str, number: int) -> None:
    batch = 1 + number % 2
    now = await jobs.engine.fetchval("SELECT clock_timestamp() + interval '1 minute'")
    assert await jobs.purge_finished(now - HOUR, batch=batch) == 0
    assert await jobs.purge_finished(now, batch=batch) == model.purge(batch)


async def delete(model: Model, key: str, _: int) -> None:
    assert await jobs.delete(key) == (model.jobs.pop(key, None) is not None)


def seen(job: Generation) -> Job:
    return Job(
        job.session_id,
        job.webhook_url is not None,
        job.status,
        job.content_id or job.error_message,
        job.webhook_sent,
    )


async def compare(model: Model) -> None:
    rows = {job.generation_id: job async for job in jobs.stream()}
    unseen = {"touched": 0, "started": 0}
    expected = {name: Job(**vars(job) | unseen) for name, job in model.jobs.items()}
    assert {name: seen(job) for name, job in rows.items()} == expected
    assert all(
        (row.completed_at is None) == model.jobs[name].is_active for name, row in rows.items()
    )
    active = [name for name, job in model.jobs.items() if job.is_active]
    assert [job.generation_id for job in await jobs.list_active()] == active


OPERATIONS: list[Callable[[Model, str, int], Any]] = [
    start, start, start, claim, claim, claim, complete, complete, fail, fail,
    requeue, send, purge, delete,
]  # fmt: skip
steps = st.tuples(st.sampled_from(OPERATIONS), st.sampled_from(IDS), st.integers(0, 29))


@given(st.lists(steps, min_size=25, max_size=50))
@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
async def test_any_sequence_of_operations_matches_the_model(
    clone: DatabaseEngine, taken: list[tuple[Callable[[Model, str, int], Any], str, int]]
):
    await GenerationStatusTable.delete(force=True)
    if not await clone.fetchval("SELECT count(*) FROM sessions"):
        await add_sessions(*SESSIONS)
        await add_contents(*CONTENTS)
    model = Model()
    for operation, key, number in taken:
        await operation(model, key, number)
        await compare(model)
