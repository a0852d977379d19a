"""Piccolo's configuration, for ``PICCOLO_CONF=learner_app.conf`` or a ``piccolo_conf.py``.

Importing it connects to nothing, reads no setting and no command line, and sets no environment
variable. It changes Piccolo by one call, see :func:`~learner_app.schema.piccolo_commands.install`.
"""

from piccolo.conf.apps import AppRegistry

from learner_app.database.engine import DatabaseEngine
from learner_app.schema import piccolo_commands

__all__ = [
    "APP_REGISTRY",
    "DB",
]

DB = DatabaseEngine()

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

piccolo_commands.install()
