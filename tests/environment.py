"""Environment of the test run: a developer's machine or CI, the full or the short form."""

import os

import pytest

IN_CI = bool(os.environ.get("CI"))

short = False
"""Value of the option ``--short``, set before the test modules are imported."""


def skip_outside_ci(reason: str) -> None:
    """Skip the test on a developer's machine; fail it in CI, where every program is installed."""
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)
