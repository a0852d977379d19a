"""Memory under a steady load: it levels off, and the number of live objects does not grow."""

import asyncio
import ctypes
import gc
import random
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from uuid import uuid4

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.database.health import check_database
from learner_app.errors import Conflict
from learner_app.settings import Settings
from tests.faults.cluster import Cluster
from tests.memory import memory_in_use

pytestmark = pytest.mark.faults

TABLE = "CREATE TABLE notes (id text PRIMARY KEY, body text); ALTER TABLE notes OWNER TO learner"
WORKERS = 12
SHORT_SECONDS = 25.0
WARM_UP_SECONDS = 10.0
SAMPLE_SECONDS = 5.0
OBJECTS_TOLERANCE = 300
"""Live objects that come and go with the statements under way at the time of a sample."""

BYTES_TOLERANCE = 1_000_000
"""Allocated memory that comes and goes with the statements under way."""


MALLINFO = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks")
MALLINFO += ("used", "free", "keepcost")


class _Allocated(ctypes.Structure):
    """``struct mallinfo2`` of glibc."""

    _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO)


_libc = ctypes.CDLL("libc.so.6")
_libc.mallinfo2.restype = _Allocated


def memory_allocated() -> int:
    """Bytes that are allocated by malloc, without what it keeps for later."""
    found = _libc.mallinfo2()
    return int(found.used + found.hblkhd)


@dataclass(frozen=True)
class Sample:
    """State of this process after ``seconds`` of load."""

    seconds: float
    resident: int
    allocated: int
    objects: int
    statements: int

    def __str__(self) -> str:
        return (
            f"{self.seconds:6.0f} s  {self.resident / 2**20:7.2f} MiB resident  "
            f"{self.allocated / 2**20:6.2f} MiB allocated  "
            f"{self.objects} objects  {self.statements} statements"
        )


class Load:
    """Reads, writes, transactions, errors, cancellations and health checks without a pause."""

    def __init__(self, engine: DatabaseEngine) -> None:
        self.statements = 0
        self._engine = engine
        self._is_stopped = False
        self._tasks = [asyncio.create_task(self._work()) for _ in range(WORKERS)]

    async def stop(self) -> None:
        self._is_stopped = True
        await asyncio.gather(*self._tasks)

    async def _work(self) -> None:
        while not self._is_stopped:
            key = uuid4().hex
            async with self._engine.transaction():
                await self._engine.execute("INSERT INTO notes VALUES ($1, $2)", key, "body")
                with suppress(Conflict):
                    async with self._engine.transaction():
                        await self._engine.execute("INSERT INTO notes VALUES ($1)", key)
            await self._engine.fetch("SELECT * FROM notes WHERE id = ANY($1::varchar[])", [key])
            await self._engine.execute("DELETE FROM notes WHERE id = $1", key)
            if random.random() < 0.02:
                await self._cancel_one()
                await check_database(self._engine)
            self.statements += 7

    async def _cancel_one(self) -> None:
        task = asyncio.create_task(self._engine.fetch("SELECT pg_sleep(0.2)"))
        await asyncio.sleep(random.uniform(0, 0.05))
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def engine(cluster: Cluster) -> AsyncIterator[DatabaseEngine]:
    cluster.execute(TABLE)
    engine = DatabaseEngine(cluster.url())
    engine.settings = Settings(db_pool_max=5, db_pool_age=20)
    async with engine.running():
        yield engine


@pytest.mark.long
async def test_memory_levels_off(engine: DatabaseEngine, soak_seconds: float | None) -> None:
    """Short by default; ``--soak --soak-minutes 15`` also compares the resident memory."""
    load = Load(engine)
    started = time.monotonic()
    samples: list[Sample] = []
    while time.monotonic() - started < (soak_seconds or SHORT_SECONDS):
        await asyncio.sleep(SAMPLE_SECONDS)
        seconds = time.monotonic() - started
        samples.append(sample(seconds, load))
        print(samples[-1], flush=True)
    await load.stop()
    settled = [one for one in samples if one.seconds > WARM_UP_SECONDS]
    assert settled[-1].statements > settled[0].statements
    assert_level([one.objects for one in settled], OBJECTS_TOLERANCE)
    assert_level([one.allocated for one in settled], BYTES_TOLERANCE)
    if soak_seconds:  # what malloc keeps grows ever more slowly
        first, middle, last = settled[0], settled[len(settled) // 2], settled[-1]
        assert last.resident - middle.resident < (middle.resident - first.resident) * 2 / 3


def sample(seconds: float, load: Load) -> Sample:
    gc.collect()
    objects = len(gc.get_objects())
    return Sample(seconds, memory_in_use(), memory_allocated(), objects, load.statements)


def assert_level(values: list[int], tolerance: float) -> None:
    """Fail when the second half lies above the first by more than the tolerance."""
    half = len(values) // 2
    assert median(values[half:]) - median(values[:half]) < tolerance, values
