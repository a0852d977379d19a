from learner_app.schema.migrations import MigrationManager
from learner_app.schema.columns import Reference
from piccolo.columns.column_types import Array
from piccolo.columns.column_types import Boolean
from piccolo.columns.column_types import Integer
from piccolo.columns.column_types import JSONB
from piccolo.columns.column_types import Numeric
from piccolo.columns.column_types import Timestamptz
from piccolo.columns.column_types import Varchar

ID = "2026-11-21T16:50:31:184710"
VERSION = "1.38.0"
DESCRIPTION = "comments of columns"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="learner", description=DESCRIPTION
    )

    manager.alter_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="session_id",
        db_column_name="session_id",
        params={"help_text": "The session."},
        old_params={"help_text": None},
        column_class=Reference,
        old_column_class=Reference,
        schema=None,
    )

    manager.alter_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="preference_weights",
        db_column_name="preference_weights",
        params={"help_text": "Weight of each format, 0 to 1."},
        old_params={"help_text": None},
        column_class=JSONB,
        old_column_class=JSONB,
        schema=None,
    )

    manager.alter_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="comprehension_level",
        db_column_name="comprehension_level",
        params={"help_text": "0 to 1."},
        old_params={"help_text": None},
        column_class=Numeric,
        old_column_class=Numeric,
        schema=None,
    )

    manager.alter_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="content_type_preferences",
        db_column_name="content_type_preferences",
        params={"help_text": "Liking by genre and difficulty."},
        old_params={"help_text": None},
        column_class=JSONB,
        old_column_class=JSONB,
        schema=None,
    )

    manager.alter_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="difficulty_adjustment",
        db_column_name="difficulty_adjustment",
        params={"help_text": "Added to the difficulty asked for."},
        old_params={"help_text": None},
        column_class=Numeric,
        old_column_class=Numeric,
        schema=None,
    )

    manager.alter_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="last_updated",
        db_column_name="last_updated",
        params={"help_text": "When the model last learned."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="data_points",
        db_column_name="data_points",
        params={"help_text": "Events that went into it."},
        old_params={"help_text": None},
        column_class=Integer,
        old_column_class=Integer,
        schema=None,
    )

    manager.alter_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="created_at",
        db_column_name="created_at",
        params={"help_text": "Set by the database."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="updated_at",
        db_column_name="updated_at",
        params={"help_text": "Moved by the database on every change."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="id",
        db_column_name="id",
        params={
            "help_text": "The user's id once signed in, else the listening session's id."
        },
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="session_id",
        db_column_name="session_id",
        params={"help_text": "Listening session they were made in."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="difficulty_preference",
        db_column_name="difficulty_preference",
        params={"help_text": "Wanted difficulty."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="preferred_formats",
        db_column_name="preferred_formats",
        params={"help_text": "Any of the three formats."},
        old_params={"help_text": None},
        column_class=Array,
        old_column_class=Array,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="preferred_genres",
        db_column_name="preferred_genres",
        params={"help_text": "Genres the learner likes."},
        old_params={"help_text": None},
        column_class=Array,
        old_column_class=Array,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="playback_speed",
        db_column_name="playback_speed",
        params={"help_text": "0.25 to 4."},
        old_params={"help_text": None},
        column_class=Numeric,
        old_column_class=Numeric,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="auto_play",
        db_column_name="auto_play",
        params={"help_text": "Whether the next piece starts by itself."},
        old_params={"help_text": None},
        column_class=Boolean,
        old_column_class=Boolean,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="last_updated",
        db_column_name="last_updated",
        params={"help_text": "When the learner last saved them."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="version",
        db_column_name="version",
        params={"help_text": "Counts the saves."},
        old_params={"help_text": None},
        column_class=Integer,
        old_column_class=Integer,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="created_at",
        db_column_name="created_at",
        params={"help_text": "Set by the database."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="updated_at",
        db_column_name="updated_at",
        params={"help_text": "Moved by the database on every change."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    return manager
