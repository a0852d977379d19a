"""Exponential backoff with full jitter, for the pauses between attempts."""

import random
from dataclasses import dataclass

MAX_DOUBLINGS = 30
"""Limit of the exponent, so that the power cannot overflow after many attempts."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts that grow exponentially up to a maximum.

    Full jitter: each pause is random between 0 and the limit of its attempt, so that clients that
    failed at the same moment do not retry at the same moment.
    """

    initial: float
    """Upper limit of the first pause, in seconds."""
    maximum: float
    """Upper limit of any pause, in seconds."""
    multiplier: float = 2.0
    """Factor by which the limit grows with each attempt."""

    def limit(self, attempt: int) -> float:
        """Return the longest pause after a failed attempt.

        Args:
            attempt: number of the failed attempt, beginning with 1.
        """
        growth = self.multiplier ** min(attempt - 1, MAX_DOUBLINGS)
        return min(self.maximum, self.initial * growth)

    def pause(self, attempt: int) -> float:
        """Return a random pause between 0 and :meth:`limit`, in seconds."""
        return random.uniform(0, self.limit(attempt))  # noqa: S311  # not for secrets
