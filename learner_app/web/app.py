"""Web application: ``uvicorn learner_app.web.app:app``, or ``learner up`` with a database."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from learner_app.admin.app import STYLE_SHEET, Desk
from learner_app.conf import DB
from learner_app.database.engine import DatabaseEngine
from learner_app.schema.pending import declared_migrations
from learner_app.web import health
from learner_app.web.engine import EngineMiddleware
from learner_app.web.errors import DatabaseErrors
from learner_app.web.security import SecurityHeaders
from learner_app.web.startup import StartupCheck

START_PAGE = Path(__file__).with_name("start.html")


def create_app(engine: DatabaseEngine = DB) -> Starlette:
    """Build the application: a start page, the health routes and the admin.

    Every part of it runs on the engine: its health routes, the admin with its staff accounts, and
    Piccolo's queries and repositories in routes that are added to it. Applications on different
    engines can run in one process.

    The lifespan opens and closes the connection pool. Unless DB_REQUIRED is true, the application
    also starts without a database: ``/health/db`` reports the outage, and requests succeed once the
    database answers.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        # The health check needs all migrations. They are imported while the pool connects.
        imports = asyncio.create_task(asyncio.to_thread(declared_migrations))
        async with engine.running():
            await imports
            gc.collect()
            # Objects created so far live as long as the process. freeze() excludes them from later
            # full collections, which would block the event loop.
            gc.freeze()
            yield

    app = Starlette(
        routes=[
            Route("/", start_page),
            Route("/health", health.alive),
            Route("/health/db", health.DatabaseRoute(engine), methods=["GET"]),
            Route("/desk.css", desk_style),
            Route("/admin", to_admin),
            Mount("/admin/", Desk(engine)),
        ],
        middleware=[
            Middleware(StartupCheck, engine=engine),
            Middleware(EngineMiddleware, engine=engine),
            Middleware(SecurityHeaders),
            Middleware(DatabaseErrors),
        ],
        lifespan=lifespan,
    )
    app.state.engine = engine
    return app


async def start_page(_request: Request) -> Response:
    return FileResponse(START_PAGE)


async def desk_style(_request: Request) -> Response:
    return FileResponse(STYLE_SHEET)


async def to_admin(_request: Request) -> Response:
    return RedirectResponse("/admin/")


app = create_app()
