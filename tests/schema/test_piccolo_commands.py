"""The changes of this package in Piccolo: made by one call, all of them documented."""

import subprocess
import sys

import pytest

SCRIPT = """
import importlib, inspect, pkgutil
from piccolo.apps.migrations.auto import migration_manager, schema_differ, schema_snapshot
from piccolo.apps.migrations.commands import backwards, base, check, forwards, new
from piccolo.conf import apps
from piccolo import columns, table

MODULES = (migration_manager, schema_differ, schema_snapshot, backwards, base, check, forwards,
           new, apps, columns, table)
CLASSES = {each for module in MODULES for each in vars(module).values() if inspect.isclass(each)}

def state():
    found = {}
    for module in MODULES:
        for name, value in vars(module).items():
            found[f"{module.__name__.split('.')[-1]}.{name}"] = value
    for cls in CLASSES:
        found.update({f"{cls.__name__}.{key}": each for key, each in vars(cls).items()})
    found["new.JINJA_ENV.loader"] = new.JINJA_ENV.loader
    return found

def changes(before):
    after = state()
    return {name for name in before.keys() | after.keys()
            if before.get(name) is not after.get(name) and not name.startswith("__")
            and not name.split(".")[-1].startswith(("__", "_abc"))}

before = state()
import learner_app.schema
for module in pkgutil.walk_packages(learner_app.schema.__path__, "learner_app.schema."):
    importlib.import_module(module.name)
assert not changes(before), changes(before)
from learner_app.schema import piccolo_commands
piccolo_commands.install()
made = changes(before)
assert made
text = piccolo_commands.install.__doc__
for name in made:
    assert name in text or name.removeprefix("table.").removeprefix("apps.") in text, name
piccolo_commands.install()
assert changes(before) == made
print(sorted(made))
"""


@pytest.mark.slow
def test_importing_changes_nothing_and_installing_what_its_docstring_lists():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "new.SchemaDiffer" in done.stdout
    assert "TableMeta.db" in done.stdout
