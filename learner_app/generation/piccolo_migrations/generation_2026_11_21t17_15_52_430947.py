from learner_app.schema.migrations import MigrationManager
from learner_app.schema.columns import Reference
from piccolo.columns.column_types import Boolean
from piccolo.columns.column_types import Integer
from piccolo.columns.column_types import Text
from piccolo.columns.column_types import Timestamptz
from piccolo.columns.column_types import Varchar

ID = "2026-11-21T17:15:52:430947"
VERSION = "1.38.0"
DESCRIPTION = "comments of columns"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="generation", description=DESCRIPTION
    )

    manager.alter_column(
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="generation_id",
        db_column_name="generation_id",
        params={"help_text": "Key of the job."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="session_id",
        db_column_name="session_id",
        params={"help_text": "The session that asked."},
        old_params={"help_text": None},
        column_class=Reference,
        old_column_class=Reference,
        schema=None,
    )

    manager.alter_column(
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="status",
        db_column_name="status",
        params={"help_text": "Where the job stands."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="content_id",
        db_column_name="content_id",
        params={"help_text": "The piece that came of it."},
        old_params={"help_text": None},
        column_class=Reference,
        old_column_class=Reference,
        schema=None,
    )

    manager.alter_column(
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="webhook_url",
        db_column_name="webhook_url",
        params={"help_text": "Called when it is finished."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="webhook_sent",
        db_column_name="webhook_sent",
        params={"help_text": "Whether the webhook was called."},
        old_params={"help_text": None},
        column_class=Boolean,
        old_column_class=Boolean,
        schema=None,
    )

    manager.alter_column(
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="error_message",
        db_column_name="error_message",
        params={"help_text": "Why it failed."},
        old_params={"help_text": None},
        column_class=Text,
        old_column_class=Text,
        schema=None,
    )

    manager.alter_column(
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="estimated_completion_time",
        db_column_name="estimated_completion_time",
        params={"help_text": "In seconds."},
        old_params={"help_text": None},
        column_class=Integer,
        old_column_class=Integer,
        schema=None,
    )

    manager.alter_column(
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="started_at",
        db_column_name="started_at",
        params={
            "help_text": "Start of the last attempt; before the first, when it was asked for."
        },
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="completed_at",
        db_column_name="completed_at",
        params={"help_text": "When it succeeded or failed."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="created_at",
        db_column_name="created_at",
        params={"help_text": "Set by the database."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="GenerationStatusTable",
        tablename="generation_status",
        column_name="updated_at",
        db_column_name="updated_at",
        params={"help_text": "Moved by the database on every change."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    return manager
