"""What a round came to, counted from outside by SQL."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import LearnerError
from learner_app.testing.servers import ROLE
from tests.faults.cluster import Cluster
from tests.faults.load import ROW_CANARY, Book
from tests.faults.probe import Stall

PASSWORD_CANARY = "canary-word-91bd"
SLOT_SECONDS = 5.0

WRITTEN = "SELECT key FROM acked_a UNION ALL SELECT key FROM acked_single"
DUPLICATES = """
    SELECT count(*) FROM (
        SELECT key FROM acked_a GROUP BY key HAVING count(*) > 1
        UNION ALL SELECT key FROM acked_b GROUP BY key HAVING count(*) > 1
        UNION ALL SELECT key FROM acked_single GROUP BY key HAVING count(*) > 1) AS twice
"""
HALF_DONE = "SELECT count(*) FROM acked_a FULL JOIN acked_b USING (key) WHERE {} IS NULL"
IDLE = f"""
    SELECT count(*) FROM pg_stat_activity WHERE usename = '{ROLE}'
    AND state LIKE 'idle in transaction%' AND clock_timestamp() - state_change > interval '0.5 s'
"""


@dataclass
class Counts:
    """All of them have to be 0."""

    missing: int
    duplicates: int
    half_done: int
    failed_but_there: int
    untold_truth: int
    leaked_slots: int
    hung_calls: int
    idle_in_transaction: int
    secrets_in_logs: int
    stalls: int
    strangers: int
    details: list[str] = field(default_factory=list)

    def problems(self) -> dict[str, object]:
        found = {name: n for name, n in vars(self).items() if n and name != "details"}
        return {**found, "details": self.details} if found else {}


async def count(
    engine: DatabaseEngine,
    server: Cluster,
    book: Book,
    stalls: list[Stall],
    texts: Iterable[str],
    *,
    may_forget: bool,
) -> Counts:
    """Count after the load has stopped, with the pool still open.

    Args:
        engine: the one under test.
        server: where the rows have to be now.
        book: what the writers were told.
        stalls: of the event loop.
        texts: what was logged.
        may_forget: whether the server may not know an old transaction, as after a failover.
    """
    details = [f"{type(error).__name__}: {error}" for error in book.strangers]
    details += [*book.hung, *map(str, stalls)]
    lies = await _lies(engine, server, book, may_forget=may_forget)
    written = await _written(server)
    leaked = await _leaked(engine)
    secrets = [text for text in texts if PASSWORD_CANARY in text or ROW_CANARY in text]
    missing = [key for key in (*book.acknowledged, *book.called_back) if key not in written]
    ghosts = [key for key in book.failed if key in written]
    details += [*lies, *secrets[:2], *missing[:5], *ghosts[:5]]
    return Counts(
        missing=len(missing),
        duplicates=int(await _ask(server, DUPLICATES)),
        half_done=int(await _ask(server, HALF_DONE.format("acked_a.key")))
        + int(await _ask(server, HALF_DONE.format("acked_b.key"))),
        failed_but_there=len(ghosts),
        untold_truth=len(lies),
        leaked_slots=leaked,
        hung_calls=len(book.hung),
        idle_in_transaction=int(await _ask(server, IDLE)),
        secrets_in_logs=len(secrets),
        stalls=len(stalls),
        strangers=len(book.strangers),
        details=details,
    )


async def _lies(
    engine: DatabaseEngine, server: Cluster, book: Book, *, may_forget: bool
) -> list[str]:
    """Where ``was_committed`` and the rows disagree."""
    track_commit = {key: one for key, one in book.unknown.items() if one is not None}
    answers = {}
    for key, transaction_id in track_commit.items():
        try:
            answers[key] = await engine.was_committed(transaction_id)
        except LearnerError as error:
            return [f"was_committed: {error}"]
    written = await _written(server)
    return [
        f"was_committed says {said} of {key}"
        for key, said in answers.items()
        if said is not (key in written) and not (said is None and may_forget)
    ]


async def _leaked(engine: DatabaseEngine) -> int:
    """Slots that are held by nobody, and those of the maximum that cannot be had at once."""
    pool = engine.pool
    assert pool is not None
    leaked = len(pool.in_use)
    taken = await asyncio.gather(
        *(asyncio.wait_for(pool.acquire(), SLOT_SECONDS) for _ in range(pool.max_size)),
        return_exceptions=True,
    )
    for one in taken:
        if isinstance(one, BaseException):
            leaked += 1
        else:
            pool.release(one)
    return leaked


async def _written(server: Cluster) -> set[str]:
    return set((await _ask(server, WRITTEN)).splitlines())


async def _ask(server: Cluster, sql: str) -> str:
    return await asyncio.to_thread(server.execute, sql)
