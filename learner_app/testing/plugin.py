"""For a ``conftest.py``: ``pytest_plugins = ["learner_app.testing.plugin"]``.

Nothing of the environment decides which database the tests get but TEST_DATABASE_URL: the settings
of this package and the PG* variables are taken away for the run, and no ``.env`` is read. What it
offers to tests is in :mod:`learner_app.testing.fixtures`.
"""

import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from learner_app.errors import LearnerError
from learner_app.settings import connection_variables, load_settings
from learner_app.testing.test_database_url import given_url

# Without pytest-asyncio they could not be imported; pytest_configure says so in one line.
pytest_plugins = ["learner_app.testing.fixtures"] if find_spec("pytest_asyncio") else []

GIVEN_URL = pytest.StashKey[str | None]()
_isolation = pytest.StashKey[pytest.MonkeyPatch]()
_folder = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.hasplugin("asyncio"):
        pytest.exit("learner_app.testing needs pytest-asyncio: install learner-app[testing]", 3)
    try:
        config.stash[GIVEN_URL] = given_url(load_settings())
    except LearnerError as error:
        pytest.exit(str(error), 3)
    if not _has_workers(config):  # they inherit the environment and take it away themselves
        _isolate(config)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _isolation in config.stash:
        config.stash[_isolation].undo()
        config.stash[_folder].cleanup()


def _has_workers(config: pytest.Config) -> bool:
    """Whether this process only distributes the tests, by pytest-xdist."""
    return config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput")


def _isolate(config: pytest.Config) -> None:
    patch = config.stash[_isolation] = pytest.MonkeyPatch()
    folder = config.stash[_folder] = tempfile.TemporaryDirectory(prefix="learner-test-project-")
    for name in connection_variables():
        patch.delenv(name)
    # Without a `.env`, and without the file of a running `learner up`.
    patch.setattr("learner_app.settings.project_folder", lambda: Path(folder.name))
    if (config.rootpath / "piccolo_conf.py").is_file():
        _point_piccolo_to(config.rootpath, patch)


def _point_piccolo_to(project: Path, patch: pytest.MonkeyPatch) -> None:
    """As Piccolo's own command does: with conftest.py in a folder below it is not to be seen."""
    patch.syspath_prepend(project)
