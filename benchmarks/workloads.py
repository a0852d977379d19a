"""The workloads: which operation a slice repeats, with which arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from benchmarks.contestants import BASELINE, COPY
from benchmarks.data import (
    FORMATS,
    NEW,
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

MAX_LIKES = 100_000
"""Likes of a contestant before it likes what another one has liked."""


class Values:
    """Arguments of the operations of one contestant, different for each call.

    Args:
        prefix: beginning of the ids of new events.
        sizes: numbers of the rows in the database.
        contestant: number of the contestant, from 1. 0 gives the same values to all.
    """

    def __init__(self, prefix: str, sizes: Sizes, contestant: int) -> None:
        self.prefix = prefix
        self.sizes = sizes
        self._numbers = count(contestant * 1009)
        self._likes = count(contestant * MAX_LIKES)

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
        number = next(self._likes)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One line of the results, for each number of concurrent tasks."""

    name: str
    title: str
    operation: str
    """Method of the contestants."""
    arguments: Callable[[Values], tuple[Any, ...]]
    operations: int = 60
    """Operations of a slice."""
    rounds: int = 9
    tasks: tuple[int, ...] = (1, TASKS)
    baseline: str = BASELINE
    is_short: bool = True
    """True if an operation takes milliseconds, so that it is repeated before it is measured."""
    is_bulk: bool = False
    """True if the operation returns nothing, so that the stored events are counted."""
    kept_results: int = 0
    """Number of results that are kept to measure their memory."""
    before_check: str = ""
    """Statement after which the operation has the same result for each contestant."""
    after: tuple[str, ...] = ()
    """Statements that undo what a measurement wrote."""


RESET_STATE = "UPDATE learner_model_state SET data_points = 1 WHERE session_id = 'session-1'"
RESET_CONTENT = "UPDATE content SET duration = 300 WHERE id = 'content-1'"
DELETE_NEW_EVENTS = (
    f"DELETE FROM behavioral_events WHERE id LIKE '{NEW}%'",
    "VACUUM (ANALYZE) behavioral_events",
)

KEPT = ("list", "events")
"""Workloads whose rows are kept to measure their memory."""

STREAMS = ("stream", "ingest")
"""Workloads that should need constant memory."""


def _bulk(name: str, title: str, operation: str, arguments: Any, baseline: str = COPY) -> Workload:
    return Workload(
        name=name,
        title=title,
        operation=operation,
        arguments=arguments,
        operations=1,
        rounds=5,
        tasks=(1,),
        baseline=baseline,
        is_short=False,
        is_bulk=True,
        after=DELETE_NEW_EVENTS,
    )


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            name="get",
            title="content item by key",
            operation="get",
            arguments=Values.content,
            operations=100,
            rounds=15,
        ),
        Workload(
            name="list",
            title="50 content items by format",
            operation="list_content",
            arguments=Values.format,
            operations=20,
            rounds=15,
            kept_results=20,
        ),
        Workload(
            name="events",
            title="1,000 events of a session",
            operation="list_events",
            arguments=Values.session,
            operations=20,
            rounds=5,
            is_short=False,
            kept_results=5,
        ),
        Workload(
            name="insert",
            title="new event",
            operation="insert",
            arguments=Values.event,
            after=DELETE_NEW_EVENTS,
        ),
        Workload(
            name="update",
            title="changed learner state",
            operation="update",
            arguments=Values.changes,
        ),
        Workload(
            name="fold",
            title="learner state under a row lock",
            operation="fold",
            arguments=Values.state,
            operations=40,
            before_check=RESET_STATE,
        ),
        Workload(
            name="like", title="like of a content item", operation="like", arguments=Values.like
        ),
        Workload(
            name="transaction",
            title="read, change, commit",
            operation="transaction",
            arguments=Values.content,
            operations=40,
            before_check=RESET_CONTENT,
        ),
        Workload(
            name="stream",
            title="stream of all events",
            operation="stream",
            arguments=Values.nothing,
            operations=1,
            rounds=3,
            tasks=(1,),
            is_short=False,
        ),
        _bulk("bulk", "bulk insert of 10,000 events", "insert_many", Values.bulk),
        _bulk("bulk_new", "the same, 10 % duplicates", "insert_new", Values.bulk_duplicates),
        _bulk("record_batch", "batch of 5,000, 10 % duplicates", "record_batch", Values.batch),
        _bulk("ingest", "stream of 50,000, 10 % duplicates", "ingest", Values.stream, BASELINE),
    )
}
