"""``python -m benchmarks [SCENARIO ...]``: see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.contestant import Contestant
from benchmarks.database import prepare, running_server
from benchmarks.measure import Result, run
from benchmarks.peers import contestants
from benchmarks.report import print_scenario, print_summary, write_json
from benchmarks.scenarios import QUICK_ROWS, ROWS, SCENARIOS, Scenario, warm_up
from learner_app.testing.servers import OwnServer

ROUNDS = 41
"""Many short ones: the speed of a shared machine changes from second to second."""

QUICK_ROUNDS = 21
SLOW_ROUNDS = 9
"""Rounds at most of what waits or streams; so many that each contestant is first once."""

ALLOCATOR = {
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_TOP_PAD_": str(16 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(4 << 20),
}
"""Bytes. In a small process glibc gives asyncio's receive buffers of 256 KiB back at each call."""


def main() -> None:
    arguments = _parse()
    if any(os.environ.get(name) != value for name, value in ALLOCATOR.items()):
        os.environ.update(ALLOCATOR)  # read by glibc when a program starts
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]])  # noqa: S606
    found, missing = contestants(quick=arguments.quick)
    for line in missing:
        print(line)
    scenarios = [_fit(SCENARIOS[name], arguments.quick) for name in _names(arguments)]
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    with running_server() as server:
        results = asyncio.run(_run(server, scenarios, found, rounds, quick=arguments.quick))
    print_summary(results, [it.name for it in found])
    if arguments.json:
        write_json(arguments.json, results, found, rounds, "embedded, unix socket, fsync off")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks", description="Our engine beside its peers.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}, quick {QUICK_ROUNDS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--quick", action="store_true", help="only asyncpg and ours, under 20 s")
    arguments = parser.parse_args()
    if unknown := set(arguments.scenarios) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return arguments


def _names(arguments: argparse.Namespace) -> list[str]:
    if arguments.scenarios:
        return list(arguments.scenarios)
    return [name for name, it in SCENARIOS.items() if it.is_quick or not arguments.quick]


def _fit(scenario: Scenario, quick: bool) -> Scenario:
    if quick and scenario.operation == "stream":
        return replace(scenario, operations=QUICK_ROWS)
    return scenario


async def _run(
    server: OwnServer,
    scenarios: Sequence[Scenario],
    found: Sequence[Contestant],
    rounds: int,
    *,
    quick: bool,
) -> dict[str, list[Result]]:
    address = await prepare(server, QUICK_ROWS if quick else ROWS)
    for contestant in found:
        await contestant.start(address)
        for scenario in scenarios:
            await warm_up(contestant, scenario)
    gc.collect()
    gc.freeze()  # what was imported is nobody's garbage
    results = {}
    for scenario in scenarios:
        is_slow = scenario.idle_seconds or scenario.operation in {"stream", "record_batch"}
        count = min(rounds, SLOW_ROUNDS) if is_slow else rounds
        results[scenario.name] = await run(scenario, found, count, scenario.operations)
        print_scenario(scenario, results[scenario.name])
    for contestant in found:
        await contestant.stop()
    return results


main()
