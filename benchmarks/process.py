"""Contestants as the coordinator has them: processes that take turns."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from benchmarks.address import Address
from benchmarks.data import Sizes


class TurnTaker(Protocol):
    """Contestant as the rounds have it."""

    name: str

    @property
    def workloads(self) -> Sequence[str]:
        """Names of the workloads in which it takes part."""

    @property
    def packages(self) -> Mapping[str, str]:
        """Versions of its libraries."""

    def ask(self, command: str, **arguments: Any) -> Any:
        """Return the reply to a command."""

    def stop(self) -> None:
        """End it."""


class NotInstalled(Exception):
    """The library of a contestant is missing."""


class Process:
    """Process of one contestant. It waits until the coordinator gives it a slice.

    Args:
        name: the contestant.
        number: its number from 1, so that no two contestants write the same rows.
        address: the database.
        sizes: numbers of its rows.
        uvloop: True to run on uvloop instead of asyncio's event loop.
    """

    def __init__(
        self, name: str, number: int, address: Address, sizes: Sizes, *, uvloop: bool
    ) -> None:
        self.name = name
        config = json.dumps([name, number, asdict(address), asdict(sizes), uvloop])
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", config],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        hello = self._read()
        if "missing" in hello:
            self._popen.wait()
            raise NotInstalled(hello["missing"])
        self.title: str = hello["title"]
        self.packages: dict[str, str] = hello["packages"]
        self.workloads: list[str] = hello["workloads"]

    def ask(self, command: str, **arguments: Any) -> Any:
        """Let the process execute a command of :class:`benchmarks.worker.Worker`."""
        stdin = self._popen.stdin
        assert stdin is not None  # noqa: S101  # it is a pipe
        stdin.write(json.dumps([command, arguments]) + "\n")
        stdin.flush()
        return self._read()

    def stop(self) -> None:
        """Let the process close its pool and exit."""
        try:
            self._popen.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.communicate()

    def _read(self) -> Any:
        stdout = self._popen.stdout
        assert stdout is not None  # noqa: S101  # it is a pipe
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended, its error is above")
        return json.loads(line)
