"""ASGI application of the desk, which is imported and built at its first request.

Importing Piccolo Admin and building its routes takes as long as starting the rest of the web
application, and many processes never serve the desk.
"""

import asyncio
import gc
import threading
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from learner_app.database.engine import DatabaseEngine

STYLE_SHEET = Path(__file__).with_name("desk.css")


class Desk:
    """ASGI application that builds the desk at its first request, see :mod:`.desk`.

    Other requests are served meanwhile.
    """

    def __init__(self, engine: DatabaseEngine) -> None:
        self._engine = engine
        self._app: ASGIApp | None = None
        self._lock = threading.Lock()
        """Makes concurrent first requests build one desk."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if app is None:
            app = await asyncio.to_thread(self._build)
        await app(scope, receive, send)

    def _build(self) -> ASGIApp:
        with self._lock:
            if self._app is None:
                from learner_app.admin.desk import create_desk

                self._app = create_desk(self._engine.settings)
                gc.freeze()  # these objects live as long as the process, see create_app()
            return self._app
