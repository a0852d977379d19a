"""The check before the application starts: a wrong setting is one line, not a traceback."""

from starlette.types import ASGIApp, Receive, Scope, Send

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import SettingsError


class StartUpCheck:
    """ASGI middleware that fails the start with a sentence when the settings are wrong."""

    def __init__(self, app: ASGIApp, engine: DatabaseEngine) -> None:
        self.app = app
        self.engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            try:
                _ = self.engine.config
            except SettingsError as error:
                await receive()
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
        await self.app(scope, receive, send)
