"""Middleware that selects the engine of an application."""

from starlette.types import ASGIApp, Receive, Scope, Send

from learner_app.database.engine import DatabaseEngine
from learner_app.schema.piccolo_hooks import use_engine


class EngineMiddleware:
    """ASGI middleware that runs the Piccolo queries of an application on its engine.

    :func:`~learner_app.web.app.create_app` installs it. It covers the requests, the streaming
    responses, the background tasks and the lifespan. For threads see
    :mod:`learner_app.schema.piccolo_hooks`.
    """

    def __init__(self, app: ASGIApp, engine: DatabaseEngine) -> None:
        self.app = app
        self.engine = engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with use_engine(self.engine):
            await self.app(scope, receive, send)
