"""Start-up times, and requests per second of the health route, in interleaved rounds."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

from benchmarks.server import LOCALHOST, free_port

ROUNDS = 3
READY_SECONDS = 30
LOAD_SECONDS = 1.5
CONNECTIONS = (1, 20)

IMPORTS = {
    "learner_app": "learner_app.listening.repositories",
    "asyncpg": "asyncpg",
    "SQLAlchemy ORM": "sqlalchemy.ext.asyncio, sqlalchemy.orm, asyncpg",
    "Advanced Alchemy": "advanced_alchemy.repository, asyncpg",
    "Tortoise ORM": "tortoise.models, tortoise.backends.asyncpg",
    "Piccolo": "piccolo.table, piccolo.engine.postgres",
    "Django": "django.db.models, django.db.backends.postgresql.base",
}
"""Modules that a user of each library imports."""

Result = dict[str, float]


def measure_startup(url: str) -> Result:
    """Return the median seconds from the start of a program until its end or first answer."""
    python = sys.executable
    programs: dict[str, Callable[[], float]] = {
        f"import, {title}": _seconds_of([python, "-c", f"import {modules}"])
        for title, modules in IMPORTS.items()
    }
    programs["python -c pass"] = _seconds_of([python, "-c", "pass"])
    programs["learner --help"] = _seconds_of([python, "-m", "learner_app", "--help"])
    programs["web worker ready"] = lambda: _seconds_until_ready(url)
    samples: dict[str, list[float]] = {name: [] for name in programs}
    for round_ in range(ROUNDS + 1):
        for name, measure in programs.items():
            seconds = measure()
            if round_:  # the first round writes byte code and fills the caches
                samples[name].append(seconds)
    return {name: median(seconds) for name, seconds in samples.items()}


def measure_health(url: str) -> Result:
    """Return requests per second of the health routes, as medians of the rounds.

    ``/health`` does not use the database: it is the limit of the web server and this client.
    """
    cases = [(path, number) for path in ("/health/db", "/health") for number in CONNECTIONS]
    samples: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
    with _web_worker(url) as port:
        for _ in range(ROUNDS):
            for path, number in cases:
                samples[path, number].append(asyncio.run(_load(port, path, number)))
    return {
        f"{path}, {number} connection{'s' if number > 1 else ''}": median(rates)
        for (path, number), rates in samples.items()
    }


def _seconds_of(command: list[str]) -> Callable[[], float]:
    def measure() -> float:
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    return measure


def _seconds_until_ready(url: str) -> float:
    began = time.perf_counter()
    with _web_worker(url):
        return time.perf_counter() - began


@contextmanager
def _web_worker(url: str) -> Iterator[int]:
    """Start uvicorn with the web application and yield its port once the database is usable."""
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "learner_app.web.app:app"),
            *("--port", str(port), "--log-level", "warning", "--no-access-log"),
        ],
        env={**os.environ, "DATABASE_URL": url},
    )
    try:
        _wait(f"http://{LOCALHOST}:{port}/health/db", process)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310  # our own URL
                response.read()
                return
        except OSError:
            time.sleep(0.005)
    raise RuntimeError("the web worker does not answer, its error is above")


async def _load(port: int, path: str, connections: int) -> float:
    """Return the requests per second that a number of kept-alive connections reach together."""
    request = f"GET {path} HTTP/1.1\r\nHost: {LOCALHOST}\r\n\r\n".encode()
    loop = asyncio.get_running_loop()
    end = loop.time() + LOAD_SECONDS

    async def ask() -> int:
        reader, writer = await asyncio.open_connection(LOCALHOST, port)
        answers = 0
        while loop.time() < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{path}: {head.splitlines()[0].decode()}")
            length = int(head.lower().partition(b"content-length:")[2].split(None, 1)[0])
            await reader.readexactly(length)
            answers += 1
        writer.close()
        return answers

    began = loop.time()
    answers = sum(await asyncio.gather(*(ask() for _ in range(connections))))
    return answers / (loop.time() - began)
