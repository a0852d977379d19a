"""Process of one contestant: does what the coordinator asks for, one JSON line at a time."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from benchmarks import memory
from benchmarks.address import Address
from benchmarks.contestants import contestant_class
from benchmarks.contestants.base import Contestant
from benchmarks.data import NEW, Sizes
from benchmarks.workloads import TASKS, WORKLOADS, Values, Workload

VOLATILE = frozenset({"created_at", "updated_at", "last_updated", "liked_at"})
"""Columns with the time of the write."""

WARM_UP_SECONDS = 0.1


class Worker:
    """Commands of the coordinator for one contestant."""

    def __init__(self, name: str, number: int, contestant: Contestant, sizes: Sizes) -> None:
        self._contestant = contestant
        self._prefix = f"{NEW}{name}-"
        self._values = Values(self._prefix, sizes, number)
        self._sizes = sizes

    async def check(self, workload: str) -> Any:
        """Return the result of one operation in a form that is equal for all contestants."""
        it = WORKLOADS[workload]
        values = Values(f"{self._prefix}check-", self._sizes, 0)
        async with self._contestant.task():
            result = await self._operation(it)(*it.arguments(values))
        return self._comparable(result)

    async def warm_up(self, workload: str, tasks: int) -> None:
        """Repeat a short operation until all its statements are prepared on all connections."""
        until = time.perf_counter() + WARM_UP_SECONDS
        it = WORKLOADS[workload]
        while it.is_short:
            await self._run(it, tasks, [it.arguments(self._values) for _ in range(TASKS)])
            if time.perf_counter() > until:
                return

    async def slice(self, workload: str, tasks: int, operations: int) -> dict[str, float]:
        """Repeat the operation and return seconds and CPU seconds of this process."""
        it = WORKLOADS[workload]
        arguments = [it.arguments(self._values) for _ in range(operations)]
        if it.is_short:  # the caches of the processor have the data of the contestant before
            await self._run(it, tasks, [it.arguments(self._values) for _ in range(tasks)])
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        await self._run(it, tasks, arguments)
        return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}

    async def row_memory(self, workload: str) -> float:
        """Return the bytes per row of results that are kept."""
        it = WORKLOADS[workload]
        operation = self._operation(it)
        async with self._contestant.task():
            await operation(*it.arguments(self._values))  # loads what later calls need
            arguments = [it.arguments(self._values) for _ in range(it.kept_results)]
            with memory.traced() as size:
                results = [await operation(*values) for values in arguments]
                return size() / sum(map(len, results))

    async def type_memory(self) -> dict[str, float]:
        """Return the bytes per row of all rows of the contestant's tables."""
        found = {}
        for name, stream in self._contestant.streams().items():
            with memory.traced() as size:
                rows = [row async for row in stream]
                found[name] = size() / len(rows)
        return found

    async def peak(self, workload: str) -> float:
        """Return the bytes above the start at the peak of an operation."""
        it = WORKLOADS[workload]
        operation = self._operation(it)
        async with self._contestant.task():
            await operation(*it.arguments(self._values))
            arguments = it.arguments(self._values)
            before = memory.start()
            await operation(*arguments)
            return memory.peak() - before

    def operations(self) -> list[str]:
        """Return the names of the workloads in which the contestant takes part."""
        return [it.name for it in WORKLOADS.values() if self._contestant.can(it.operation)]

    async def _run(self, workload: Workload, tasks: int, arguments: Sequence[Any]) -> None:
        operation = self._operation(workload)

        async def run(share: Sequence[Any]) -> None:
            async with self._contestant.task():
                for values in share:
                    await operation(*values)

        if tasks == 1:
            await run(arguments)
        else:
            await asyncio.gather(*(run(arguments[task::tasks]) for task in range(tasks)))

    def _operation(self, workload: Workload) -> Any:
        return getattr(self._contestant, workload.operation)

    def _comparable(self, result: Any) -> Any:
        if result is None or isinstance(result, int):
            return result
        if isinstance(result, list | tuple) and not hasattr(result, "_fields"):
            return [self._comparable(row) for row in result]
        fields = self._contestant.fields(result)
        return {name: self._plain(name, fields[name]) for name in sorted(fields)}

    def _plain(self, name: str, value: Any) -> Any:
        if name in VOLATILE and isinstance(value, datetime):
            return "a time"
        if isinstance(value, Decimal):
            return f"{value.normalize():f}"  # some return 0 for the 0.00 that is stored
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat()
        return value.removeprefix(self._prefix) if isinstance(value, str) else value


async def _serve(name: str, number: int, address: Address, sizes: Sizes) -> None:
    reader, write = await _connect()
    try:
        contestant = contestant_class(name)()
    except ModuleNotFoundError as error:
        write({"missing": error.name})
        return
    await contestant.start(address)
    worker = Worker(name, number, contestant, sizes)
    packages = {package: version(package) for package in contestant.packages}
    write({"packages": packages, "workloads": worker.operations(), "title": contestant.title})
    while line := await reader.readline():
        command, arguments = json.loads(line)
        write(await getattr(worker, command)(**arguments))
    await contestant.stop()


async def _connect() -> tuple[asyncio.StreamReader, Any]:
    """Return standard input and a function that writes a line to standard output.

    Later prints of libraries go to standard error.
    """
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader, lambda value: output.write(json.dumps(value) + "\n")


def main() -> None:
    name, number, address, sizes, uses_uvloop = json.loads(sys.argv[1])
    if checkout := name.partition("@")[2]:
        # The package `benchmarks` is imported already, so only `learner_app` comes from there.
        sys.path.insert(0, checkout)
    loop_factory = None
    if uses_uvloop:
        import uvloop

        loop_factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_serve(name, number, Address(**address), Sizes(**sizes)))


if __name__ == "__main__":
    main()
