"""Load, probe, fault and verdict put together."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from learner_app.database.engine import DatabaseEngine
from learner_app.database.health import check_database
from learner_app.settings import Settings
from tests.faults.cluster import Cluster
from tests.faults.load import TABLES, Book, Writers
from tests.faults.pgbouncer import PgBouncer
from tests.faults.probe import HealthProbe, LoopWatch, Records
from tests.faults.proxy import TcpProxy
from tests.faults.verdict import Counts, count

CALM_SECONDS = 1.5
AFTER_SECONDS = 3.5
FIRST_ACK_SECONDS = 1.0
LAST_FAILURE_SECONDS = 3.0
LOOK_SECONDS = 1.0
STATUS_SECONDS = 2.0
CLOSE_SECONDS = 6.0


@dataclass
class Bench:
    """An engine and what stands between it and the rows."""

    engine: DatabaseEngine
    cluster: Cluster
    """Where the rows are; a failover changes it."""
    proxy: TcpProxy
    bouncer: PgBouncer | None = None
    replica: Cluster | None = None
    provoked: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """What goes wrong, and what has to be seen of it."""

    name: str
    how: Callable[[Bench, Writers], AbstractAsyncContextManager[None]]
    """Entering breaks, leaving mends."""
    seconds: float = 3.0
    reasons: frozenset[str] = frozenset()
    """What the health check says; empty where the database stays usable."""
    bites: bool = True
    """Whether it must break connections, lest it was no fault."""
    may_forget: bool = False
    """Whether the server after it knows nothing of transactions before it."""


@dataclass
class Measures:
    """What a round showed; times in seconds, from the begin or the end of the fault."""

    name: str
    book: Book
    counts: Counts
    first_ack: float | None
    last_failure: float
    to_503: float | None
    to_200: float | None
    longest_look: float
    longest_stall: float
    wrong_looks: list[str]
    reconnected: bool

    def line(self) -> str:
        def seconds(value: float | None) -> str:
            return "-" if value is None else f"{value:.2f}"

        failures = ", ".join(f"{n} {name}" for name, n in sorted(self.book.counted.items()))
        return (
            f"{self.name:28} acks {len(self.book.acknowledged):5} "
            f"first ack {seconds(self.first_ack)} last failure {seconds(self.last_failure)} | "
            f"503 {seconds(self.to_503)} 200 {seconds(self.to_200)} "
            f"look {seconds(self.longest_look)} | call {self.book.longest_call:.1f} "
            f"stall {self.longest_stall * 1000:.0f} ms | {failures or 'no failures'}"
        )

    def problems(self, fault: Fault) -> dict[str, object]:
        """Where the requirement is not met."""
        bad = self.counts.problems()
        if self.first_ack is None or self.first_ack > FIRST_ACK_SECONDS:
            bad["first_ack"] = self.first_ack
        if self.last_failure > LAST_FAILURE_SECONDS:
            bad["last_failure"] = self.last_failure
        if self.longest_look >= LOOK_SECONDS:
            bad["longest_look"] = self.longest_look
        if fault.reasons and (self.to_503 is None or self.to_503 > STATUS_SECONDS):
            bad["to_503"] = self.to_503
        if self.to_200 is None or self.to_200 > STATUS_SECONDS:
            bad["to_200"] = self.to_200
        if self.wrong_looks:
            bad["wrong_looks"] = self.wrong_looks
        if fault.bites and not self.reconnected:
            bad["bites"] = "no connection had to be replaced: there was no fault"
        return bad


measured: list[Measures] = []
"""Of the whole run, for its summary."""


@asynccontextmanager
async def open_bench(
    cluster: Cluster, proxy: TcpProxy, url: str | None = None, **settings: Any
) -> AsyncIterator[Bench]:
    """An engine with the default time-outs, on new tables."""
    await asyncio.to_thread(cluster.execute, TABLES)
    engine = DatabaseEngine(url or cluster.url(port=proxy.port))
    engine.settings = Settings(db_pool_max=10, **settings)
    await engine.start_connection_pool()
    try:
        yield Bench(engine, cluster, proxy)
    finally:
        async with asyncio.timeout(CLOSE_SECONDS):
            await engine.close_connection_pool()


async def run_round(bench: Bench, fault: Fault) -> Measures:
    """The load, the fault in the middle of it, the verdict; fails where one is not met."""
    health = await check_database(bench.engine)
    assert health.reason is None, health
    loop = asyncio.get_running_loop()
    gc.collect()
    gc.freeze()  # the heap of pytest is not the layer's; what comes from now on is collected
    writers = Writers(bench.engine)
    with Records() as records:
        probe, watch = HealthProbe(bench.engine), LoopWatch()
        writers.start()
        await asyncio.sleep(CALM_SECONDS)
        begin, before = loop.time(), len(records.texts)
        async with fault.how(bench, writers):
            await asyncio.sleep(max(0, fault.seconds - (loop.time() - begin)))
            mending = loop.time()
        end = loop.time()
        await asyncio.sleep(AFTER_SECONDS)
        await watch.stop()
        await probe.stop()
        await writers.stop()
        book = writers.book
        counts = await count(
            bench.engine,
            bench.cluster,
            book,
            watch.stalls,
            [*records.texts, *book.texts()],
            may_forget=fault.may_forget,
        )
    measures = Measures(
        name=fault.name,
        book=book,
        counts=counts,
        first_ack=min((at - end for at in book.acks_at if at > end), default=None),
        last_failure=max((at - end for at, _ in book.failures if at > end), default=0.0),
        to_503=probe.seconds_to(503, begin),
        to_200=probe.seconds_to(200, end),
        longest_look=probe.longest,
        longest_stall=watch.longest,
        reconnected=any(": connected (" in text for text in records.texts[before:]),
        wrong_looks=_wrong_looks(probe, fault, begin, mending, end),
    )
    gc.unfreeze()
    measured.append(measures)
    problems = measures.problems(fault)
    assert not problems, (fault.name, problems)
    return measures


def _wrong_looks(
    probe: HealthProbe, fault: Fault, begin: float, mending: float, end: float
) -> list[str]:
    """Answers that are not what the fault is, from two seconds after its begin and its end."""
    wrong = []
    for one in probe.looks:
        if one.ended < begin or one.started > end + STATUS_SECONDS:
            allowed: frozenset[str | None] = frozenset({None})
        elif fault.reasons and begin + STATUS_SECONDS < one.started and one.ended < mending:
            allowed = frozenset(fault.reasons)
        elif fault.reasons or fault.bites:
            continue
        else:
            allowed = frozenset({None, *fault.reasons})
        if one.reason not in allowed:
            wrong.append(f"{one.reason} at {one.started - begin:+.2f} s, end {end - begin:+.2f} s")
    return wrong[:5]
