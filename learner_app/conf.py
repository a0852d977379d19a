"""Piccolo's configuration, for ``PICCOLO_CONF=learner_app.conf`` or a ``piccolo_conf.py``."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType

from piccolo.conf.apps import AppRegistry

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import SettingsError
from learner_app.schema import piccolo_commands
from learner_app.settings import use_package_conf

COMMANDS = {"piccolo", "learner"}
"""Programs that send few statements, each over a connection of its own."""

COMMAND_MODULES = {
    ("learner_app", "__main__"): "learner",
    ("learner_app", "cli"): "learner",
    ("piccolo", "__main__"): "piccolo",
    ("piccolo", "main"): "piccolo",
}
"""The same programs started by ``python -m``: package and module of the file that runs."""

COMMANDS_WITH_DATABASE = {"migrations", "user", "fixtures", "sql_shell"}


def _engine() -> DatabaseEngine:
    """The engine; in a ``piccolo`` command one that ends the command with one line.

    The command's own handler would wrap the line in a page of help.
    """
    program = Path(sys.argv[0])
    name = COMMAND_MODULES.get((program.parent.name, program.stem), program.stem)
    needs_database = not COMMANDS_WITH_DATABASE.isdisjoint(sys.argv)
    return DatabaseEngine(
        needs_pool=name not in COMMANDS,
        exits_without_database=name == "piccolo" and needs_database,
        connects_as_owner=name == "piccolo" and "migrations" in sys.argv,
    )


def _explain_in_one_line(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Ends a script that has no database with what to do about it, not with a traceback."""
    if isinstance(error, SettingsError):
        print(error, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


DB = _engine()

APP_REGISTRY = AppRegistry(
    apps=[
        "learner_app.content.piccolo_app",
        "learner_app.listening.piccolo_app",
        "learner_app.learner.piccolo_app",
        "learner_app.generation.piccolo_app",
        "learner_app.accounts.piccolo_app",
        "learner_app.tenancy.piccolo_app",
        "learner_app.admin.piccolo_app",
    ]
)

use_package_conf()
piccolo_commands.install()
if sys.excepthook is sys.__excepthook__:
    sys.excepthook = _explain_in_one_line
