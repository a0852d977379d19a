"""Command-line options of the test run: the seed of random tests, short and long forms."""

import os
import random
from collections.abc import Iterator

import pytest

from tests import environment, examples

SEED_VARIABLE = "TEST_SEED"
SEEDS = 2**32
_SEED = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tests of learner_app")
    group.addoption(
        "--seed",
        type=int,
        help=f"seed of random tests, or {SEED_VARIABLE}",
    )
    group.addoption(
        "--short",
        action="store_true",
        help="fewer rows and parameter sets, without the tests marked long",
    )
    group.addoption("--soak", action="store_true", help="random faults for a long time")
    group.addoption("--soak-minutes", type=float, default=60.0, help="duration of --soak")


@pytest.hookimpl(tryfirst=True)  # before Hypothesis reads its own option
def pytest_configure(config: pytest.Config) -> None:
    seed = config.stash[_SEED] = _choose_seed(config)
    if not config.getoption("hypothesis_seed", None):
        config.option.hypothesis_seed = str(seed)
    examples.load_default_profile()
    environment.short = config.getoption("short")


def _choose_seed(config: pytest.Config) -> int:
    """Return the seed of the option, of the variable, or of the process that started this one."""
    worker = getattr(config, "workerinput", {})
    for given in (worker.get("seed"), config.getoption("seed"), os.environ.get(SEED_VARIABLE)):
        if given is not None:
            return int(given) % SEEDS
    return random.SystemRandom().randrange(SEEDS)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Pass the seed to the worker of pytest-xdist."""
    node.workerinput["seed"] = node.config.stash[_SEED]


def pytest_sessionstart(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:  # pytest's own header is not printed with -q
        reporter.write_line(_seed_line(session.config))


def run_seed(config: pytest.Config) -> int:
    """Return the seed of this run."""
    return config.stash[_SEED]


def _seed_line(config: pytest.Config) -> str:
    return f"random tests: --seed {run_seed(config)}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("short"):
        return
    left_out = [item for item in items if item.get_closest_marker("long")]
    left_out += _further_variants(items)
    items[:] = [item for item in items if item not in set(left_out)]
    config.hook.pytest_deselected(items=left_out)


def _further_variants(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the items that repeat a test with other parameters.

    They are those of tests marked ``variants`` except the first parameter set, and those of slow
    tests on the embedded server that also run on PostgreSQL 15.
    """
    seen: set[str] = set()
    ids = {item.nodeid for item in items}
    further = []
    for item in items:
        test = item.nodeid.partition("[")[0]
        twin = item.nodeid.replace("[embedded", "[debian_15")
        has_twin = twin != item.nodeid and twin in ids
        if (item.get_closest_marker("variants") and test in seen) or (
            item.get_closest_marker("slow") and has_twin
        ):
            further.append(item)
        else:
            seen.add(test)
    return further


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Seed the module ``random`` for each test, so that a test alone repeats its numbers."""
    random.seed(f"{item.config.stash[_SEED]} {item.nodeid}")
    yield


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        report.sections.append(("Seed", _seed_line(item.config)))
