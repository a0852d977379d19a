"""Observers: what they are told, and that they cannot break a statement."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.database.instrumentation import (
    CheckoutEvent,
    ErrorEvent,
    ExecuteEvent,
    TransactionEvent,
)
from learner_app.errors import (
    Conflict,
    PoolExhausted,
    SerializationFailure,
    StatementRefused,
)
from tests.database.pools import reopen

INSERT = "INSERT INTO sessions (id) VALUES ($1)"
CANARY = "canary-5b1f"


@dataclass
class Recorder:
    """Observer that keeps all events."""

    checkouts: list[CheckoutEvent] = field(default_factory=list)
    executions: list[ExecuteEvent] = field(default_factory=list)
    transactions: list[TransactionEvent] = field(default_factory=list)
    errors: list[ErrorEvent] = field(default_factory=list)

    def checkout(self, event: CheckoutEvent) -> None:
        self.checkouts.append(event)

    def execute(self, event: ExecuteEvent) -> None:
        self.executions.append(event)

    def transaction(self, event: TransactionEvent) -> None:
        self.transactions.append(event)

    def error(self, event: ErrorEvent) -> None:
        self.errors.append(event)


@pytest.fixture
async def recorder(clone: DatabaseEngine) -> AsyncIterator[Recorder]:
    recorder = Recorder()
    clone.observers.add(recorder)
    yield recorder
    clone.observers.remove(recorder)


async def test_statements_are_reported_with_name_and_duration(
    clone: DatabaseEngine, recorder: Recorder
):
    await clone.fetchval("SELECT pg_sleep(0.05)", name="test.sleep")
    await clone.fetch("SELECT 1", name="a")
    await clone.fetchrow("SELECT 1", name="b")
    await clone.execute("SELECT 1", name="c")
    await clone.perform(lambda it: it.fetchval("SELECT 1"), "SELECT 1", name="d")
    await clone.fetchval("SELECT 1")
    first = recorder.executions[0]
    assert 0.05 <= first.seconds < 5
    assert (first.attempts, first.error, first.sqlstate) == (1, None, None)
    assert (first.replica, first.in_transaction) == (None, False)
    assert [one.name for one in recorder.executions] == ["test.sleep", "a", "b", "c", "d", None]
    assert len(recorder.checkouts) == 6
    assert recorder.errors == recorder.transactions == []


async def test_errors_are_reported_with_their_sqlstate_and_without_values(
    clone: DatabaseEngine, recorder: Recorder
):
    await clone.execute(INSERT, CANARY, name="session.add")
    with pytest.raises(Conflict):
        await clone.execute(INSERT, CANARY, name="session.add")
    failed = recorder.executions[-1]
    assert (failed.name, failed.sqlstate) == ("session.add", "23505")
    assert failed.error is not None
    assert issubclass(failed.error, Conflict)
    (error,) = recorder.errors
    assert (error.name, error.sqlstate, error.is_retried) == ("session.add", "23505", False)
    assert CANARY not in repr(recorder)
    assert INSERT not in repr(recorder)


async def test_a_cancelled_statement_is_reported(clone: DatabaseEngine, recorder: Recorder):
    task = asyncio.create_task(clone.fetchval("SELECT pg_sleep(30)"))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (one,) = recorder.executions
    assert one.error is asyncio.CancelledError
    assert recorder.errors == []


async def test_transactions_are_reported_once_with_their_outcome(
    clone: DatabaseEngine, recorder: Recorder
):
    async with clone.transaction():
        await clone.execute(INSERT, "a", name="session.add")
        async with clone.transaction():
            await clone.execute(INSERT, "b")
    (committed,) = recorder.transactions
    assert (committed.outcome, committed.error) == ("committed", None)
    assert committed.seconds > 0
    assert [one.in_transaction for one in recorder.executions] == [True, True]
    with pytest.raises(ZeroDivisionError):
        async with clone.transaction():
            raise ZeroDivisionError
    assert recorder.transactions[1].outcome == "rolled back"
    assert recorder.transactions[1].error is ZeroDivisionError
    async with clone.transaction() as transaction:
        await transaction.rollback()
    assert recorder.transactions[2].outcome == "rolled back"
    assert len(recorder.checkouts) == 3


async def test_retries_are_reported(clone: DatabaseEngine, recorder: Recorder):
    """A read whose connection breaks, and a unit that cannot be serialized at first."""
    await reopen(clone, db_pool_min=1, db_pool_max=1)
    other = DatabaseEngine(clone.url, needs_pool=False)
    pid = await clone.fetchval("SELECT pg_backend_pid()")
    assert await other.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    await clone.fetchval("SELECT 1", name="read")
    retried = [one for one in recorder.errors if one.is_retried]
    read = recorder.executions[-1]
    assert (read.error, read.attempts) == (None, 1 + len(retried))
    attempts = 0

    async def unit() -> None:
        nonlocal attempts
        attempts += 1
        await clone.execute(INSERT, "s")
        if attempts < 3:
            raise SerializationFailure("as if", sqlstate="40001")

    recorder.errors.clear()
    recorder.transactions.clear()
    await clone.run_transaction(unit)
    assert [(one.sqlstate, one.is_retried) for one in recorder.errors] == [("40001", True)] * 2
    outcomes = [one.outcome for one in recorder.transactions]
    assert outcomes == ["rolled back", "rolled back", "committed"]
    assert recorder.transactions[0].sqlstate == "40001"


async def test_a_checkout_that_fails_is_reported(small_pool: DatabaseEngine, recorder: Recorder):
    async with small_pool.connection(), small_pool.connection():
        with pytest.raises(PoolExhausted):
            await small_pool.fetchval("SELECT 1", name="late")
    failed = recorder.checkouts[-1]
    assert failed.error is PoolExhausted
    assert 0.2 < failed.seconds < 5
    assert [(one.name, one.error) for one in recorder.errors] == [("late", PoolExhausted)]


async def test_replicas_report_under_their_name(clone: DatabaseEngine, recorder: Recorder):
    from pydantic import SecretStr

    await reopen(clone, db_replicas=SecretStr(f"reports={clone.url}"))
    await clone.replicas["reports"].fetchval("SELECT 1")
    assert {one.replica for one in recorder.executions} == {"reports"}
    assert "reports" in {one.replica for one in recorder.checkouts}


async def test_an_observer_that_raises_breaks_nothing(
    clone: DatabaseEngine, recorder: Recorder, caplog: pytest.LogCaptureFixture
):
    class Broken(Recorder):
        def __getattribute__(self, name: str) -> Any:
            raise ZeroDivisionError

    broken = Broken()
    clone.observers.remove(recorder)
    clone.observers.add(broken)
    clone.observers.add(recorder)
    async with clone.transaction():
        assert await clone.fetchval("SELECT 1") == 1
    with pytest.raises(StatementRefused):
        await clone.fetch("SELECT nonsense")
    clone.observers.remove(broken)
    assert len(recorder.transactions) == 1
    assert [one.error is None for one in recorder.executions] == [True, False]
    records = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert records
    assert "an observer of the database failed" in records[0].getMessage()


async def test_removed_observers_hear_nothing(clone: DatabaseEngine, recorder: Recorder):
    clone.observers.remove(recorder)
    clone.observers.remove(recorder)
    await clone.fetchval("SELECT 1")
    assert recorder.executions == recorder.checkouts == []
