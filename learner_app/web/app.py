"""The web application: ``uvicorn learner_app.web.app:app``, or ``learner up`` with a database."""

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

from learner_app.admin.desk import STYLE_SHEET, create_desk
from learner_app.conf import DB
from learner_app.database.engine import DatabaseEngine
from learner_app.schema.pending import declared_migrations
from learner_app.web import health
from learner_app.web.errors import DatabaseErrors
from learner_app.web.security import SecurityHeaders
from learner_app.web.startup import StartupCheck

START_PAGE = Path(__file__).with_name("start.html")


def create_app(engine: DatabaseEngine = DB) -> Starlette:
    """Build the application: a start page, the health routes and the admin.

    The pool opens and closes with the application. A database that is away does not keep it from
    starting; ``/health/db`` says so and everything works once the database is back.
    """

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await asyncio.to_thread(declared_migrations)  # health compares with them, by imports
        gc.collect()
        gc.freeze()  # what the start made stays: a full collection of it would stall the loop
        await engine.start_connection_pool()
        try:
            yield
        finally:
            await engine.close_connection_pool()

    app = Starlette(
        routes=[
            Route("/", start_page),
            Route("/health", health.alive),
            Route("/health/db", health.database),
            Route("/desk.css", desk_style),
            Route("/admin", to_admin),
            Mount("/admin/", create_desk(engine.settings)),
        ],
        middleware=[
            Middleware(StartupCheck, engine=engine),
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
