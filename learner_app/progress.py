"""Progress of long commands: a bar on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINES = 10
"""Without a terminal a line is printed about every tenth of the way."""


@contextmanager
def progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yields a function to be told how much of ``total`` is done."""
    if sys.stdout.isatty():
        columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns) as bar:
            task = bar.add_task(name, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    printed = -1

    def report(done: int) -> None:
        nonlocal printed
        tenth = done * LINES // total
        if tenth > printed:
            printed = tenth
            print(f"{name}: {done} of {total}", flush=True)

    yield report
