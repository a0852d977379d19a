from learner_app.schema.migrations import MigrationManager
from learner_app.schema.columns import Reference
from piccolo.columns.column_types import Array
from piccolo.columns.column_types import Boolean
from piccolo.columns.column_types import Integer
from piccolo.columns.column_types import JSONB
from piccolo.columns.column_types import Numeric
from piccolo.columns.column_types import Timestamptz
from piccolo.columns.column_types import Varchar

ID = "2026-11-21T16:50:31:987883"
VERSION = "1.38.0"
DESCRIPTION = "comments of columns"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="listening", description=DESCRIPTION
    )

    manager.alter_column(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="id",
        db_column_name="id",
        params={"help_text": "Key, made by the client."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="content_id",
        db_column_name="content_id",
        params={"help_text": "The piece it happened in."},
        old_params={"help_text": None},
        column_class=Reference,
        old_column_class=Reference,
        schema=None,
    )

    manager.alter_column(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="event_type",
        db_column_name="event_type",
        params={
            "help_text": "play, pause, skip, replay, complete, abandon and others."
        },
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="timestamp",
        db_column_name="timestamp",
        params={"help_text": "When it happened."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="playback_position",
        db_column_name="playback_position",
        params={"help_text": "In seconds from the start."},
        old_params={"help_text": None},
        column_class=Numeric,
        old_column_class=Numeric,
        schema=None,
    )

    manager.alter_column(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="playback_position_percent",
        db_column_name="playback_position_percent",
        params={"help_text": "Of the duration, 0 to 100."},
        old_params={"help_text": None},
        column_class=Numeric,
        old_column_class=Numeric,
        schema=None,
    )

    manager.alter_column(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="duration",
        db_column_name="duration",
        params={"help_text": "Seconds listened since the last event."},
        old_params={"help_text": None},
        column_class=Numeric,
        old_column_class=Numeric,
        schema=None,
    )

    manager.alter_column(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="session_id",
        db_column_name="session_id",
        params={"help_text": "The session it happened in."},
        old_params={"help_text": None},
        column_class=Reference,
        old_column_class=Reference,
        schema=None,
    )

    manager.alter_column(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="content_characteristics",
        db_column_name="content_characteristics",
        params={
            "help_text": "format, genre, difficulty and template_id of the piece then."
        },
        old_params={"help_text": None},
        column_class=JSONB,
        old_column_class=JSONB,
        schema=None,
    )

    manager.alter_column(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="device_info",
        db_column_name="device_info",
        params={"help_text": "As the client reports it."},
        old_params={"help_text": None},
        column_class=JSONB,
        old_column_class=JSONB,
        schema=None,
    )

    manager.alter_column(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="network_type",
        db_column_name="network_type",
        params={"help_text": "wifi, 4g, offline."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="context",
        db_column_name="context",
        params={"help_text": "Anything else, by key."},
        old_params={"help_text": None},
        column_class=JSONB,
        old_column_class=JSONB,
        schema=None,
    )

    manager.alter_column(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="created_at",
        db_column_name="created_at",
        params={"help_text": "When it was stored."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        column_name="content_id",
        db_column_name="content_id",
        params={"help_text": "The piece."},
        old_params={"help_text": None},
        column_class=Reference,
        old_column_class=Reference,
        schema=None,
    )

    manager.alter_column(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        column_name="session_id",
        db_column_name="session_id",
        params={"help_text": "The session."},
        old_params={"help_text": None},
        column_class=Reference,
        old_column_class=Reference,
        schema=None,
    )

    manager.alter_column(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        column_name="liked",
        db_column_name="liked",
        params={"help_text": "Whether the like stands."},
        old_params={"help_text": None},
        column_class=Boolean,
        old_column_class=Boolean,
        schema=None,
    )

    manager.alter_column(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        column_name="liked_at",
        db_column_name="liked_at",
        params={"help_text": "First liked."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        column_name="unliked_at",
        db_column_name="unliked_at",
        params={"help_text": "Taken back."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        column_name="reaction_type",
        db_column_name="reaction_type",
        params={"help_text": "How it was liked."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        column_name="content_characteristics",
        db_column_name="content_characteristics",
        params={
            "help_text": "format, genre, difficulty and template_id of the piece."
        },
        old_params={"help_text": None},
        column_class=JSONB,
        old_column_class=JSONB,
        schema=None,
    )

    manager.alter_column(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        column_name="created_at",
        db_column_name="created_at",
        params={"help_text": "Set by the database."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        column_name="updated_at",
        db_column_name="updated_at",
        params={"help_text": "Moved by the database on every change."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ListeningSessionTable",
        tablename="sessions",
        column_name="id",
        db_column_name="id",
        params={"help_text": "Key, kept by the browser."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ListeningSessionTable",
        tablename="sessions",
        column_name="started_at",
        db_column_name="started_at",
        params={"help_text": "First call of the session."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ListeningSessionTable",
        tablename="sessions",
        column_name="last_activity_at",
        db_column_name="last_activity_at",
        params={"help_text": "Latest call of the session."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ListeningSessionTable",
        tablename="sessions",
        column_name="content_ids",
        db_column_name="content_ids",
        params={"help_text": "Its pieces in listening order."},
        old_params={"help_text": None},
        column_class=Array,
        old_column_class=Array,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ListeningSessionTable",
        tablename="sessions",
        column_name="current_content_id",
        db_column_name="current_content_id",
        params={"help_text": "The piece being listened to; may be gone by now."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ListeningSessionTable",
        tablename="sessions",
        column_name="total_listening_time",
        db_column_name="total_listening_time",
        params={"help_text": "In seconds."},
        old_params={"help_text": None},
        column_class=Integer,
        old_column_class=Integer,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ListeningSessionTable",
        tablename="sessions",
        column_name="created_at",
        db_column_name="created_at",
        params={"help_text": "Set by the database."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ListeningSessionTable",
        tablename="sessions",
        column_name="updated_at",
        db_column_name="updated_at",
        params={"help_text": "Moved by the database on every change."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    return manager
