"""Looking on from beside the load: the health of the database and the pace of the event loop."""

import asyncio
import logging
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


class LoopWatch:
    """Notes for how long the event loop ran nothing else."""

    def __init__(self) -> None:
        self.stalls: list[tuple[float, float]] = []
        self.longest = 0.0
        self._task = asyncio.create_task(self._run())

    def stop(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            await asyncio.sleep(0.01)
            late = loop.time() - started - 0.01
            self.longest = max(self.longest, late)
            if late > STALL_SECONDS:
                self.stalls.append((started, late))


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
