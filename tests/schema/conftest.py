"""Apps whose tables change, registered in a ``piccolo_conf`` of the test."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from piccolo.conf.apps import AppRegistry

from learner_app.database.engine import DatabaseEngine
from tests.schema.changing import App


@pytest.fixture
def make_app(
    empty_database: DatabaseEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], App]]:
    conf = ModuleType("changing_conf")
    conf.DB = empty_database
    monkeypatch.setitem(sys.modules, "changing_conf", conf)
    monkeypatch.setenv("PICCOLO_CONF", "changing_conf")
    # Formatting takes a third of the time; tests/schema/test_migrations.py checks formatted files.
    monkeypatch.setattr("black.format_str", lambda source, **_options: source)
    apps: list[str] = []

    def make() -> App:
        folder = tmp_path / f"migrations_{len(apps)}"
        folder.mkdir()
        app = App(folder)
        module = ModuleType(app.name)
        module.APP_CONFIG = app.config
        monkeypatch.setitem(sys.modules, app.name, module)
        apps.append(app.name)
        conf.APP_REGISTRY = AppRegistry(apps=list(apps))
        return app

    path = list(sys.path)
    yield make
    sys.path[:] = path
