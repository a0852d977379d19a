"""Number of examples that Hypothesis tries, fewer by default than in CI.

``uv run pytest --hypothesis-profile full`` tries all of them.
"""

from hypothesis import settings

from tests.environment import IN_CI

QUICK_SHARE = 4

settings.register_profile("quick", deadline=None)
settings.register_profile("full", deadline=None)


def load_default_profile() -> None:
    """Load the profile of this machine; Hypothesis then loads the one of its option, if any."""
    settings.load_profile("full" if IN_CI else "quick")


def examples(number: int) -> int:
    """Return the number with the profile ``full``, a quarter of it with ``quick``."""
    is_full = settings.get_current_profile_name() == "full"
    return number if is_full else max(1, number // QUICK_SHARE)
