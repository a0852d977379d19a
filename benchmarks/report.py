"""Tables of results on the terminal, and the JSON file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.contestants import OURS
from benchmarks.rounds import Measured
from benchmarks.summary import Result

MILLISECOND, SECOND = 1e3, 1e6
"""In microseconds."""


def print_measured(measured: Measured) -> None:
    """Print the results of a workload, the fastest contestant first."""
    tasks = "sequential" if measured.tasks == 1 else f"{measured.tasks} concurrent tasks"
    table = Table(
        title=f"{measured.workload.name}: {measured.workload.title}, {tasks} "
        f"({measured.workload.baseline} = 1.00)",
        title_justify="left",
    )
    table.add_column("contestant")
    for heading in ("time", "quartiles", "CPU", "per operation", "CPU per operation"):
        table.add_column(heading, justify="right")
    for result in sorted(measured.results, key=lambda it: it.wall):
        table.add_row(*_cells(result), style="bold" if result.contestant == OURS else None)
    Console(width=100).print(table)


def print_numbers(title: str, numbers: Mapping[str, float], *, digits: int = 0) -> None:
    """Print a table with one number per line."""
    table = Table(title=title, title_justify="left", min_width=40, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, number in numbers.items():
        table.add_row(name, f"{number:,.{digits}f}")
    Console(width=100).print(table)


def print_memory(memory: Mapping[str, Mapping[str, float]], contestants: Sequence[str]) -> None:
    """Print the bytes of the contestants, one line for each kind of memory."""
    table = Table(title="memory in bytes", title_justify="left")
    table.add_column("")
    for name in contestants:
        table.add_column(name, justify="right")
    for title, numbers in memory.items():
        table.add_row(
            title, *(f"{numbers[it]:,.0f}" if it in numbers else "" for it in contestants)
        )
    Console(width=140).print(table)


def _cells(result: Result) -> Sequence[str]:
    has_quartiles = result.low is not None and result.high is not None
    return (
        result.contestant,
        ratio(result.ratio),
        f"{result.low:.2f} to {result.high:.2f}" if has_quartiles else "",
        ratio(result.cpu_ratio),
        duration(result.wall),
        duration(result.cpu),
    )


def ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def duration(seconds: float | None) -> str:
    """Return a time with a unit, as ``250 µs``."""
    if seconds is None:
        return ""
    microseconds = seconds * 1e6
    if microseconds < MILLISECOND:
        return f"{microseconds:.0f} µs"
    return f"{seconds * 1e3:.1f} ms" if microseconds < SECOND else f"{seconds:.2f} s"


def as_json(measured: Sequence[Measured], **about: Any) -> dict[str, Any]:
    """Return all results with what is needed to compare them with those of another run."""
    return {
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        **about,
        "workloads": {
            it.name: {
                "title": it.workload.title,
                "tasks": it.tasks,
                "baseline": it.workload.baseline,
                "rounds": it.rounds,
                "operations": it.operations,
                "results": {result.contestant: _numbers(result) for result in it.results},
            }
            for it in measured
        },
    }


def _numbers(result: Result) -> dict[str, float | None]:
    numbers = asdict(result)
    del numbers["contestant"]
    return {
        name: None if value is None else float(f"{value:.4g}") for name, value in numbers.items()
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")
