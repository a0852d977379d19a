"""The desk: Piccolo Admin with the tables of the product, for staff.

It is read-only in this version, because the forms of Piccolo Admin send whole rows back: that
rounds times, turns empty strings into NULL and loses keys that the database did not generate.
Tables with secret columns, composite keys or row-level security are left out until they have views.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from piccolo_admin.endpoints import AdminRouter, create_admin
from starlette.types import Receive, Scope, Send

from learner_app.admin import content, generation, learner, listening
from learner_app.admin.admin_table import AdminTable
from learner_app.admin.tables import StaffSessionTable, StaffUserTable
from learner_app.database.engine import DatabaseEngine
from learner_app.settings import Settings

SITE_NAME = "Learner desk"
STYLE_SHEET = Path(__file__).with_name("desk.css")
STYLE_LINK = '<link rel="stylesheet" href="../desk.css"><link rel="icon" href="data:,">'

TABLES = (
    content.CONTENT,
    listening.SESSIONS,
    listening.EVENTS,
    learner.MODEL_STATES,
    learner.PREFERENCES,
    generation.JOBS,
)
"""Declarations in the order of the menu."""


class Desk:
    """ASGI application that builds the desk when it is first used.

    Building it reads the settings. It is not built at import, so that an invalid setting is
    reported when the application starts.
    """

    def __init__(self, engine: DatabaseEngine) -> None:
        self._engine = engine
        self._router: AdminRouter | None = None

    def build(self) -> AdminRouter:
        """Return the desk, built by the first call.

        Raises:
            SettingsError: a setting is invalid.
        """
        if self._router is None:
            self._router = create_desk(self._engine.settings)
        return self._router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.build()(scope, receive, send)


def create_desk(settings: Settings, tables: Sequence[AdminTable] = TABLES) -> AdminRouter:
    """Build the desk as an ASGI application, to be mounted under ``/admin/``."""
    desk: AdminRouter = create_admin(
        tables=[table.config for table in tables],
        auth_table=StaffUserTable,
        session_table=StaffSessionTable,
        session_expiry=timedelta(hours=8),
        max_session_expiry=timedelta(days=1),
        page_size=25,
        production=settings.app_env == "production",
        site_name=SITE_NAME,
        default_language_code="en",
        auto_include_related=False,
    )
    desk.template = desk.template.replace("</head>", f"{STYLE_LINK}</head>")
    return desk
