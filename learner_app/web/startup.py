"""Check of settings and database before the application starts."""

from starlette.types import ASGIApp, Receive, Scope, Send

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import LearnerError
from learner_app.schema.piccolo_hooks import require_app_registry


class StartupCheck:
    """ASGI middleware that reports a failed start in one line instead of a traceback.

    The start fails if a setting is invalid, if ``piccolo_conf.py`` has no APP_REGISTRY, or if
    DB_REQUIRED is true and no database answers.
    """

    def __init__(self, app: ASGIApp, engine: DatabaseEngine) -> None:
        self.app = app
        self.engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            try:
                await self._check()
            except LearnerError as error:
                await receive()
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
        await self.app(scope, receive, send)

    async def _check(self) -> None:
        require_app_registry()
        for engine in (self.engine, *self.engine.replicas.values()):
            _ = engine.connections.connector  # reads and validates the settings
        if self.engine.settings.db_required:
            await self.engine.wait_until_ready()
