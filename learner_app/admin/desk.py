"""The desk: Piccolo Admin with the tables of the product, for staff.

It is read-only in this version, because the forms of Piccolo Admin send whole rows back: that
rounds times, turns empty strings into NULL and loses keys that the database did not generate.
Tables with secret columns, composite keys or row-level security are left out until they have views.
"""

from collections.abc import Sequence
from datetime import timedelta

from piccolo_admin.endpoints import AdminRouter, create_admin

from learner_app.admin import content, generation, learner, listening
from learner_app.admin.admin_table import AdminTable
from learner_app.admin.tables import StaffSessionTable, StaffUserTable
from learner_app.settings import Settings

SITE_NAME = "Learner desk"
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
