from learner_app.schema.migrations import MigrationManager
from enum import Enum
from learner_app.schema.columns import Now
from learner_app.schema.columns import Reference
from learner_app.schema.objects import ForeignKeyConstraint
from learner_app.schema.objects import Index
from learner_app.schema.objects import OneOf
from learner_app.schema.objects import PrimaryKey
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


class ContentTable(Table, tablename="content", schema=None):
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


ID = "2026-11-21T06:00:16:394112"
VERSION = "1.38.0"
DESCRIPTION = "First tables"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="listening", description=DESCRIPTION
    )

    manager.add_table(
        class_name="BehavioralEventTable",
        tablename="behavioral_events",
        schema=None,
        columns=None,
    )

    manager.add_table(
        class_name="ListeningSessionTable",
        tablename="sessions",
        schema=None,
        columns=None,
    )

    manager.add_table(
        class_name="LikeEngagementTable",
        tablename="like_engagement",
        schema=None,
        columns=None,
    )

    manager.add_column(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
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
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="content_id",
        db_column_name="content_id",
        column_class_name="Reference",
        column_class=Reference,
        params={
            "references": ContentTable,
            "target_column": None,
            "null": False,
            "primary_key": False,
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
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="event_type",
        db_column_name="event_type",
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
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="timestamp",
        db_column_name="timestamp",
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
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="playback_position",
        db_column_name="playback_position",
        column_class_name="Numeric",
        column_class=Numeric,
        params={
            "default": None,
            "digits": (10, 2),
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
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="playback_position_percent",
        db_column_name="playback_position_percent",
        column_class_name="Numeric",
        column_class=Numeric,
        params={
            "default": None,
            "digits": (5, 2),
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
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="duration",
        db_column_name="duration",
        column_class_name="Numeric",
        column_class=Numeric,
        params={
            "default": None,
            "digits": (10, 2),
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
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="session_id",
        db_column_name="session_id",
        column_class_name="Reference",
        column_class=Reference,
        params={
            "references": ListeningSessionTable,
            "target_column": None,
            "null": False,
            "primary_key": False,
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
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="content_characteristics",
        db_column_name="content_characteristics",
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
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="device_info",
        db_column_name="device_info",
        column_class_name="JSONB",
        column_class=JSONB,
        params={
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
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="network_type",
        db_column_name="network_type",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 50,
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
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        column_name="context",
        db_column_name="context",
        column_class_name="JSONB",
        column_class=JSONB,
        params={
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
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
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
        table_class_name="ListeningSessionTable",
        tablename="sessions",
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
        table_class_name="ListeningSessionTable",
        tablename="sessions",
        column_name="started_at",
        db_column_name="started_at",
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
        table_class_name="ListeningSessionTable",
        tablename="sessions",
        column_name="last_activity_at",
        db_column_name="last_activity_at",
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
        table_class_name="ListeningSessionTable",
        tablename="sessions",
        column_name="content_ids",
        db_column_name="content_ids",
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
        table_class_name="ListeningSessionTable",
        tablename="sessions",
        column_name="current_content_id",
        db_column_name="current_content_id",
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
        table_class_name="ListeningSessionTable",
        tablename="sessions",
        column_name="total_listening_time",
        db_column_name="total_listening_time",
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
        table_class_name="ListeningSessionTable",
        tablename="sessions",
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
        table_class_name="ListeningSessionTable",
        tablename="sessions",
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
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        column_name="content_id",
        db_column_name="content_id",
        column_class_name="Reference",
        column_class=Reference,
        params={
            "references": ContentTable,
            "target_column": None,
            "null": False,
            "primary_key": False,
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
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        column_name="session_id",
        db_column_name="session_id",
        column_class_name="Reference",
        column_class=Reference,
        params={
            "references": ListeningSessionTable,
            "target_column": None,
            "null": False,
            "primary_key": False,
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
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        column_name="liked",
        db_column_name="liked",
        column_class_name="Boolean",
        column_class=Boolean,
        params={
            "default": False,
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
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        column_name="liked_at",
        db_column_name="liked_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
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
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        column_name="unliked_at",
        db_column_name="unliked_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
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
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        column_name="reaction_type",
        db_column_name="reaction_type",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 50,
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": Enum(
                "ReactionType",
                {"like": "like", "love": "love", "favorite": "favorite"},
            ),
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        column_name="content_characteristics",
        db_column_name="content_characteristics",
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
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
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
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
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
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        constraint_name="idx_behavioral_events_content_characteristics@index.b66759b8",
        constraint_class=Index,
        params={
            "on": ['"content_characteristics"'],
            "method": "gin",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        constraint_name="idx_behavioral_events_content_id@index.35824709",
        constraint_class=Index,
        params={
            "on": ['"content_id"'],
            "method": "btree",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        constraint_name="idx_behavioral_events_event_type@index.71592830",
        constraint_class=Index,
        params={
            "on": ['"event_type"'],
            "method": "btree",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        constraint_name="idx_behavioral_events_session_id@index.b918a73a",
        constraint_class=Index,
        params={
            "on": ['"session_id"'],
            "method": "btree",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        constraint_name="idx_behavioral_events_timestamp@index.af4144f7",
        constraint_class=Index,
        params={
            "on": ['"timestamp"'],
            "method": "btree",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        constraint_name="fk_behavioral_events_content@fk.5b2ebb86",
        constraint_class=ForeignKeyConstraint,
        params={
            "columns": ["content_id"],
            "references": "content",
            "target_columns": ["id"],
            "on_delete": "CASCADE",
            "on_update": "NO ACTION",
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="BehavioralEventTable",
        tablename="behavioral_events",
        constraint_name="fk_behavioral_events_session@fk.eefb1818",
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
        table_class_name="ListeningSessionTable",
        tablename="sessions",
        constraint_name="idx_sessions_last_activity@index.d9750b03",
        constraint_class=Index,
        params={
            "on": ['"last_activity_at"'],
            "method": "btree",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="ListeningSessionTable",
        tablename="sessions",
        constraint_name="idx_sessions_started_at@index.a0bf323d",
        constraint_class=Index,
        params={
            "on": ['"started_at"'],
            "method": "btree",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="ListeningSessionTable",
        tablename="sessions",
        constraint_name="sessions_touch_updated_at@touch.e668aa65",
        constraint_class=UpdatedAtTrigger,
        params={"column": "updated_at"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        constraint_name="like_engagement_pkey@pk.c782d2b6",
        constraint_class=PrimaryKey,
        params={"columns": ["content_id", "session_id"]},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        constraint_name="like_engagement_reaction_type_check@oneof.6fdd2737",
        constraint_class=OneOf,
        params={
            "column": "reaction_type",
            "values": ["like", "love", "favorite"],
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        constraint_name="idx_like_engagement_content_characteristics@index.b66759b8",
        constraint_class=Index,
        params={
            "on": ['"content_characteristics"'],
            "method": "gin",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        constraint_name="idx_like_engagement_liked@index.2b5a0983",
        constraint_class=Index,
        params={
            "on": ['"liked"'],
            "method": "btree",
            "unique": False,
            "where": "liked = true",
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        constraint_name="idx_like_engagement_session_id@index.b918a73a",
        constraint_class=Index,
        params={
            "on": ['"session_id"'],
            "method": "btree",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        constraint_name="like_engagement_touch_updated_at@touch.e668aa65",
        constraint_class=UpdatedAtTrigger,
        params={"column": "updated_at"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        constraint_name="fk_like_engagement_content@fk.5b2ebb86",
        constraint_class=ForeignKeyConstraint,
        params={
            "columns": ["content_id"],
            "references": "content",
            "target_columns": ["id"],
            "on_delete": "CASCADE",
            "on_update": "NO ACTION",
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="LikeEngagementTable",
        tablename="like_engagement",
        constraint_name="fk_like_engagement_session@fk.eefb1818",
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

    return manager
