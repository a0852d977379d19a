"""Progress of long commands, as a bar on a terminal and as lines elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINES = 10
"""Maximum number of lines that a run prints without a terminal, besides the first one."""


@contextmanager
def progress(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """Yield a function that is called with the number of finished items, of ``total`` items."""
    if sys.stdout.isatty():
        columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns) as bar:
            task = bar.add_task(name, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    printed = -1

    def report(done: int) -> None:
        nonlocal printed
        step = done * LINES // total
        if step > printed:
            printed = step
            print(f"{name}: {done} of {total}", flush=True)

    yield report
