"""``python -m benchmarks [WORKLOAD ...]``, see docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import pgbench
from benchmarks.baseline import regressions
from benchmarks.contestants import BASELINE, COPY, NAMES, OURS
from benchmarks.data import Sizes
from benchmarks.pgbench import PgBench
from benchmarks.process import NotInstalled, Process, TurnTaker
from benchmarks.report import as_json, print_measured, print_memory, print_numbers, write_json
from benchmarks.rounds import Measured, check_equal, measure, measure_memory
from benchmarks.server import Server, programs, running_server
from benchmarks.startup import measure_health, measure_startup
from benchmarks.workloads import WORKLOADS

STARTUP, HEALTH, MEMORY = "startup", "health", "memory"
ALL = (*WORKLOADS, MEMORY, STARTUP, HEALTH)
CONTESTANTS = (*NAMES, pgbench.NAME)

QUICK_SCALE = 0.1
QUICK_ROUNDS = 5
QUICK_CONTESTANTS = (BASELINE, COPY, OURS)


class Run:
    """One run with the selected contestants on a server of its own."""

    def __init__(self, arguments: argparse.Namespace, server: Server, stack: ExitStack) -> None:
        self._arguments = arguments
        self._server = server
        self._sizes = Sizes(arguments.scale)
        self._measured: list[Measured] = []
        self._others: dict[str, Any] = {}
        self._processes: list[Process] = []
        self._limits: list[TurnTaker] = []
        self._start(stack)

    def _start(self, stack: ExitStack) -> None:
        for number, name in enumerate(self._arguments.contestants, 1):
            try:
                if name == pgbench.NAME:
                    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                    self._limits.append(PgBench(self._server, self._sizes, folder))
                else:
                    process = self._process(name, number)
                    stack.callback(process.stop)
                    self._processes.append(process)
            except NotInstalled as error:
                print(f"{name}: skipped, {error} is not installed")

    def _process(self, name: str, number: int) -> Process:
        uvloop = self._arguments.uvloop
        return Process(name, number, self._server.address, self._sizes, uvloop=uvloop)

    def execute(self) -> None:
        """Measure what was selected and print it."""
        for name in self._arguments.workloads:
            if name == STARTUP:
                self._others[name] = measure_startup(self._server.address.url)
                print_numbers("start-up, seconds", self._others[name], digits=2)
            elif name == HEALTH:
                self._others[name] = measure_health(self._server.address.url)
                print_numbers("health routes, requests per second", self._others[name])
            elif name == MEMORY:
                self._others[name] = measure_memory(self._processes, self._server)
                print_memory(self._others[name], [it.name for it in self._processes])
            else:
                self._measure(name)

    def _measure(self, name: str) -> None:
        workload = WORKLOADS[name]
        check_equal(workload, self._processes, self._server)
        turn_takers: Sequence[TurnTaker] = [*self._processes, *self._limits]
        rounds = self._arguments.rounds or workload.rounds
        for tasks in workload.tasks:
            if self._arguments.tasks in (None, tasks) or len(workload.tasks) == 1:
                measured = measure(workload, tasks, rounds, turn_takers, self._server)
                print_measured(measured)
                self._measured.append(measured)

    def results(self) -> dict[str, Any]:
        """Return all results and what is needed to compare them with those of another run."""
        packages = [item for it in self._processes for item in it.packages.items()]
        version = self._server.fetch_value("SHOW server_version")
        return as_json(
            self._measured,
            server=f"PostgreSQL {version.split()[0]}",
            connection="unix socket" if self._arguments.unix_socket else "TCP",
            fsync=not self._arguments.no_fsync,
            event_loop="uvloop" if self._arguments.uvloop else "asyncio",
            packages=dict(sorted(packages)),
            titles={it.name: it.title for it in self._processes},
            **self._others,
        )


def main() -> None:
    arguments = _parse()
    earlier = json.loads(arguments.compare.read_text()) if arguments.compare else None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # run the clean-up
    server = running_server(
        programs(arguments.server),
        unix_socket=arguments.unix_socket,
        fsync=not arguments.no_fsync,
        sizes=Sizes(arguments.scale),
    )
    with server as running, ExitStack() as stack:
        run = Run(arguments, running, stack)
        try:
            run.execute()
        finally:  # what was measured until an error or Ctrl-C is kept
            results = run.results()
            if arguments.json:
                write_json(arguments.json, results)
    if earlier:
        found = list(regressions(results, earlier))
        for message in found:
            print(f"warning: {message}")
        print(f"{len(found)} ratios are worse than in {arguments.compare}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks", description="Measure the package and its peers.")
    add = parser.add_argument
    add("workloads", nargs="*", metavar="WORKLOAD", help=", ".join(ALL))
    add("--contestants", metavar="A,B", help=f"of {', '.join(CONTESTANTS)}, ours@FOLDER")
    add("--tasks", type=int, help="only sequential (1) or only with concurrent tasks (20)")
    add("--rounds", type=int, help="rounds of each workload")
    add("--scale", type=float, help="factor of the numbers of events")
    add(
        "--quick",
        action="store_true",
        help=f"asyncpg and ours, {QUICK_ROUNDS} rounds, scale {QUICK_SCALE}",
    )
    add("--server", help="Debian's version, `embedded`, or a folder with PostgreSQL's bin")
    add("--unix-socket", action="store_true", help="connect by a unix socket instead of TCP")
    add("--no-fsync", action="store_true", help="do not wait for the disk")
    add("--uvloop", action="store_true", help="run all contestants on uvloop")
    add("--json", type=Path, metavar="FILE", help="also write the results to a file")
    add("--compare", type=Path, metavar="FILE", help="warn of ratios that are worse than there")
    arguments = parser.parse_args()
    _set_defaults(arguments)
    if unknown := set(arguments.workloads) - set(ALL):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    if unknown := {name.partition("@")[0] for name in arguments.contestants} - set(CONTESTANTS):
        parser.error(f"no such contestant: {', '.join(sorted(unknown))}")
    return arguments


def _set_defaults(arguments: argparse.Namespace) -> None:
    if arguments.contestants:
        arguments.contestants = arguments.contestants.split(",")
    else:
        arguments.contestants = QUICK_CONTESTANTS if arguments.quick else CONTESTANTS
    if not arguments.workloads:
        arguments.workloads = tuple(WORKLOADS) if arguments.quick else ALL
    if not arguments.scale:
        arguments.scale = QUICK_SCALE if arguments.quick else 1.0
    if arguments.quick and not arguments.rounds:
        arguments.rounds = QUICK_ROUNDS


if __name__ == "__main__":
    main()
