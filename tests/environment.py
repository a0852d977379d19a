"""Environment of the test run: a developer's machine or CI."""

import os

import pytest

IN_CI = bool(os.environ.get("CI"))


def skip_outside_ci(reason: str) -> None:
    """Skip the test on a developer's machine; fail it in CI, where every program is installed."""
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)
