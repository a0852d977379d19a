"""Concurrent writes of learner states, inside and outside of transactions."""

import asyncio
from collections import Counter
from decimal import Decimal

import pytest
from msgspec.structs import replace

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import (
    InvalidValue,
    MissingReference,
    SerializationFailure,
)
from learner_app.learner.repositories import LearnerModelStateRepository
from learner_app.learner.rows import (
    LearnerModelState,
    LearnerModelStateUpdate,
)
from learner_app.listening.repositories import ListeningSessionRepository
from tests.learner.elsewhere import elsewhere

states = LearnerModelStateRepository()
sessions = ListeningSessionRepository()


@pytest.fixture
async def shared(clone: DatabaseEngine) -> str:
    """Id of a session whose state concurrent tasks change in transactions of their own."""
    await sessions.get_or_create("s1")
    return "s1"


def count_one(state: LearnerModelState) -> LearnerModelState:
    return replace(state, data_points=state.data_points + 1)


@pytest.mark.parametrize("exists", [True, False])
async def test_50_concurrent_folds_are_all_stored(shared: str, exists: bool):
    if exists:
        await states.get_or_create(shared)
    rows = await asyncio.gather(*(states.fold(shared, count_one) for _ in range(50)))
    assert sorted(row.data_points for row in rows) == list(range(1, 51))
    in_order = sorted(rows, key=lambda row: row.data_points)
    assert len({row.last_updated for row in rows}) == 50
    assert in_order == sorted(rows, key=lambda row: row.last_updated)
    assert await states.get(shared) == in_order[-1]


async def test_failing_folds_do_not_affect_concurrent_ones(shared: str):
    def fail(state: LearnerModelState) -> LearnerModelState:
        raise ZeroDivisionError

    calls = [states.fold(shared, (fail, count_one)[n % 2]) for n in range(30)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    kinds = Counter(type(result).__name__ for result in results)
    assert kinds == {"LearnerModelState": 15, "ZeroDivisionError": 15}
    assert (await states.get(shared)).data_points == 15


async def test_20_concurrent_get_or_create_calls_create_one_state(shared: str):
    results = await asyncio.gather(*(states.get_or_create(shared) for _ in range(20)))
    assert sum(created for _, created in results) == 1
    first, _ = results[0]
    assert all(row == first for row, _ in results)
    assert await states.count() == 1


async def test_one_of_20_concurrent_updates_with_the_same_version_succeeds(shared: str):
    known, _ = await states.get_or_create(shared)
    updates = (
        states.update(shared, LearnerModelStateUpdate(data_points=n), expect=known.last_updated)
        for n in range(1, 21)
    )
    results = await asyncio.gather(*updates, return_exceptions=True)
    kinds = Counter(type(result).__name__ for result in results)
    assert kinds == {"LearnerModelState": 1, "StaleVersion": 19}
    assert await states.get(shared) in results


async def test_all_kinds_of_concurrent_writes_succeed(shared: str):
    """Folds run beside inserts and deletes of the same row."""
    calls = [
        call
        for n in range(10)
        for call in (
            states.fold(shared, count_one),
            states.get_or_create(shared),
            states.delete(shared),
            states.fold(shared, lambda old: replace(old, comprehension_level=Decimal(1))),
        )
    ]
    await asyncio.gather(*calls)
    final = await states.fold(shared, count_one)
    assert 1 <= final.data_points <= 11


@pytest.mark.parametrize("exists", [True, False])
async def test_an_old_snapshot_cannot_lose_an_update(
    shared: str, clone: DatabaseEngine, exists: bool
):
    if exists:
        await states.get_or_create(shared)
    with pytest.raises(SerializationFailure) as caught:
        async with clone.transaction(isolation="repeatable read"):
            await states.find(shared)
            await elsewhere(lambda: states.fold(shared, count_one))
            await states.fold(shared, count_one)
    assert caught.value.retry
    assert (await states.get(shared)).data_points == 1


async def test_retried_repeatable_read_transactions_lose_no_fold(
    shared: str, clone: DatabaseEngine
):
    async def unit() -> None:
        await states.fold(shared, count_one)

    runs = (clone.run_transaction(unit, isolation="repeatable read") for _ in range(8))
    await asyncio.gather(*runs)
    assert (await states.get(shared)).data_points == 8


async def test_a_caught_error_leaves_the_callers_transaction_usable(
    shared: str, clone: DatabaseEngine
):
    async with clone.transaction():
        await states.fold(shared, count_one)
        with pytest.raises(InvalidValue):
            await states.fold(shared, lambda old: replace(old, data_points=-1))
        with pytest.raises(MissingReference):
            await states.fold("nobody", count_one)
        await states.fold(shared, count_one)
        assert await elsewhere(lambda: states.find(shared)) is None
    assert (await states.get(shared)).data_points == 2


async def test_a_fold_is_rolled_back_with_the_callers_transaction(
    shared: str, clone: DatabaseEngine
):
    with pytest.raises(ZeroDivisionError):
        async with clone.transaction():
            await states.fold(shared, count_one)
            raise ZeroDivisionError
    assert not await states.exists(shared)
