"""The workloads: which operation a slice repeats, with which arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from benchmarks.contestants import BASELINE, COPY
from benchmarks.data import (
    FORMATS,
    Sizes,
    characteristics,
    duplicate_indexes,
    new_event,
    new_state,
)

TASKS = 20
"""Tasks of a concurrent slice."""

BULK = 10_000
BATCH = 5000


class Values:
    """Arguments of the operations of one contestant, different for each call.

    Args:
        prefix: beginning of the ids of new events.
        sizes: numbers of the rows in the database.
        first: number of the first call. Each contestant has a range of its own.
    """

    def __init__(self, prefix: str, sizes: Sizes, *, first: int) -> None:
        self.prefix = prefix
        self.sizes = sizes
        self._numbers = count(first)

    def content(self) -> tuple[Any, ...]:
        return (f"content-{self._scattered(self.sizes.contents)}",)

    def format(self) -> tuple[Any, ...]:
        return (FORMATS[next(self._numbers) % 3],)

    def session(self) -> tuple[Any, ...]:
        return (f"session-{self._scattered(self.sizes.sessions_with_events)}",)

    def state(self) -> tuple[Any, ...]:
        return (f"session-{self._scattered(self.sizes.sessions)}",)

    def changes(self) -> tuple[Any, ...]:
        return (*self.state(), new_state(next(self._numbers) % 1000))

    def like(self) -> tuple[Any, ...]:
        number = next(self._numbers)
        content = 1 + number % self.sizes.contents
        session = 1 + number // self.sizes.contents % self.sizes.sessions
        return f"content-{content}", f"session-{session}", characteristics(content)

    def event(self) -> tuple[Any, ...]:
        return (self._event(next(self._numbers)),)

    def bulk(self) -> tuple[Any, ...]:
        return (self._events(BULK, duplicates=False),)

    def bulk_duplicates(self) -> tuple[Any, ...]:
        return (self._events(BULK, duplicates=True),)

    def batch(self) -> tuple[Any, ...]:
        return (self._events(BATCH, duplicates=True),)

    def stream(self) -> tuple[Any, ...]:
        return (self._events(10 * BATCH, duplicates=True),)

    def nothing(self) -> tuple[Any, ...]:
        return ()

    def _scattered(self, rows: int) -> int:
        """Return the next number from 1 to ``rows``, in an order without neighbours."""
        return 1 + next(self._numbers) * 7919 % rows

    def _event(self, number: int) -> dict[str, Any]:
        return new_event(f"{self.prefix}{number}", number, self.sizes)

    def _events(self, size: int, *, duplicates: bool) -> list[dict[str, Any]]:
        events = [self._event(next(self._numbers)) for _ in range(self.sizes.scaled(size))]
        if duplicates:
            for index in duplicate_indexes(len(events)):
                events[index] = dict(events[index - 5])
        return events


@dataclass(frozen=True, slots=True)
class Workload:
    """One line of the results, for each number of concurrent tasks."""

    name: str
    title: str
    operation: str
    """Method of the contestants."""
    arguments: Callable[[Values], tuple[Any, ...]]
    operations: int
    """Operations of a slice."""
    rounds: int
    tasks: tuple[int, ...] = (1, TASKS)
    baseline: str = BASELINE
    writes_events: bool = False
    is_bulk: bool = False
    """True if the operation returns nothing, so that the stored events are counted."""
    kept_results: int = 0
    """Number of results that are kept to measure their memory. If it is 0, the peak is measured."""
    before_check: str = ""
    """Statement after which the operation has the same result for each contestant."""


RESET_STATE = "UPDATE learner_model_state SET data_points = 1 WHERE session_id = 'session-1'"
RESET_CONTENT = "UPDATE content SET duration = 300 WHERE id = 'content-1'"

MEASURED_MEMORY = ("list", "events", "stream", "ingest")


def _bulk(name: str, title: str, operation: str, arguments: Any, baseline: str = COPY) -> Workload:
    return Workload(name, title, operation, arguments, 1, 5, (1,), baseline, True, True)


_get = Workload("get", "content item by key", "get", Values.content, 100, 15)
_list = Workload("list", "50 content items by format", "list_content", Values.format, 20, 15)
_events = Workload("events", "1,000 events of a session", "list_events", Values.session, 20, 5)
_insert = Workload("insert", "new event", "insert", Values.event, 60, 9, writes_events=True)
_update = Workload("update", "changed learner state", "update", Values.changes, 60, 9)
_fold = Workload("fold", "learner state under a row lock", "fold", Values.state, 40, 9)
_like = Workload("like", "like", "like", Values.like, 60, 9)
_transaction = Workload("transaction", "read, change, commit", "transaction", Values.content, 40, 9)
_stream = Workload("stream", "stream of all events", "stream", Values.nothing, 1, 3, (1,))

WORKLOADS = {
    workload.name: workload
    for workload in (
        _get,
        replace(_list, kept_results=400),
        replace(_events, kept_results=50),
        _insert,
        _update,
        replace(_fold, before_check=RESET_STATE),
        _like,
        replace(_transaction, before_check=RESET_CONTENT),
        _stream,
        _bulk("bulk", "10,000 events", "insert_many", Values.bulk),
        _bulk("bulk_new", "10,000 events, duplicates", "insert_new", Values.bulk_duplicates),
        _bulk("record_batch", "5,000 events, duplicates", "record_batch", Values.batch),
        _bulk("ingest", "50,000 events, duplicates", "ingest", Values.stream, BASELINE),
    )
}
