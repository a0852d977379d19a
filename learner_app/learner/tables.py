"""What is known of a learner: the adaptive model and the settings the learner chose."""

from decimal import Decimal
from enum import Enum

from piccolo.columns import JSONB, Array, Boolean, Integer, Numeric, Text, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.table import Table

from learner_app.listening.tables import ListeningSessionTable
from learner_app.schema.columns import Now, Reference
from learner_app.schema.objects import Index, OneOf, UpdatedAtTrigger
from learner_app.schema.tables import SchemaTable


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
        help_text="The session.",
    )
    preference_weights = JSONB(default=None, help_text="Weight of each format, 0 to 1.")
    comprehension_level = Numeric((3, 2), default=None, help_text="0 to 1.")
    content_type_preferences = JSONB(default=None, help_text="Liking by genre and difficulty.")
    difficulty_adjustment = Numeric(
        (5, 2), default=Decimal(0), help_text="Added to the difficulty asked for."
    )
    last_updated = Timestamptz(default=Now(), help_text="When the model last learned.")
    data_points = Integer(default=0, help_text="Events that went into it.")
    created_at = Timestamptz(default=Now(), help_text="Set by the database.")
    updated_at = Timestamptz(default=Now(), help_text="Moved by the database on every change.")

    idx_learner_model_state_last_updated = Index(last_updated)
    learner_model_state_touch_updated_at = UpdatedAtTrigger(updated_at)


class UserPreferencesTable(
    SchemaTable, Table, tablename="user_preferences", help_text="Settings that a learner chose."
):
    id = Varchar(
        255,
        primary_key=True,
        default=None,
        help_text="The user's id once signed in, else the listening session's id.",
    )
    session_id = Varchar(
        255, default=None, null=True, help_text="Listening session they were made in."
    )
    difficulty_preference = Varchar(
        50, default=None, choices=DifficultyPreference, help_text="Wanted difficulty."
    )
    preferred_formats = Array(Text(), default=[], help_text="Any of the three formats.")
    preferred_genres = Array(Text(), default=[], help_text="Genres the learner likes.")
    playback_speed = Numeric((3, 2), default=Decimal("1.0"), help_text="0.25 to 4.")
    auto_play = Boolean(default=True, help_text="Whether the next piece starts by itself.")
    last_updated = Timestamptz(default=Now(), help_text="When the learner last saved them.")
    version = Integer(default=1, help_text="Counts the saves.")
    created_at = Timestamptz(default=Now(), help_text="Set by the database.")
    updated_at = Timestamptz(default=Now(), help_text="Moved by the database on every change.")

    user_preferences_difficulty_preference_check = OneOf(
        difficulty_preference, DifficultyPreference
    )
    idx_user_preferences_session_id = Index(session_id, where="session_id IS NOT NULL")
    user_preferences_touch_updated_at = UpdatedAtTrigger(updated_at)
