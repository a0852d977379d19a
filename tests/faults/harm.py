"""The faults themselves: each breaks on entry and mends at the exit, off the event loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from learner_app.errors import DeadlockDetected, SerializationFailure
from tests.faults.bench import Bench, Fault
from tests.faults.cancelling import cancel_at_random
from tests.faults.load import Writers

off_loop = asyncio.to_thread


@asynccontextmanager
async def restarted(bench: Bench, _: Writers) -> AsyncIterator[None]:
    await off_loop(bench.cluster.restart)
    yield


@asynccontextmanager
async def stopped(bench: Bench, _: Writers) -> AsyncIterator[None]:
    await off_loop(bench.cluster.stop)
    yield
    await off_loop(bench.cluster.start)


@asynccontextmanager
async def killed(bench: Bench, _: Writers) -> AsyncIterator[None]:
    await off_loop(bench.cluster.kill)
    yield
    await off_loop(bench.cluster.start)


@asynccontextmanager
async def terminated(bench: Bench, _: Writers) -> AsyncIterator[None]:
    for _number in range(3):
        assert await off_loop(bench.cluster.terminate_backends)
        await asyncio.sleep(0.2)
    yield


@asynccontextmanager
async def cut(bench: Bench, _: Writers) -> AsyncIterator[None]:
    await off_loop(bench.proxy.refuse)
    yield
    await off_loop(bench.proxy.heal)


@asynccontextmanager
async def resumed_hole(bench: Bench, _: Writers) -> AsyncIterator[None]:
    await off_loop(lambda: bench.proxy.black_hole(resume=True))
    yield
    await off_loop(bench.proxy.heal)


@asynccontextmanager
async def lost_hole(bench: Bench, _: Writers) -> AsyncIterator[None]:
    await off_loop(bench.proxy.black_hole)
    yield
    await off_loop(bench.proxy.heal)


@asynccontextmanager
async def exhausted(bench: Bench, _: Writers) -> AsyncIterator[None]:
    pool = bench.engine.pool
    assert pool is not None
    async with AsyncExitStack() as stack:
        for taken in await asyncio.gather(
            *(bench.engine.connections.acquire() for _ in range(pool.max_size))
        ):
            stack.push_async_callback(bench.engine.connections.release, taken)
        yield


@asynccontextmanager
async def promoted(bench: Bench, _: Writers) -> AsyncIterator[None]:
    """The primary is killed, its synchronous replica takes over after a while."""
    assert bench.replica
    await off_loop(bench.cluster.kill)
    yield
    await off_loop(bench.replica.promote)
    bench.cluster, bench.replica = bench.replica, None


@asynccontextmanager
async def demoted(bench: Bench, _: Writers) -> AsyncIterator[None]:
    """The address still leads to the old primary, which only reads; then to the new one."""
    primary, replica = bench.cluster, bench.replica
    assert replica
    await off_loop(primary.demote, serve=False)
    await off_loop(replica.promote)
    await off_loop(primary.follow, replica)
    await off_loop(primary.start)
    yield
    await off_loop(bench.proxy.point_to, replica.address)
    bench.cluster, bench.replica = replica, primary


@asynccontextmanager
async def conflicting(bench: Bench, _: Writers) -> AsyncIterator[None]:
    engine = bench.engine
    change = "UPDATE counters SET n = n + 1 WHERE id = $1"

    async def cross(first: int, second: int) -> None:
        async with engine.transaction():
            await engine.execute(change, first)
            await asyncio.sleep(0.1)
            await engine.execute(change, second)

    async def skew(which: int) -> None:
        async with engine.transaction(isolation="serializable"):
            n = await engine.fetchval("SELECT n FROM counters WHERE id = $1", which)
            await asyncio.sleep(0.05)
            await engine.execute("UPDATE counters SET n = $2 WHERE id = $1", which, n + 1)

    told: list[Any] = []
    for _number in range(3):
        work = (cross(1, 2), cross(2, 1), skew(3), skew(3), skew(4), skew(4))
        told += await asyncio.gather(*work, return_exceptions=True)
    for kind in (DeadlockDetected, SerializationFailure):
        bench.provoked[kind.__name__] = sum(isinstance(one, kind) for one in told)
    strange = [one for one in told if one and not getattr(one, "retry", False)]
    assert not strange, strange
    assert all(bench.provoked.values()), bench.provoked
    yield


@asynccontextmanager
async def cancelled(_: Bench, writers: Writers) -> AsyncIterator[None]:
    await cancel_at_random(writers)
    yield


@asynccontextmanager
async def commits_cut_before(bench: Bench, _: Writers) -> AsyncIterator[None]:
    await off_loop(bench.proxy.cut_before_commit, 30)
    yield
    assert bench.proxy.commits_cut >= 30
    await off_loop(bench.proxy.heal)


@asynccontextmanager
async def commits_cut_after(bench: Bench, _: Writers) -> AsyncIterator[None]:
    await off_loop(bench.proxy.cut_after_commit, 30)
    yield
    assert bench.proxy.commits_cut >= 30
    await off_loop(bench.proxy.heal)


@asynccontextmanager
async def bouncer_restarted(bench: Bench, _: Writers) -> AsyncIterator[None]:
    assert bench.bouncer
    await off_loop(bench.bouncer.restart)
    yield


@asynccontextmanager
async def bouncer_killed(bench: Bench, _: Writers) -> AsyncIterator[None]:
    assert bench.bouncer
    await off_loop(bench.bouncer.kill)
    yield
    await off_loop(bench.bouncer.start)


AWAY = frozenset({"unreachable"})
NO_ANSWER = frozenset({"timeout"})

RESTARTED = Fault("server restarted fast", restarted, seconds=0)
STOPPED = Fault("server stopped", stopped, reasons=AWAY)
KILLED = Fault("server killed", killed, reasons=AWAY)
TERMINATED = Fault("backends terminated", terminated, seconds=0)
CUT = Fault("network cut", cut, reasons=AWAY)
RESUMED_HOLE = Fault("black hole, flows on", resumed_hole, reasons=NO_ANSWER, bites=False)
LOST_HOLE = Fault("black hole, lost", lost_hole, reasons=NO_ANSWER)
EXHAUSTED = Fault("pool exhausted", exhausted, reasons=frozenset({"pool_exhausted"}), bites=False)
CONFLICTING = Fault("deadlocks, serialization", conflicting, seconds=0, bites=False)
CANCELLED = Fault("300 cancellations", cancelled, seconds=0, bites=False)
CUT_BEFORE = Fault("cut before COMMIT", commits_cut_before, seconds=2)
CUT_AFTER = Fault("cut after COMMIT", commits_cut_after, seconds=2)

PROMOTED = Fault(
    "failover, primary killed",
    promoted,
    reasons=frozenset({"read_only", "unreachable"}),
    may_forget=True,
)
DEMOTED = Fault(
    "failover, old one reads",
    demoted,
    seconds=5,
    reasons=frozenset({"read_only"}),
    may_forget=True,
)

ONE_SERVER = [
    RESTARTED,
    STOPPED,
    KILLED,
    TERMINATED,
    CUT,
    RESUMED_HOLE,
    LOST_HOLE,
    EXHAUSTED,
    CONFLICTING,
    CANCELLED,
    CUT_BEFORE,
    CUT_AFTER,
]

BEHIND = frozenset({"timeout", "unreachable"})
BOUNCER_RESTARTED = Fault("bouncer: restarted", bouncer_restarted, seconds=0)
BOUNCER_KILLED = Fault("bouncer: killed", bouncer_killed, reasons=AWAY)
SERVER_RESTARTED = Fault("bouncer: server restarted", restarted, seconds=0)
SERVER_KILLED = Fault("bouncer: server killed", killed, reasons=BEHIND)
BOUNCER_CUT_AFTER = Fault("bouncer: cut after COMMIT", commits_cut_after, seconds=2)
WITH_BOUNCER = [
    BOUNCER_RESTARTED,
    BOUNCER_KILLED,
    SERVER_RESTARTED,
    SERVER_KILLED,
    BOUNCER_CUT_AFTER,
]
