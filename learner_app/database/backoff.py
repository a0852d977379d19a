"""Exponential backoff with full jitter: the pauses between attempts."""

import random
from dataclasses import dataclass

MAX_DOUBLINGS = 30
"""Limit of the exponent, so that the power cannot overflow after many attempts."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that grow exponentially up to a limit.

    Full jitter: each pause is random between 0 and the limit of its attempt. Clients that failed at
    the same moment then do not try again at the same moment.
    """

    initial: float
    """Upper limit of the first pause, in seconds."""
    maximum: float
    """Upper limit of any pause, in seconds."""
    multiplier: float = 2.0

    def limit(self, attempt: int) -> float:
        """Return the longest pause after a failed attempt, numbered from 1."""
        growth = self.multiplier ** min(attempt - 1, MAX_DOUBLINGS)
        return min(self.maximum, self.initial * growth)

    def pause(self, attempt: int) -> float:
        """Return a random pause after a failed attempt, numbered from 1."""
        return random.uniform(0, self.limit(attempt))  # noqa: S311  # not for secrets
