"""The scenarios by name: what one slice of a round does with one contestant."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count

from benchmarks.contestant import Contestant
from benchmarks.given import new_events, new_piece

TASKS = 100
WARM_UP_TASKS = 40
WARM_UP_ROUNDS = 8

IDLE_SECONDS = 5.5
"""Longer than our pool trusts an unused connection."""

Slice = Callable[[Contestant, int], Awaitable[None]]
_numbers = count()


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing that is measured."""

    name: str
    operation: str
    """The method of a contestant that it takes."""
    slice: Slice
    operations: int
    """How many a slice does."""
    concurrent: bool = False
    idle_seconds: float = 0.0
    """How long nobody does anything before a round."""
    measures_memory: bool = False
    is_quick: bool = True
    """Whether it is part of a quick run."""
    unit: str = "µs"


async def _get(contestant: Contestant, operations: int) -> None:
    for number in range(operations):
        await contestant.get(1 + number % 1000)


async def _get_content(contestant: Contestant, operations: int) -> None:
    for number in range(operations):
        await contestant.get_content(f"content-{1 + number % 1000}")


async def _select_1(contestant: Contestant, operations: int) -> None:
    for _ in range(operations):
        await contestant.select_1()


async def _insert(contestant: Contestant, operations: int) -> None:
    for _ in range(operations):
        await contestant.insert(next(_numbers) % 1000)


async def _transaction(contestant: Contestant, operations: int) -> None:
    for number in range(operations):
        await contestant.transaction(1 + number % 1000)


async def _checkout(contestant: Contestant, operations: int) -> None:
    for _ in range(operations):
        await contestant.checkout()


async def _concurrent_get(contestant: Contestant, operations: int) -> None:
    await asyncio.gather(*(_get(contestant, operations // TASKS) for _ in range(TASKS)))


async def _stream(contestant: Contestant, operations: int) -> None:
    rows = await contestant.stream()
    if rows != operations:
        raise RuntimeError(f"{contestant.name} streamed {rows} rows instead of {operations}")


async def _typed_get(contestant: Contestant, operations: int) -> None:
    for number in range(operations):
        await contestant.typed_get(f"content-{1 + number % 1000}")


async def _typed_page(contestant: Contestant, operations: int) -> None:
    for _ in range(operations):
        await contestant.typed_page()


async def _typed_add(contestant: Contestant, operations: int) -> None:
    for _ in range(operations):
        await contestant.typed_add(new_piece())


async def _typed_update(contestant: Contestant, operations: int) -> None:
    for number in range(operations):
        await contestant.typed_update(f"content-{1 + number % 1000}", next(_numbers) % 1000)


async def _record_batch(contestant: Contestant, operations: int) -> None:
    for _ in range(operations):
        await contestant.record_batch(new_events())


ROWS = 200_000
QUICK_ROWS = 20_000

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("get", "get", _get, 150),
        Scenario("get_content", "get_content", _get_content, 150),
        Scenario("select_1", "select_1", _select_1, 150),
        Scenario("insert", "insert", _insert, 100),
        Scenario("transaction", "transaction", _transaction, 60),
        Scenario("concurrent_get", "get", _concurrent_get, 500, concurrent=True),
        Scenario("checkout", "checkout", _checkout, 500),
        Scenario("stream", "stream", _stream, ROWS, measures_memory=True),
        Scenario("typed_get", "typed_get", _typed_get, 100),
        Scenario("typed_page", "typed_page", _typed_page, 10),
        Scenario("typed_add", "typed_add", _typed_add, 50),
        Scenario("typed_update", "typed_update", _typed_update, 50),
        Scenario("record_batch", "record_batch", _record_batch, 2),
        Scenario("first_after_idle", "get", _get, 1, idle_seconds=IDLE_SECONDS, is_quick=False),
    )
}


async def warm_up(contestant: Contestant, scenario: Scenario) -> None:
    """Every statement prepared on every connection, and the code run a few times."""
    if not contestant.can(scenario.operation) or scenario.operation == "stream":
        return
    if scenario.operation in {"typed_page", "record_batch"}:  # long enough not to mind
        await scenario.slice(contestant, 3)
        return
    for number in range(WARM_UP_ROUNDS):
        tasks = WARM_UP_TASKS if contestant.concurrent else 1
        one = SCENARIOS[scenario.operation].slice
        await asyncio.gather(*(one(contestant, 1 + number) for _ in range(tasks)))
