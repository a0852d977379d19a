"""Rounds in which the contestants take turns, so that a slow moment of the machine hits all."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import memory
from benchmarks.data import DUPLICATE, NEW
from benchmarks.process import Process, TurnTaker
from benchmarks.server import Server
from benchmarks.summary import Result, Samples, summarise
from benchmarks.workloads import DELETE_NEW_EVENTS, KEPT, STREAMS, WORKLOADS, Workload

COUNT_CHECKED = f"""
SELECT count(*) FROM behavioral_events WHERE id LIKE $1 AND id NOT LIKE '%{DUPLICATE}'
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Results of a workload with a number of concurrent tasks."""

    workload: Workload
    tasks: int
    rounds: int
    operations: int
    """Operations of a slice."""
    results: list[Result]

    @property
    def name(self) -> str:
        return f"{self.workload.name}/{self.tasks}"


def check_equal(workload: Workload, processes: Sequence[Process], server: Server) -> None:
    """Raise if the operation has not the same result for all contestants."""
    expected = None
    for process in processes:
        if workload.name not in process.workloads:
            continue
        if workload.before_check:
            server.execute(workload.before_check)
        result = process.ask("check", workload=workload.name)
        if workload.is_bulk:
            result = server.fetch_value(COUNT_CHECKED, f"{NEW}{process.name}-check-%")
        if expected is None:
            expected = (process.name, result)
        elif result != expected[1]:
            raise RuntimeError(
                f"{workload.name}: {process.name} returns {difference(result, expected[1])} "
                f"of {expected[0]}"
            )


def measure(
    workload: Workload, tasks: int, rounds: int, turn_takers: Sequence[TurnTaker], server: Server
) -> Measured:
    """Measure a workload. In every round each contestant has one slice, in rotating order."""
    turns = deque(it for it in turn_takers if workload.name in it.workloads)
    for process in turns:
        process.ask("warm_up", workload=workload.name, tasks=tasks)
    server.execute("CHECKPOINT")
    samples = {process.name: Samples() for process in turns}
    operations = workload.operations
    for _ in range(rounds):
        for process in turns:
            took = process.ask("slice", workload=workload.name, tasks=tasks, operations=operations)
            own = samples[process.name]
            own.wall.append(took["wall"] / operations)
            if "cpu" in took:
                own.cpu.append(took["cpu"] / operations)
        turns.rotate(-1)
    server.execute(*workload.after)
    results = summarise(samples, workload.baseline)
    return Measured(workload, tasks, rounds, operations, results)


def measure_memory(processes: Sequence[Process], server: Server) -> dict[str, dict[str, float]]:
    """Return bytes per row that is kept, and bytes above the start at the peak of streams."""
    found = {}
    for name in KEPT:
        title = f"{WORKLOADS[name].title}, bytes per row"
        found[title] = {
            it.name: it.ask("row_memory", workload=name) for it in processes if name in it.workloads
        }
    for process in processes:
        for name, size in process.ask("type_memory").items():
            found[f"{name}, bytes per row"] = {process.name: size}
    for name in STREAMS if memory.is_measurable() else ():
        title = f"{WORKLOADS[name].title}, peak in bytes"
        found[title] = {
            it.name: it.ask("peak", workload=name) for it in processes if name in it.workloads
        }
    server.execute(*DELETE_NEW_EVENTS)
    return found


def difference(result: object, expected: object) -> str:
    """Return the first values that differ."""
    if isinstance(result, dict) and isinstance(expected, dict):
        for name in {**result, **expected}:
            if result.get(name) != expected.get(name):
                inner = difference(result.get(name), expected.get(name))
                return f"in the column {name} {inner}"
    if isinstance(result, list) and isinstance(expected, list) and len(result) == len(expected):
        for one, other in zip(result, expected, strict=True):
            if one != other:
                return difference(one, other)
    return f"{result!r} instead of {expected!r}"
