"""``python -m benchmarks [WORKLOAD ...]``, see docs/benchmarks.md."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.address import Address
from benchmarks.contestants import BASELINE, COPY, NAMES, OURS
from benchmarks.data import Sizes
from benchmarks.process import NotInstalled, Process
from benchmarks.report import as_json, print_measured, write_json
from benchmarks.rounds import Measured, check_equal, measure
from benchmarks.server import Server, programs, running_server
from benchmarks.workloads import WORKLOADS, Workload

QUICK_SIZES = Sizes(events=20_000)
QUICK_SCALE = 0.2
QUICK_ROUNDS = 5
QUICK_CONTESTANTS = (BASELINE, COPY, OURS)


def main() -> None:
    arguments = _parse()
    sizes = QUICK_SIZES if arguments.quick else Sizes()
    scale = QUICK_SCALE if arguments.quick else 1.0
    with (
        running_server(
            programs(arguments.server),
            unix_socket=arguments.unix_socket,
            fsync=not arguments.no_fsync,
            sizes=sizes,
        ) as server,
        ExitStack() as stack,
    ):
        processes = list(_start(arguments.contestants, server.address, sizes, scale))
        for process in processes:
            stack.callback(process.stop)
        measured = list(_measure(arguments, processes, server))
        if arguments.json:
            about = {
                "server": f"PostgreSQL {server.version()}",
                "connection": "unix socket" if arguments.unix_socket else "TCP",
                "fsync": not arguments.no_fsync,
                "packages": dict(
                    sorted(item for process in processes for item in process.packages.items())
                ),
            }
            write_json(arguments.json, as_json(measured, **about))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchmarks", description="Measure the package and its peers.")
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parser.add_argument("--contestants", metavar="NAMES", help=f"of {','.join(NAMES)},ours@FOLDER")
    parser.add_argument("--tasks", type=int, help="only with this number of concurrent tasks")
    parser.add_argument("--rounds", type=int, help="rounds of each workload")
    parser.add_argument("--quick", action="store_true", help="asyncpg and ours, fewer rows")
    parser.add_argument("--server", help="15, embedded, or a folder with PostgreSQL's bin")
    parser.add_argument("--unix-socket", action="store_true", help="instead of TCP")
    parser.add_argument("--no-fsync", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results there")
    arguments = parser.parse_args()
    if unknown := set(arguments.workloads) - set(WORKLOADS):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    if arguments.contestants:
        arguments.contestants = arguments.contestants.split(",")
        if unknown := {name.partition("@")[0] for name in arguments.contestants} - set(NAMES):
            parser.error(f"no such contestant: {', '.join(sorted(unknown))}")
    else:
        arguments.contestants = QUICK_CONTESTANTS if arguments.quick else NAMES
    return arguments


def _start(names: Sequence[str], address: Address, sizes: Sizes, scale: float) -> Iterator[Process]:
    for number, name in enumerate(names):
        try:
            yield Process(name, number, address, sizes, scale)
        except NotInstalled as error:
            print(f"{name}: skipped, {error} is not installed")


def _measure(
    arguments: argparse.Namespace, processes: Sequence[Process], server: Server
) -> Iterator[Measured]:
    for name in arguments.workloads or WORKLOADS:
        workload = WORKLOADS[name]
        check_equal(workload, processes, server)
        for tasks in workload.tasks:
            if arguments.tasks in (None, tasks):
                rounds = arguments.rounds or _rounds(workload, quick=arguments.quick)
                measured = measure(workload, tasks, rounds, processes, server)
                print_measured(measured)
                yield measured


def _rounds(workload: Workload, *, quick: bool) -> int:
    return min(workload.rounds, QUICK_ROUNDS) if quick else workload.rounds


if __name__ == "__main__":
    main()
