"""Listening sessions and what happens in them."""

from enum import Enum

from piccolo.columns import JSONB, Array, Boolean, Integer, Numeric, Text, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.table import Table

from learner_app.content.tables import ContentTable
from learner_app.schema.columns import Now, Reference
from learner_app.schema.objects import Index, OneOf, PrimaryKey, Uncompressed, UpdatedAtTrigger
from learner_app.schema.tables import SchemaTable


class ReactionType(str, Enum):
    like = "like"
    love = "love"
    favorite = "favorite"


class ListeningSessionTable(
    SchemaTable,
    Table,
    tablename="sessions",
    help_text="Listening sessions, one per device.",
):
    id = Varchar(255, primary_key=True, default=None, help_text="Key, kept by the browser.")
    started_at = Timestamptz(default=Now(), help_text="First call of the session.")
    last_activity_at = Timestamptz(default=Now(), help_text="Latest call of the session.")
    content_ids = Array(Text(), default=[], help_text="Its pieces in listening order.")
    current_content_id = Varchar(
        255, default=None, null=True, help_text="The piece being listened to; may be gone by now."
    )
    total_listening_time = Integer(default=0, help_text="In seconds.")
    created_at = Timestamptz(default=Now(), help_text="Set by the database.")
    updated_at = Timestamptz(default=Now(), help_text="Moved by the database on every change.")

    idx_sessions_last_activity = Index(last_activity_at)
    idx_sessions_started_at = Index(started_at)
    sessions_content_ids_uncompressed = Uncompressed(content_ids)
    sessions_touch_updated_at = UpdatedAtTrigger(updated_at)


class BehavioralEventTable(
    SchemaTable,
    Table,
    tablename="behavioral_events",
    help_text="What learners do while listening; millions of rows, never changed.",
):
    id = Varchar(255, primary_key=True, default=None, help_text="Key, made by the client.")
    content_id = Reference(
        ContentTable,
        "fk_behavioral_events_content",
        OnDelete.cascade,
        help_text="The piece it happened in.",
    )
    event_type = Varchar(
        50, default=None, help_text="play, pause, skip, replay, complete, abandon and others."
    )
    timestamp = Timestamptz(default=Now(), help_text="When it happened.")
    playback_position = Numeric((10, 2), default=None, help_text="In seconds from the start.")
    playback_position_percent = Numeric(
        (5, 2), default=None, null=True, help_text="Of the duration, 0 to 100."
    )
    duration = Numeric(
        (10, 2), default=None, null=True, help_text="Seconds listened since the last event."
    )
    session_id = Reference(
        ListeningSessionTable,
        "fk_behavioral_events_session",
        OnDelete.cascade,
        help_text="The session it happened in.",
    )
    content_characteristics = JSONB(
        default=None,
        help_text="format, genre, difficulty and template_id of the piece then.",
    )
    device_info = JSONB(default=None, null=True, help_text="As the client reports it.")
    network_type = Varchar(50, default=None, null=True, help_text="wifi, 4g, offline.")
    context = JSONB(default=None, null=True, help_text="Anything else, by key.")
    created_at = Timestamptz(default=Now(), help_text="When it was stored.")

    idx_behavioral_events_content_characteristics = Index(content_characteristics, method="gin")
    idx_behavioral_events_content_id = Index(content_id)
    idx_behavioral_events_event_type = Index(event_type)
    idx_behavioral_events_session_id = Index(session_id)
    idx_behavioral_events_timestamp = Index(timestamp)


class LikeEngagementTable(
    SchemaTable, Table, tablename="like_engagement", help_text="Likes, one per session and piece."
):
    content_id = Reference(
        ContentTable, "fk_like_engagement_content", OnDelete.cascade, help_text="The piece."
    )
    session_id = Reference(
        ListeningSessionTable,
        "fk_like_engagement_session",
        OnDelete.cascade,
        help_text="The session.",
    )
    liked = Boolean(default=False, help_text="Whether the like stands.")
    liked_at = Timestamptz(default=None, null=True, help_text="First liked.")
    unliked_at = Timestamptz(default=None, null=True, help_text="Taken back.")
    reaction_type = Varchar(
        50, default=None, null=True, choices=ReactionType, help_text="How it was liked."
    )
    content_characteristics = JSONB(
        default=None, help_text="format, genre, difficulty and template_id of the piece."
    )
    created_at = Timestamptz(default=Now(), help_text="Set by the database.")
    updated_at = Timestamptz(default=Now(), help_text="Moved by the database on every change.")

    like_engagement_pkey = PrimaryKey([content_id, session_id])
    like_engagement_reaction_type_check = OneOf(reaction_type, ReactionType)
    idx_like_engagement_content_characteristics = Index(content_characteristics, method="gin")
    idx_like_engagement_liked = Index(liked, where="liked = true")
    idx_like_engagement_session_id = Index(session_id)
    like_engagement_touch_updated_at = UpdatedAtTrigger(updated_at)
