from learner_app.schema.migrations import MigrationManager
from enum import Enum
from learner_app.schema.columns import Now
from learner_app.schema.columns import Reference
from learner_app.schema.objects import ForeignKeyConstraint
from learner_app.schema.objects import Index
from learner_app.schema.objects import OneOf
from learner_app.schema.objects import UpdatedAtTrigger
from piccolo.columns.column_types import Array
from piccolo.columns.column_types import Boolean
from piccolo.columns.column_types import Integer
from piccolo.columns.column_types import JSONB
from piccolo.columns.column_types import Numeric
from piccolo.columns.column_types import Text
from piccolo.columns.column_types import Timestamptz
from piccolo.columns.column_types import Varchar
from piccolo.columns.indexes import IndexMethod
from piccolo.table import Table
import decimal


class ListeningSessionTable(Table, tablename="sessions", schema=None):
    id = Varchar(
        length=255,
        default=None,
        null=False,
        primary_key=True,
        unique=False,
        index=False,
        index_method=IndexMethod.btree,
        choices=None,
        db_column_name=None,
        secret=False,
    )


ID = "2026-11-21T06:00:16:995974"
VERSION = "1.38.0"
DESCRIPTION = "First tables"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="learner", description=DESCRIPTION
    )

    manager.add_table(
        class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        schema=None,
        columns=None,
    )

    manager.add_table(
        class_name="UserPreferencesTable",
        tablename="user_preferences",
        schema=None,
        columns=None,
    )

    manager.add_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="session_id",
        db_column_name="session_id",
        column_class_name="Reference",
        column_class=Reference,
        params={
            "references": ListeningSessionTable,
            "target_column": None,
            "null": False,
            "primary_key": True,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
            "column_type": "VARCHAR(255)",
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="preference_weights",
        db_column_name="preference_weights",
        column_class_name="JSONB",
        column_class=JSONB,
        params={
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="comprehension_level",
        db_column_name="comprehension_level",
        column_class_name="Numeric",
        column_class=Numeric,
        params={
            "default": None,
            "digits": (3, 2),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="content_type_preferences",
        db_column_name="content_type_preferences",
        column_class_name="JSONB",
        column_class=JSONB,
        params={
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="difficulty_adjustment",
        db_column_name="difficulty_adjustment",
        column_class_name="Numeric",
        column_class=Numeric,
        params={
            "default": decimal.Decimal("0"),
            "digits": (5, 2),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="last_updated",
        db_column_name="last_updated",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": Now(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="data_points",
        db_column_name="data_points",
        column_class_name="Integer",
        column_class=Integer,
        params={
            "default": 0,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="created_at",
        db_column_name="created_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": Now(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        column_name="updated_at",
        db_column_name="updated_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": Now(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="id",
        db_column_name="id",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": False,
            "primary_key": True,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="session_id",
        db_column_name="session_id",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="difficulty_preference",
        db_column_name="difficulty_preference",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 50,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": Enum(
                "DifficultyPreference",
                {
                    "beginner": "beginner",
                    "intermediate": "intermediate",
                    "advanced": "advanced",
                },
            ),
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="preferred_formats",
        db_column_name="preferred_formats",
        column_class_name="Array",
        column_class=Array,
        params={
            "default": [],
            "base_column": Text(
                default="",
                null=False,
                primary_key=False,
                unique=False,
                index=False,
                index_method=IndexMethod.btree,
                choices=None,
                db_column_name=None,
                secret=False,
            ),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="preferred_genres",
        db_column_name="preferred_genres",
        column_class_name="Array",
        column_class=Array,
        params={
            "default": [],
            "base_column": Text(
                default="",
                null=False,
                primary_key=False,
                unique=False,
                index=False,
                index_method=IndexMethod.btree,
                choices=None,
                db_column_name=None,
                secret=False,
            ),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="playback_speed",
        db_column_name="playback_speed",
        column_class_name="Numeric",
        column_class=Numeric,
        params={
            "default": decimal.Decimal("1.0"),
            "digits": (3, 2),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="auto_play",
        db_column_name="auto_play",
        column_class_name="Boolean",
        column_class=Boolean,
        params={
            "default": True,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="last_updated",
        db_column_name="last_updated",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": Now(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="version",
        db_column_name="version",
        column_class_name="Integer",
        column_class=Integer,
        params={
            "default": 1,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="created_at",
        db_column_name="created_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": Now(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        column_name="updated_at",
        db_column_name="updated_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": Now(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        constraint_name="idx_learner_model_state_last_updated@index.265440de",
        constraint_class=Index,
        params={
            "on": ['"last_updated"'],
            "method": "btree",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        constraint_name="learner_model_state_touch_updated_at@touch.e668aa65",
        constraint_class=UpdatedAtTrigger,
        params={"column": "updated_at"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="LearnerModelStateTable",
        tablename="learner_model_state",
        constraint_name="fk_learner_model_state_session@fk.eefb1818",
        constraint_class=ForeignKeyConstraint,
        params={
            "columns": ["session_id"],
            "references": "sessions",
            "target_columns": ["id"],
            "on_delete": "CASCADE",
            "on_update": "NO ACTION",
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        constraint_name="user_preferences_difficulty_preference_check@oneof.bf9dcd04",
        constraint_class=OneOf,
        params={
            "column": "difficulty_preference",
            "values": ["beginner", "intermediate", "advanced"],
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        constraint_name="idx_user_preferences_session_id@index.ae2178c7",
        constraint_class=Index,
        params={
            "on": ['"session_id"'],
            "method": "btree",
            "unique": False,
            "where": "session_id IS NOT NULL",
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="UserPreferencesTable",
        tablename="user_preferences",
        constraint_name="user_preferences_touch_updated_at@touch.e668aa65",
        constraint_class=UpdatedAtTrigger,
        params={"column": "updated_at"},
        schema=None,
    )

    return manager
