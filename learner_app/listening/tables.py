"""Tables of listening sessions, behavioral events and likes."""

from enum import Enum

from piccolo.columns import JSONB, Array, Boolean, Integer, Numeric, Text, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.table import Table

from learner_app.content.tables import ContentTable
from learner_app.schema.columns import Now, Reference
from learner_app.schema.objects import Index, OneOf, PrimaryKey, Uncompressed, UpdatedAtTrigger
from learner_app.schema.tables import SchemaTable

__all__ = [
    "BehavioralEventTable",
    "LikeEngagementTable",
    "ListeningSessionTable",
    "ReactionType",
]


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
    id = Varchar(
        255, primary_key=True, default=None, help_text="Session id, stored by the browser."
    )
    started_at = Timestamptz(default=Now(), help_text="Time of the first call.")
    last_activity_at = Timestamptz(default=Now(), help_text="Time of the latest call.")
    content_ids = Array(Text(), default=[], help_text="Ids of content items in listening order.")
    current_content_id = Varchar(
        255, default=None, null=True, help_text="Current content. It may have been deleted."
    )
    total_listening_time = Integer(default=0, help_text="Total listening time, in seconds.")
    created_at = Timestamptz(default=Now(), help_text="Time of the insert, set by the database.")
    updated_at = Timestamptz(
        default=Now(), help_text="Time of the last change, set by the database."
    )

    idx_sessions_last_activity = Index(last_activity_at)
    idx_sessions_started_at = Index(started_at)
    sessions_content_ids_uncompressed = Uncompressed(content_ids)
    sessions_touch_updated_at = UpdatedAtTrigger(updated_at)


class BehavioralEventTable(
    SchemaTable,
    Table,
    tablename="behavioral_events",
    help_text="Actions of learners while listening.",
):
    id = Varchar(255, primary_key=True, default=None, help_text="Event id, chosen by the client.")
    content_id = Reference(
        ContentTable,
        "fk_behavioral_events_content",
        OnDelete.cascade,
        help_text="Content that was playing.",
    )
    event_type = Varchar(
        50, default=None, help_text="Such as play, pause, skip, replay, complete or abandon."
    )
    timestamp = Timestamptz(default=Now(), help_text="Time of the event.")
    playback_position = Numeric((10, 2), default=None, help_text="In seconds from the start.")
    playback_position_percent = Numeric(
        (5, 2), default=None, null=True, help_text="Percentage of the duration, 0 to 100."
    )
    duration = Numeric(
        (10, 2), default=None, null=True, help_text="Seconds listened since the previous event."
    )
    session_id = Reference(
        ListeningSessionTable,
        "fk_behavioral_events_session",
        OnDelete.cascade,
        help_text="Listening session of the event.",
    )
    content_characteristics = JSONB(
        default=None,
        help_text="format, genre, difficulty and template_id of the content at that time.",
    )
    device_info = JSONB(
        default=None, null=True, help_text="Device information reported by the client."
    )
    network_type = Varchar(50, default=None, null=True, help_text="Such as wifi, 4g or offline.")
    context = JSONB(default=None, null=True, help_text="Additional fields of the client.")
    created_at = Timestamptz(default=Now(), help_text="Time of the insert, set by the database.")

    idx_behavioral_events_content_characteristics = Index(content_characteristics, method="gin")
    idx_behavioral_events_content_id = Index(content_id)
    idx_behavioral_events_event_type = Index(event_type)
    idx_behavioral_events_session_id = Index(session_id)
    idx_behavioral_events_timestamp = Index(timestamp)


class LikeEngagementTable(
    SchemaTable, Table, tablename="like_engagement", help_text="Likes, one per session and content."
):
    content_id = Reference(
        ContentTable, "fk_like_engagement_content", OnDelete.cascade, help_text="Liked content."
    )
    session_id = Reference(
        ListeningSessionTable,
        "fk_like_engagement_session",
        OnDelete.cascade,
        help_text="Listening session.",
    )
    liked = Boolean(default=False, help_text="False if the like was removed.")
    liked_at = Timestamptz(default=None, null=True, help_text="Time of the first like.")
    unliked_at = Timestamptz(default=None, null=True, help_text="Time of the removal.")
    reaction_type = Varchar(
        50, default=None, null=True, choices=ReactionType, help_text="Kind of reaction."
    )
    content_characteristics = JSONB(
        default=None, help_text="format, genre, difficulty and template_id of the content."
    )
    created_at = Timestamptz(default=Now(), help_text="Time of the insert, set by the database.")
    updated_at = Timestamptz(
        default=Now(), help_text="Time of the last change, set by the database."
    )

    like_engagement_pkey = PrimaryKey([content_id, session_id])
    like_engagement_reaction_type_check = OneOf(reaction_type, ReactionType)
    idx_like_engagement_content_characteristics = Index(content_characteristics, method="gin")
    idx_like_engagement_liked = Index(liked, where="liked = true")
    idx_like_engagement_session_id = Index(session_id)
    like_engagement_touch_updated_at = UpdatedAtTrigger(updated_at)
