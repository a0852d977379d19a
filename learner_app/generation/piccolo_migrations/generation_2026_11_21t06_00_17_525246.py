from learner_app.schema.migrations import MigrationManager
from enum import Enum
from learner_app.schema.columns import Now
from learner_app.schema.columns import Reference
from learner_app.schema.objects import ForeignKeyConstraint
from learner_app.schema.objects import Index
from learner_app.schema.objects import OneOf
from learner_app.schema.objects import UpdatedAtTrigger
from piccolo.columns.column_types import Boolean
from piccolo.columns.column_types import Integer
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


ID = "2026-11-21T06:00:17:525246"
VERSION = "1.38.0"
DESCRIPTION = "First tables"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="generation", description=DESCRIPTION
    )

    manager.add_table(
        class_name="GenerationStatusTable",
        tablename="generation_status",
        schema=None,
        columns=None,
    )

    manager.add_column(
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="generation_id",
        db_column_name="generation_id",
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
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
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
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="status",
        db_column_name="status",
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
                "JobStatus",
                {
                    "generating": "generating",
                    "processing": "processing",
                    "completed": "completed",
                    "failed": "failed",
                },
            ),
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="content_id",
        db_column_name="content_id",
        column_class_name="Reference",
        column_class=Reference,
        params={
            "references": ContentTable,
            "target_column": None,
            "null": True,
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
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="webhook_url",
        db_column_name="webhook_url",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 1000,
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
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="webhook_sent",
        db_column_name="webhook_sent",
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
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="error_message",
        db_column_name="error_message",
        column_class_name="Text",
        column_class=Text,
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
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="estimated_completion_time",
        db_column_name="estimated_completion_time",
        column_class_name="Integer",
        column_class=Integer,
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
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
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
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="completed_at",
        db_column_name="completed_at",
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
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
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
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
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
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        constraint_name="generation_status_status_check@oneof.6a181eb0",
        constraint_class=OneOf,
        params={
            "column": "status",
            "values": ["generating", "processing", "completed", "failed"],
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        constraint_name="idx_generation_status_session_id@index.b918a73a",
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
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        constraint_name="idx_generation_status_started_at@index.a0bf323d",
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
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        constraint_name="idx_generation_status_status@index.c00a3c4c",
        constraint_class=Index,
        params={
            "on": ['"status"'],
            "method": "btree",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        constraint_name="generation_status_touch_updated_at@touch.e668aa65",
        constraint_class=UpdatedAtTrigger,
        params={"column": "updated_at"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        constraint_name="fk_generation_status_session@fk.eefb1818",
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
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        constraint_name="fk_generation_status_content@fk.2b7e7fa1",
        constraint_class=ForeignKeyConstraint,
        params={
            "columns": ["content_id"],
            "references": "content",
            "target_columns": ["id"],
            "on_delete": "SET NULL",
            "on_update": "NO ACTION",
        },
        schema=None,
    )

    return manager
