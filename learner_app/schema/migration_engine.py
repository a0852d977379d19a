"""Interface of an engine that migrations use."""

from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, runtime_checkable

from learner_app.errors import MigrationError
from learner_app.schema.piccolo_hooks import current_engine


@runtime_checkable
class MigrationEngine(Protocol):
    """Methods of :class:`learner_app.database.engine.DatabaseEngine` that migrations call."""

    def transaction(self) -> AbstractAsyncContextManager[Any]:
        """Return a transaction for ``async with``."""

    async def get_new_connection(self) -> Any:
        """Return a new connection outside the pool, which the caller closes."""

    async def perform(self, work: Any, statement: str = "") -> Any:
        """Execute work on a connection, that of the current transaction where there is one."""

    async def fetchval(self, sql: str, *args: Any) -> Any:
        """Return the first column of the first row."""

    async def execute(self, sql: str, *args: Any) -> str:
        """Execute a statement and return its command tag."""


def current_migration_engine() -> MigrationEngine:
    """Return the engine on which Piccolo's commands act.

    Raises:
        MigrationError: ``DB`` of ``piccolo_conf`` is one of Piccolo's own engines.
    """
    engine: object = current_engine()
    if not isinstance(engine, MigrationEngine):
        raise MigrationError(
            "DB in piccolo_conf is not a DatabaseEngine of learner_app, which migrations with "
            "schema objects require: import it by `from learner_app.conf import DB`"
        )
    return engine
