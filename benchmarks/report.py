"""What is printed and what is written to a file."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.contestant import Contestant
from benchmarks.measure import Result
from benchmarks.scenarios import Scenario

Results = Mapping[str, Sequence[Result]]


def print_scenario(scenario: Scenario, results: Sequence[Result]) -> None:
    """One table: ratios first, then what they are made of."""
    table = Table(title=f"{scenario.name} (asyncpg pool = 1.00)", title_justify="left")
    table.add_column("contestant")
    for heading in ("time", "quartiles", "CPU", "µs", "CPU µs"):
        table.add_column(heading, justify="right")
    if scenario.concurrent:
        table.add_column("throughput", justify="right")
    if scenario.measures_memory:
        table.add_column("extra MiB", justify="right")
    for result in sorted(results, key=lambda it: it.ratio):
        style = "bold" if result.contestant.startswith("ours") else None
        table.add_row(*_cells(scenario, result), style=style)
    Console(width=100).print(table)


def _cells(scenario: Scenario, result: Result) -> Iterable[str]:
    yield result.contestant
    yield f"{result.ratio:.2f}"
    yield f"{result.low:.2f} to {result.high:.2f}"
    yield f"{result.cpu_ratio:.2f}"
    yield f"{result.wall_us:.1f}"
    yield f"{result.cpu_us:.1f}"
    if scenario.concurrent:
        yield f"{result.throughput_ratio:.2f}"
    if scenario.measures_memory:
        yield "" if result.extra_mib is None else f"{result.extra_mib:.1f}"


def print_summary(results: Results, names: Iterable[str]) -> None:
    """Return the time ratios of all scenarios as one table."""
    table = Table(title="time, asyncpg pool = 1.00", title_justify="left")
    table.add_column("")
    for name in results:
        table.add_column(name.replace("_", " "), justify="right")
    for name in names:
        found = [_ratio_of(name, scenario) for scenario in results.values()]
        table.add_row(name, *found, style="bold" if name.startswith("ours") else None)
    Console(width=120).print(table)


def _ratio_of(contestant: str, results: Sequence[Result]) -> str:
    return next((f"{it.ratio:.2f}" for it in results if it.contestant == contestant), "-")


def write_json(
    path: Path, results: Results, contestants: Iterable[Contestant], rounds: int, server: str
) -> None:
    """All results with what is needed to compare them with those of another run."""
    packages = sorted({package for it in contestants for package in it.packages})
    content = {
        "python": platform.python_version(),
        "server": server,
        "packages": {package: version(package) for package in packages},
        "baseline": "asyncpg pool",
        "rounds": rounds,
        "scenarios": {name: [asdict(it) for it in found] for name, found in results.items()},
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
