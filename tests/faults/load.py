"""Twenty writers that keep book on what the layer told them."""

import asyncio
import random
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from piccolo.columns import Varchar
from piccolo.table import Table, create_table_class

from learner_app.database.engine import DatabaseEngine
from learner_app.database.retry import DEADLINE_SECONDS
from learner_app.errors import CommitUnknown, DatabaseError, TransactionId

WRITERS = 20
CALL_SECONDS = 8.0
"""A call that lasts longer counts as hung."""

RERUN_SECONDS = DEADLINE_SECONDS + 2
"""The same for run_transaction(), which begins tries for its own time."""

ROW_CANARY = "canary-row-5c1e"
COUNTERS = 4
TABLES = f"""
    DROP TABLE IF EXISTS acked_a, acked_b, acked_single, counters;
    CREATE TABLE acked_a (key text, canary text);
    CREATE TABLE acked_b (key text, canary text);
    CREATE TABLE acked_single (key text, canary text);
    CREATE TABLE counters (id int PRIMARY KEY, n int NOT NULL);
    INSERT INTO counters SELECT id, 0 FROM generate_series(1, {COUNTERS}) AS id;
    ALTER TABLE acked_a OWNER TO learner; ALTER TABLE acked_b OWNER TO learner;
    ALTER TABLE acked_single OWNER TO learner; ALTER TABLE counters OWNER TO learner;
"""
"""Without unique constraints, so that a write done twice can be counted."""

INSERT_A = "INSERT INTO acked_a VALUES ($1, $2)"
INSERT_B = "INSERT INTO acked_b VALUES ($1, $2)"
INSERT_BOTH = f"WITH a AS ({INSERT_A}) {INSERT_B}"

Way = Callable[["Writers", str], Awaitable[None]]


@dataclass
class Book:
    """What the writers were told; times are those of the loop."""

    acknowledged: list[str] = field(default_factory=list)
    unknown: dict[str, TransactionId | None] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    acks_at: list[float] = field(default_factory=list)
    failures: list[tuple[float, DatabaseError]] = field(default_factory=list)
    strangers: list[BaseException] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    longest_call: float = 0.0
    called_back: list[str] = field(default_factory=list)

    def told(self, key: str, started: float, error: BaseException | None) -> None:
        """How a call ended."""
        now = asyncio.get_running_loop().time()
        reruns = any(way.__name__ in key for way in (serializable, crossing))
        if now - started > (RERUN_SECONDS if reruns else CALL_SECONDS):
            self.hung.append(f"{key}: {now - started:.1f} s, {error!r}")
        self.longest_call = max(self.longest_call, now - started)
        if error is None:
            self.acknowledged.append(key)
            self.acks_at.append(now)
            return
        self.counted[type(error).__name__] += 1
        if isinstance(error, CommitUnknown):
            self.unknown[key] = error.transaction_id
            self.failures.append((now, error))
        elif isinstance(error, DatabaseError):
            self.failed.append(key)
            self.failures.append((now, error))
        else:
            self.strangers.append(error)

    def texts(self) -> list[str]:
        """Everything that an application would log of the failures."""
        return ["".join(traceback.format_exception(error)) for _, error in self.failures]


class Writers:
    """Write until told to stop; every key is tried once."""

    def __init__(self, engine: DatabaseEngine) -> None:
        self.engine = engine
        self.book = Book()
        self.single: type[Table] = create_table_class(
            "AckedSingle",
            class_kwargs={"tablename": "acked_single", "db": engine},
            class_members={"key": Varchar(primary_key=True), "canary": Varchar()},
        )
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._write(number, WAYS[number % len(WAYS)]))
            for number in range(WRITERS)
        ]

    async def stop(self) -> None:
        """Let all calls come to their end; those that do not are noted as hung."""
        self._stopping.set()
        _, pending = await asyncio.wait(self._tasks, timeout=RERUN_SECONDS + 1)
        for task in pending:
            self.book.hung.append(f"never ended: {task.get_name()}")
            task.cancel()
        if pending:
            await asyncio.wait(pending, timeout=CALL_SECONDS)

    async def _write(self, number: int, way: Way) -> None:
        loop = asyncio.get_running_loop()
        serial = 0
        while not self._stopping.is_set():
            serial += 1
            key, started, error = f"{number}-{way.__name__}-{serial}", loop.time(), None
            try:
                await way(self, key)
            except Exception as raised:  # noqa: BLE001  # the book judges it
                error = raised
            self.book.told(key, started, error)
            await asyncio.sleep(random.uniform(0.01, 0.05))

    async def pair(self, key: str) -> None:
        await self.engine.execute(INSERT_A, key, ROW_CANARY)
        await asyncio.sleep(random.uniform(0, 0.005))
        await self.engine.execute(INSERT_B, key, ROW_CANARY)


async def transaction(writers: Writers, key: str) -> None:
    async with writers.engine.transaction():
        await writers.pair(key)


async def track_commit(writers: Writers, key: str) -> None:
    async with writers.engine.transaction(track_commit=True):
        await writers.pair(key)


async def nested(writers: Writers, key: str) -> None:
    async with writers.engine.transaction():
        await writers.engine.execute(INSERT_A, key, ROW_CANARY)
        async with writers.engine.transaction():
            await writers.engine.execute(INSERT_B, key, ROW_CANARY)
        writers.engine.after_commit(lambda: writers.book.called_back.append(key))


async def serializable(writers: Writers, key: str) -> None:
    """Read and write a counter that others read and write: 40001."""
    which = random.randint(1, COUNTERS)

    async def unit() -> None:
        n = await writers.engine.fetchval("SELECT n FROM counters WHERE id = $1", which)
        await writers.pair(key)
        await writers.engine.execute("UPDATE counters SET n = $2 WHERE id = $1", which, n + 1)

    await writers.engine.run_transaction(unit, isolation="serializable")


async def crossing(writers: Writers, key: str) -> None:
    """Lock two counters in any order: 40P01."""
    first, second = random.sample(range(1, COUNTERS + 1), 2)

    async def unit() -> None:
        await writers.engine.execute("UPDATE counters SET n = n + 1 WHERE id = $1", first)
        await writers.pair(key)
        await writers.engine.execute("UPDATE counters SET n = n - 1 WHERE id = $1", second)

    await writers.engine.run_transaction(unit, track_commit=True)


async def autocommit(writers: Writers, key: str) -> None:
    await writers.engine.execute(INSERT_BOTH, key, ROW_CANARY)


async def piccolo(writers: Writers, key: str) -> None:
    await writers.single.insert(writers.single(key=key, canary=ROW_CANARY))


WAYS: list[Way] = [
    transaction,
    track_commit,
    nested,
    serializable,
    crossing,
    autocommit,
    piccolo,
]
