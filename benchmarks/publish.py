"""``python -m benchmarks.publish FILE``: the results and the chart of docs/benchmarks.md."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.chart import draw
from benchmarks.contestants import BASELINE, COPY, NAMES, OURS
from benchmarks.pgbench import NAME as PGBENCH
from benchmarks.report import duration

DOCS = Path(__file__).parent.parent / "docs"
PAGE, CHART = DOCS / "benchmarks.md", DOCS / "benchmarks.svg"
SECTION = re.compile(r"^## Results\n.*?(?=^## )", re.DOTALL | re.MULTILINE)
NEXT_SECTION = "## What dominates"
PEERS = tuple(name for name in NAMES if name not in (BASELINE, COPY, OURS))


def main() -> None:
    results = json.loads(Path(sys.argv[1]).read_text())
    page = SECTION.sub("", PAGE.read_text())
    before, heading, after = page.partition(NEXT_SECTION)
    PAGE.write_text(before + "\n".join(section(results)) + "\n\n" + heading + after)
    CHART.write_text(draw(results))


def section(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the section with the results of a run."""
    fsync = "on" if results["fsync"] else "off"
    packages = ", ".join(
        f"{name} {version}"
        for name, version in results["packages"].items()
        if name != "learner-app"
    )
    yield "## Results\n"
    yield (
        f"Python {results['python']}, {results['processors']} processors, {results['server']}, "
        f"{results['connection']}, fsync {fsync}, {results['event_loop']}; {packages}.\n"
    )
    yield "![Times relative to asyncpg](benchmarks.svg)\n"
    yield "Time relative to the baseline in the same round, median and quartiles:\n"
    yield from _ratios(results)
    yield "\nTime and client CPU time of one operation; pgbench decodes nothing:\n"
    yield from _times(results)
    yield from _memory(results.get("memory", {}), results["titles"])
    yield from _startup(results.get("startup", {}), results.get("health", {}))


def _ratios(results: Mapping[str, Any]) -> Iterator[str]:
    titles = results["titles"]
    peers = [name for name in PEERS if name in titles]
    yield from _table(
        ["workload", "tasks", "baseline", f"**{titles[OURS]}**", *(titles[it] for it in peers)],
        [
            [
                workload["title"],
                str(workload["tasks"]),
                f"{titles[workload['baseline']]}",
                _with_quartiles(workload["results"].get(OURS)),
                *(_ratio(workload["results"].get(name)) for name in peers),
            ]
            for workload in results["workloads"].values()
        ],
        text_columns=3,
    )


def _times(results: Mapping[str, Any]) -> Iterator[str]:
    titles = results["titles"]
    yield from _table(
        ["workload", "tasks", "baseline", "CPU", titles[OURS], "CPU", PGBENCH],
        [
            [
                workload["title"],
                str(workload["tasks"]),
                *_wall_and_cpu(workload["results"].get(workload["baseline"])),
                *_wall_and_cpu(workload["results"].get(OURS)),
                _wall_and_cpu(workload["results"].get(PGBENCH))[0],
            ]
            for workload in results["workloads"].values()
        ],
    )


def _memory(memory: Mapping[str, Any], titles: Mapping[str, str]) -> Iterator[str]:
    if not memory:
        return
    yield "\nMemory in bytes:\n"
    names = [name for name in titles if any(name in numbers for numbers in memory.values())]
    yield from _table(
        ["", *(titles[name] for name in names)],
        [
            [title, *(f"{numbers[it]:,.0f}" if it in numbers else "" for it in names)]
            for title, numbers in memory.items()
        ],
    )


def _startup(startup: Mapping[str, float], health: Mapping[str, float]) -> Iterator[str]:
    if startup:
        yield "\nStart-up, from the start of the process:\n"
        rows = [[name, f"{seconds:.2f} s"] for name, seconds in startup.items()]
        yield from _table(["", "time"], rows)
    if health:
        yield "\nHealth routes of one web worker:\n"
        rows = [[name, f"{rate:,.0f}"] for name, rate in health.items()]
        yield from _table(["", "requests per second"], rows)


def _table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, text_columns: int = 1
) -> Iterator[str]:
    aligned = ["---"] * text_columns + ["--:"] * (len(headings) - text_columns)
    for cells in (headings, aligned, *rows):
        yield f"| {' | '.join(cells)} |"


def _ratio(result: Mapping[str, Any] | None) -> str:
    return "" if result is None or result["ratio"] is None else f"{result['ratio']:.2f}"


def _with_quartiles(result: Mapping[str, Any] | None) -> str:
    if result is None or result["low"] is None:
        return _ratio(result)
    return f"**{result['ratio']:.2f}** ({result['low']:.2f} to {result['high']:.2f})"


def _wall_and_cpu(result: Mapping[str, Any] | None) -> tuple[str, str]:
    return ("", "") if result is None else (duration(result["wall"]), duration(result["cpu"]))


if __name__ == "__main__":
    main()
