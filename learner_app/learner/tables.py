"""Tables of learner states and preferences."""

from decimal import Decimal
from enum import Enum

from piccolo.columns import JSONB, Array, Boolean, Integer, Numeric, Text, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.table import Table

from learner_app.listening.tables import ListeningSessionTable
from learner_app.schema.columns import Now, Reference
from learner_app.schema.objects import Index, OneOf, UpdatedAtTrigger
from learner_app.schema.tables import SchemaTable

__all__ = [
    "DifficultyPreference",
    "LearnerModelStateTable",
    "UserPreferencesTable",
]


class DifficultyPreference(str, Enum):
    beginner = "beginner"
    intermediate = "intermediate"
    advanced = "advanced"


class LearnerModelStateTable(
    SchemaTable,
    Table,
    tablename="learner_model_state",
    help_text="State of the adaptive model, one per listening session.",
):
    session_id = Reference(
        ListeningSessionTable,
        "fk_learner_model_state_session",
        OnDelete.cascade,
        primary_key=True,
        help_text="Listening session.",
    )
    preference_weights = JSONB(default=None, help_text="Weight of each format, 0 to 1.")
    comprehension_level = Numeric(
        (3, 2), default=None, help_text="Estimated comprehension, 0 to 1."
    )
    content_type_preferences = JSONB(
        default=None, help_text="Learned preferences by genre and difficulty."
    )
    difficulty_adjustment = Numeric(
        (5, 2), default=Decimal(0), help_text="Added to the requested difficulty."
    )
    last_updated = Timestamptz(
        default=Now(), help_text="Time of the last write, which is the version of the row."
    )
    data_points = Integer(default=0, help_text="Number of events that the model has learned from.")
    created_at = Timestamptz(default=Now(), help_text="Time of the insert, set by the database.")
    updated_at = Timestamptz(
        default=Now(), help_text="Time of the last change, set by the database."
    )

    idx_learner_model_state_last_updated = Index(last_updated)
    learner_model_state_touch_updated_at = UpdatedAtTrigger(updated_at)


class UserPreferencesTable(
    SchemaTable, Table, tablename="user_preferences", help_text="Settings chosen by a learner."
):
    id = Varchar(
        255,
        primary_key=True,
        default=None,
        help_text="Id of the user, or of the listening session without a user.",
    )
    session_id = Varchar(
        255, default=None, null=True, help_text="Listening session in which they were saved."
    )
    difficulty_preference = Varchar(
        50, default=None, choices=DifficultyPreference, help_text="Preferred difficulty."
    )
    preferred_formats = Array(Text(), default=[], help_text="Preferred formats.")
    preferred_genres = Array(Text(), default=[], help_text="Preferred genres.")
    playback_speed = Numeric(
        (3, 2), default=Decimal("1.0"), help_text="Multiple of the recorded speed, 0.25 to 4."
    )
    auto_play = Boolean(default=True, help_text="True if the next content starts automatically.")
    last_updated = Timestamptz(default=Now(), help_text="Time of the last save.")
    version = Integer(default=1, help_text="Version, which every write increases.")
    created_at = Timestamptz(default=Now(), help_text="Time of the insert, set by the database.")
    updated_at = Timestamptz(
        default=Now(), help_text="Time of the last change, set by the database."
    )

    user_preferences_difficulty_preference_check = OneOf(
        difficulty_preference, DifficultyPreference
    )
    idx_user_preferences_session_id = Index(session_id, where="session_id IS NOT NULL")
    user_preferences_touch_updated_at = UpdatedAtTrigger(updated_at)
