"""Looking on from beside the load: the health of the database and the pace of the event loop."""

import asyncio
import gc
import logging
import sys
import threading
import time
import traceback
from typing import NamedTuple, Self

from learner_app.database.engine import DatabaseEngine
from learner_app.database.health import check_database

PROBE_EVERY = 0.1
STALL_SECONDS = 0.1


class Look(NamedTuple):
    """One answer of the health check; times are those of the loop."""

    started: float
    ended: float
    status: int
    reason: str | None

    @property
    def seconds(self) -> float:
        return self.ended - self.started


class HealthProbe:
    """Asks for the health every tenth of a second, as ``GET /health/db`` does."""

    def __init__(self, engine: DatabaseEngine) -> None:
        self.looks: list[Look] = []
        self._engine = engine
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()

    def seconds_to(self, status: int, since: float) -> float | None:
        """From that time to the first such answer, asked for after it."""
        times = [
            one.ended - since
            for one in self.looks
            if one.status == status and one.started >= since - PROBE_EVERY and one.ended >= since
        ]
        return min(times, default=None)

    def reasons(self, since: float, until: float) -> set[str | None]:
        return {one.reason for one in self.looks if since <= one.started and one.ended <= until}

    @property
    def longest(self) -> float:
        return max((one.seconds for one in self.looks), default=0.0)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            health = await check_database(self._engine)
            status = 503 if health.status == "unavailable" else 200
            self.looks.append(Look(started, loop.time(), status, health.reason))
            await asyncio.sleep(PROBE_EVERY)


class Stall(NamedTuple):
    """A time in which the event loop ran nothing else."""

    seconds: float
    worked: float
    """Processor time that the loop's thread had meanwhile; without any the machine was busy."""
    places: str

    def __str__(self) -> str:
        wall, worked = self.seconds * 1000, self.worked * 1000
        return f"stall of {wall:.0f} ms, {worked:.0f} ms of them at work: {self.places}"


class LoopWatch:
    """Notes for how long the event loop ran nothing else, and where it was meanwhile."""

    def __init__(self) -> None:
        self.stalls: list[Stall] = []
        self.longest = 0.0
        self._places: list[str] = []
        self._beat = time.monotonic()
        self._collects_since = 0.0
        self._stopping = threading.Event()
        self._loop_thread = threading.get_ident()
        gc.callbacks.append(self._collecting)
        self._task = asyncio.create_task(self._run())
        self._thread = threading.Thread(target=self._look_on, name="LoopWatch", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        self._task.cancel()
        self._stopping.set()
        await asyncio.to_thread(self._thread.join)
        gc.callbacks.remove(self._collecting)

    async def _run(self) -> None:
        while True:
            self._beat, worked = time.monotonic(), time.thread_time()
            self._places.clear()
            await asyncio.sleep(0.01)
            late = time.monotonic() - self._beat - 0.01
            self.longest = max(self.longest, late)
            if late > STALL_SECONDS:
                worked = time.thread_time() - worked
                self.stalls.append(Stall(late, worked, " | ".join(self._places)))

    def _look_on(self) -> None:
        while not self._stopping.wait(0.02):
            if time.monotonic() - self._beat > STALL_SECONDS / 2:
                frame = sys._current_frames().get(self._loop_thread)
                lines = traceback.extract_stack(frame, 4)
                self._places.append(" > ".join(f"{one.filename}:{one.lineno}" for one in lines))

    def _collecting(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collects_since = time.monotonic()
        elif (seconds := time.monotonic() - self._collects_since) > STALL_SECONDS / 4:
            self._places.append(f"collected garbage {info['generation']} for {seconds:.3f} s")


class Records(logging.Handler):
    """Everything that is logged, as text with tracebacks."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))

    def __enter__(self) -> Self:
        self._level = logging.getLogger().level
        logging.getLogger().addHandler(self)
        logging.getLogger().setLevel(logging.DEBUG)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)
        logging.getLogger().setLevel(self._level)
