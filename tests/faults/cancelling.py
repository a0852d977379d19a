"""Calls that are cancelled at random moments, in the three ways there are."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio

from learner_app.errors import DatabaseError
from tests.faults.load import INSERT_A, INSERT_B, INSERT_BOTH, ROW_CANARY, Writers

CANCELLATIONS = 300
CLOCK_NOW = 20
LONGEST_SECONDS = 0.03
END_SECONDS = 5.0

Work = Callable[[], Awaitable[None]]


async def cancel_at_random(writers: Writers) -> None:
    """The calls leave all or nothing, and end soon; what ended in time is acknowledged."""
    turns = asyncio.Semaphore(CLOCK_NOW)

    async def one(number: int) -> None:
        async with turns:
            await _cancel(writers, number)

    await asyncio.gather(*(one(number) for number in range(CANCELLATIONS)))


async def _cancel(writers: Writers, number: int) -> None:
    key = f"cancelled-{number}"
    body = random.choice([_deep, _again, _at_once])
    way = random.choice([_by_task, _by_timeout, _by_scope])
    loop = asyncio.get_running_loop()
    seconds = random.uniform(0, LONGEST_SECONDS)
    started = loop.time()
    ended = False

    async def work() -> None:
        nonlocal ended
        await body(writers, key)
        ended = True

    try:
        await way(work, seconds)
    except DatabaseError:
        pass  # the fault of another one may meet it as well
    except Exception as error:  # noqa: BLE001  # the book judges it
        writers.book.strangers.append(error)
    if loop.time() - started > END_SECONDS:
        writers.book.hung.append(f"{key}: cancelled, {loop.time() - started:.1f} s")
    if ended:
        writers.book.acknowledged.append(key)


async def _by_task(work: Work, seconds: float) -> None:
    task = asyncio.ensure_future(work())
    await asyncio.wait([task], timeout=seconds)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _by_timeout(work: Work, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await work()


async def _by_scope(work: Work, seconds: float) -> None:
    with anyio.move_on_after(seconds):
        await work()


async def _deep(writers: Writers, key: str) -> None:
    engine = writers.engine
    async with engine.transaction(track_commit=random.random() < 0.5):
        await engine.execute(INSERT_A, key, ROW_CANARY)
        engine.after_commit(lambda: writers.book.called_back.append(key))
        async with engine.transaction():
            async with engine.transaction():
                await engine.execute("UPDATE counters SET n = n + 1 WHERE id = 1")
            await engine.execute(INSERT_B, key, ROW_CANARY)


async def _again(writers: Writers, key: str) -> None:
    async def unit() -> None:
        await writers.engine.execute("UPDATE counters SET n = n + 1 WHERE id = 2")
        await writers.pair(key)

    await writers.engine.run_transaction(unit, isolation="repeatable read")


async def _at_once(writers: Writers, key: str) -> None:
    await writers.engine.execute(INSERT_BOTH, key, ROW_CANARY)
