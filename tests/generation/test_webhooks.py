"""Webhooks of finished jobs: each is sent at least once, by one sender at a time."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue, TransactionRequired
from learner_app.generation.repositories import GenerationRepository
from learner_app.generation.rows import GenerationUpdate
from tests.generation.factories import LONG_AGO, add_as_is, add_sessions

jobs = GenerationRepository()
URL = "https://hook.example/"


async def claimed(limit: int = 100, **options: timedelta) -> list[str]:
    return [job.generation_id for job in await jobs.claim_webhooks(limit=limit, **options)]


async def test_webhooks_of_finished_jobs_are_due_until_marked(db: DatabaseEngine):
    await add_sessions("s1")
    for number, status in enumerate(["failed", "completed", "generating", "processing"]):
        started = LONG_AGO - timedelta(hours=number)
        await add_as_is(f"g{number}", status=status, webhook_url=URL, started_at=started)
    await add_as_is("none", status="completed")
    await add_as_is("sent", status="failed", webhook_url=URL, webhook_sent=True)
    assert await claimed() == ["g1", "g0"]
    assert await claimed(1) == ["g1"]
    assert await claimed(max_age=timedelta(days=1)) == []
    assert await claimed(max_age=timedelta(days=3650)) == ["g1", "g0"]
    assert await jobs.mark_webhook_sent("g1", "g1", "g2", "none", "sent", "nothing", "\0") == 1
    assert await jobs.mark_webhook_sent() == 0
    assert (await jobs.get("g1")).webhook_sent
    assert await claimed() == ["g0"]
    await jobs.update("g0", GenerationUpdate(webhook_url=None))
    assert await claimed() == []
    with pytest.raises(InvalidValue) as caught:
        await jobs.claim_webhooks(limit=1001)
    assert caught.value.fields == ("limit",)


async def test_claiming_webhooks_needs_a_transaction(clone: DatabaseEngine):
    with pytest.raises(TransactionRequired):
        await jobs.claim_webhooks(limit=1)


async def test_concurrent_senders_claim_different_webhooks(clone: DatabaseEngine):
    names = await _add_due(20)
    everybody_has_some = asyncio.Barrier(4)

    async def send() -> list[str]:
        async with clone.transaction():
            mine = await claimed(4)
            await everybody_has_some.wait()
            assert await jobs.mark_webhook_sent(*mine) == len(mine)
            return mine

    sent = await asyncio.gather(*(send() for _ in range(4)))
    assert sorted(map(len, sent)) == [4, 4, 4, 4]
    assert Counter(name for mine in sent for name in mine) == Counter(names[:16])
    async with clone.transaction():
        assert await claimed() == names[16:]


async def test_webhooks_of_a_failed_sender_are_claimed_again(clone: DatabaseEngine):
    names = await _add_due(3)
    with pytest.raises(ZeroDivisionError):
        async with clone.transaction():
            assert await claimed() == names
            await jobs.mark_webhook_sent(*names)
            raise ZeroDivisionError
    async with clone.transaction():
        assert await claimed() == names
        await jobs.mark_webhook_sent(names[0])
    async with clone.transaction():
        assert await claimed() == names[1:], "unmarked webhooks are claimed again"


async def test_a_claimed_webhook_is_skipped_by_others(clone: DatabaseEngine):
    (name,) = await _add_due(1)
    is_claimed, may_end = asyncio.Event(), asyncio.Event()

    async def send() -> None:
        async with clone.transaction():
            assert await claimed() == [name]
            await jobs.mark_webhook_sent(name)
            is_claimed.set()
            await may_end.wait()

    sending = asyncio.create_task(send())
    await is_claimed.wait()
    async with clone.transaction():
        assert await claimed() == []
    later = LONG_AGO + timedelta(days=1)
    assert await jobs.purge_finished(later) == 0
    may_end.set()
    await sending
    assert await jobs.purge_finished(later) == 1


async def test_concurrent_marking_counts_each_webhook_once(clone: DatabaseEngine):
    names = await _add_due(30)
    orders = [names, names[::-1]] * 5
    assert sum(await asyncio.gather(*(jobs.mark_webhook_sent(*order) for order in orders))) == 30


async def _add_due(number: int) -> list[str]:
    await add_sessions("s1")
    names = [f"g{n:02}" for n in range(number)]
    for name in names:
        await add_as_is(name, status="failed", webhook_url=URL, completed_at=LONG_AGO)
    return names
