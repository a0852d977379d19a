"""Pytest plugin, enabled by ``pytest_plugins = ["learner_app.testing.plugin"]`` in conftest.py.

TEST_DATABASE_URL alone decides which server the tests use: the other settings of this package and
the PG* variables are removed from the environment for the run, and no ``.env`` is read. The
fixtures are in :mod:`learner_app.testing.fixtures`.
"""

import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from learner_app.errors import LearnerError
from learner_app.settings import connection_variables, load_settings
from learner_app.testing.test_database_url import find_test_database_url

# The fixtures import pytest-asyncio; pytest_configure reports it if it is missing.
pytest_plugins = ["learner_app.testing.fixtures"] if find_spec("pytest_asyncio") else []

TEST_DATABASE_URL = pytest.StashKey[str | None]()
_isolation = pytest.StashKey[pytest.MonkeyPatch]()
_folder = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Check TEST_DATABASE_URL and remove all other settings of the package."""
    if not config.pluginmanager.hasplugin("asyncio"):
        pytest.exit("learner_app.testing needs pytest-asyncio: install learner-app[testing]", 3)
    try:
        config.stash[TEST_DATABASE_URL] = find_test_database_url(load_settings())
    except LearnerError as error:
        pytest.exit(str(error), 3)
    if not _has_workers(config):  # workers inherit the environment and isolate themselves
        _isolate(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Restore the environment."""
    if _isolation in config.stash:
        config.stash[_isolation].undo()
        config.stash[_folder].cleanup()


def _has_workers(config: pytest.Config) -> bool:
    """Return whether this process distributes the tests to workers of pytest-xdist."""
    return config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput")


def _isolate(config: pytest.Config) -> None:
    patch = config.stash[_isolation] = pytest.MonkeyPatch()
    folder = config.stash[_folder] = tempfile.TemporaryDirectory(prefix="learner-test-project-")
    for name in connection_variables():
        patch.delenv(name)
    # A folder without a .env file and without the data of a running `learner up`.
    patch.setattr("learner_app.settings.project_folder", lambda: Path(folder.name))
    if (config.rootpath / "piccolo_conf.py").is_file():
        _point_piccolo_to(config.rootpath, patch)


def _point_piccolo_to(project: Path, patch: pytest.MonkeyPatch) -> None:
    """Make ``piccolo_conf.py`` of the project importable, as Piccolo's own command does."""
    patch.syspath_prepend(project)
