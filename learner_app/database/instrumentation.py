"""Observers of the engine, for metrics, logs and traces.

Events contain durations, names and SQLSTATEs, never SQL text or values. No observer is registered
by default. Then no event is created, and the cost is the check of an empty tuple.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal, Protocol

log = logging.getLogger(__name__)

Outcome = Literal["committed", "rolled back", "unknown"]


@dataclass(frozen=True, slots=True)
class CheckoutEvent:
    """Event after a connection was acquired or acquiring it failed."""

    replica: str | None
    """Name of the replica, None for the main server."""
    seconds: float
    """Time from the request to the connection or error."""
    error: type[BaseException] | None
    """Class of the error, None if a connection was acquired."""


@dataclass(frozen=True, slots=True)
class ExecuteEvent:
    """Event after a statement, or the work of ``DB.perform``, has ended."""

    replica: str | None
    """Name of the replica, None for the main server."""
    name: str | None
    """Name of the statement, such as ``content.get``; None if the caller passed none."""
    seconds: float
    """Time including the checkout and all attempts."""
    attempts: int
    """Number of attempts, more than 1 if the statement was retried on another connection."""
    in_transaction: bool
    """True if it was executed in a transaction of the caller."""
    error: type[BaseException] | None
    """Class of the error, ``asyncio.CancelledError`` included; None on success."""
    sqlstate: str | None
    """SQLSTATE of the error, None if the server sent none."""


@dataclass(frozen=True, slots=True)
class TransactionEvent:
    """Event after an outermost transaction has ended."""

    replica: str | None
    """Name of the replica, None for the main server."""
    seconds: float
    """Time from BEGIN to the end of the block."""
    outcome: Outcome
    """``unknown``: COMMIT was sent and its answer lost."""
    error: type[BaseException] | None
    """Class of the error that the block raised, None if it raised none."""
    sqlstate: str | None
    """SQLSTATE of the error, None if the server sent none."""


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """Event after an attempt of a statement or transaction has failed with a database error."""

    replica: str | None
    """Name of the replica, None for the main server."""
    name: str | None
    """Name of the statement, None for a transaction or an unnamed statement."""
    error: type[BaseException]
    """Class of the error."""
    sqlstate: str | None
    """SQLSTATE of the error, None if the server sent none."""
    is_retried: bool
    """True if another attempt follows, so that the caller does not get this error."""


class Observer(Protocol):
    """Receiver of events, called synchronously in the task that caused them.

    An observer must not block. An error that it raises is logged and does not affect the statement.
    """

    def checkout(self, event: CheckoutEvent) -> None: ...

    def execute(self, event: ExecuteEvent) -> None: ...

    def transaction(self, event: TransactionEvent) -> None: ...

    def error(self, event: ErrorEvent) -> None: ...


Event = CheckoutEvent | ExecuteEvent | TransactionEvent | ErrorEvent


class Observers:
    """Observers of one engine and its replicas."""

    __slots__ = ("registered",)

    def __init__(self) -> None:
        self.registered: tuple[Observer, ...] = ()
        """Registered observers; replaced as a whole, so that a running notification is stable."""

    def add(self, observer: Observer) -> None:
        """Register an observer for all events from now on."""
        self.registered = (*self.registered, observer)

    def remove(self, observer: Observer) -> None:
        """Unregister an observer, or do nothing if it is not registered."""
        self.registered = tuple(other for other in self.registered if other is not observer)

    def notify_error(
        self,
        error: BaseException,
        replica: str | None,
        name: str | None = None,
        *,
        is_retried: bool,
    ) -> None:
        """Report an error, see :class:`ErrorEvent` for the arguments."""
        if self.registered:
            self.notify(
                ErrorEvent(replica, name, type(error), sqlstate_of(error), is_retried=is_retried)
            )

    def notify(self, event: Event) -> None:
        """Pass an event to all observers, and log the errors that they raise."""
        for observer in self.registered:
            try:
                match event:
                    case CheckoutEvent():
                        observer.checkout(event)
                    case ExecuteEvent():
                        observer.execute(event)
                    case TransactionEvent():
                        observer.transaction(event)
                    case ErrorEvent():
                        observer.error(event)
            except Exception:
                log.exception("an observer of the database failed, the statement is not affected")


def sqlstate_of(error: BaseException | None) -> str | None:
    """Return the SQLSTATE of an error of the package or the driver, None if it has none."""
    return getattr(error, "sqlstate", None)
