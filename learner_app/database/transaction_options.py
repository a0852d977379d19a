"""Options of a transaction and their SQL."""

from dataclasses import dataclass
from typing import Literal, get_args

from learner_app.errors import TransactionError

Isolation = Literal["read committed", "repeatable read", "serializable"]


@dataclass(slots=True)  # not frozen: created for each transaction, and slower then
class TransactionOptions:
    """Options of the outermost block of a transaction."""

    isolation: Isolation | None = None
    """Isolation level, the server's default (``read committed``) if None."""
    read_only: bool = False
    """The server refuses writes."""
    deferrable: bool = False
    """With serializable and read_only: wait for a snapshot that cannot fail to serialize."""
    track_commit: bool = False
    """Read the transaction's id before COMMIT, for ``was_committed``, by one more statement."""

    def __post_init__(self) -> None:
        if self.isolation is not None and self.isolation not in get_args(Isolation):
            raise TransactionError(f"isolation must be one of {', '.join(get_args(Isolation))}")

    @property
    def sql(self) -> str:
        """Transaction modes to append to BEGIN, each with a leading space."""
        isolation = f" ISOLATION LEVEL {self.isolation.upper()}" if self.isolation else ""
        return isolation + " READ ONLY" * self.read_only + " DEFERRABLE" * self.deferrable
