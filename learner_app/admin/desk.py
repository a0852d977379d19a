"""What staff see of the product, table by table, in Piccolo Admin.

Read only in this version: Piccolo Admin's forms send whole rows back, which rounds times, turns
empty text into NULL and loses given keys. Tables with secret columns, composite keys or row
security are left out until they have views of their own.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from piccolo.columns import Column
from piccolo.table import Table
from piccolo_admin.endpoints import AdminRouter, TableConfig, create_admin
from piccolo_api.crud.endpoints import OrderBy, PiccoloCRUD
from piccolo_api.crud.validators import Validators
from starlette.exceptions import HTTPException
from starlette.requests import Request

from learner_app.admin.tables import StaffSessionTable, StaffUserTable
from learner_app.content.tables import ContentTable
from learner_app.generation.tables import GenerationStatusTable
from learner_app.learner.tables import LearnerModelStateTable, UserPreferencesTable
from learner_app.listening.tables import BehavioralEventTable, ListeningSessionTable
from learner_app.settings import Settings

SITE_NAME = "Learner desk"
STYLE_SHEET = Path(__file__).with_name("desk.css")
STYLE_LINK = '<link rel="stylesheet" href="../desk.css"><link rel="icon" href="data:,">'


def create_desk(settings: Settings) -> AdminRouter:
    """The admin as an ASGI application, to be mounted under ``/admin/``."""
    desk: AdminRouter = create_admin(
        tables=_tables(),
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


async def _refuse_changes(piccolo_crud: PiccoloCRUD, request: Request) -> None:
    """For every table, whatever the verb; staff may still change their own password."""
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        table = piccolo_crud.table._meta.tablename
        raise HTTPException(405, f"The desk shows {table}, it does not change it.")


def _tables() -> list[TableConfig]:
    content, session, event = ContentTable, ListeningSessionTable, BehavioralEventTable
    state, preferences, job = LearnerModelStateTable, UserPreferencesTable, GenerationStatusTable
    return [
        _table(
            content,
            "Content",
            columns=[
                content.title,
                content.format,
                content.difficulty,
                content.estimated_comprehension_level,
                content.genre,
                content.duration,
                content.series_id,
                content.episode_number,
                content.generated_at,
            ],
            filters=[
                content.id,
                content.title,
                content.format,
                content.difficulty,
                content.estimated_comprehension_level,
                content.genre,
                content.series_id,
                content.session_id,
                content.generated_at,
            ],
            newest_first=content.generated_at,
            link=content.title,
        ),
        _table(
            session,
            "Listening",
            columns=[
                session.id,
                session.started_at,
                session.last_activity_at,
                session.total_listening_time,
                session.current_content_id,
            ],
            filters=[
                session.id,
                session.started_at,
                session.last_activity_at,
                session.total_listening_time,
            ],
            newest_first=session.last_activity_at,
        ),
        _table(
            event,
            "Listening",
            columns=[
                event.id,
                event.timestamp,
                event.event_type,
                event.content_id,
                event.session_id,
                event.playback_position,
                event.playback_position_percent,
            ],
            filters=[
                event.id,
                event.event_type,
                event.content_id,
                event.session_id,
                event.timestamp,
            ],
            newest_first=event.timestamp,
        ),
        _table(
            state,
            "Learner",
            columns=[
                state.session_id,
                state.comprehension_level,
                state.difficulty_adjustment,
                state.data_points,
                state.last_updated,
            ],
            filters=[state.session_id, state.comprehension_level, state.last_updated],
            newest_first=state.last_updated,
        ),
        _table(
            preferences,
            "Learner",
            columns=[
                preferences.id,
                preferences.difficulty_preference,
                preferences.preferred_formats,
                preferences.playback_speed,
                preferences.auto_play,
                preferences.version,
                preferences.last_updated,
            ],
            filters=[
                preferences.id,
                preferences.session_id,
                preferences.difficulty_preference,
                preferences.last_updated,
            ],
            newest_first=preferences.last_updated,
        ),
        _table(
            job,
            "Generation",
            columns=[
                job.generation_id,
                job.status,
                job.session_id,
                job.content_id,
                job.started_at,
                job.completed_at,
                job.error_message,
            ],
            filters=[job.generation_id, job.status, job.session_id, job.started_at],
            newest_first=job.started_at,
        ),
    ]


def _table(
    table: type[Table],
    group: str,
    columns: Sequence[Column],
    filters: Sequence[Column],
    newest_first: Column,
    link: Column | None = None,
) -> TableConfig:
    return TableConfig(
        table,
        visible_columns=list(columns),
        visible_filters=list(filters),
        menu_group=group,
        validators=Validators(every=[_refuse_changes]),
        link_column=link,
        order_by=[OrderBy(column=newest_first, ascending=False)],
    )
