from learner_app.schema.migrations import MigrationManager
from piccolo.columns.column_types import Boolean
from piccolo.columns.column_types import Timestamp

ID = "2026-11-21T16:50:32:595871"
VERSION = "1.38.0"
DESCRIPTION = "comments of columns"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="staff", description=DESCRIPTION
    )

    manager.alter_column(
        table_class_name="StaffUserTable",
        tablename="staff_users",
        column_name="admin",
        db_column_name="admin",
        params={"help_text": "An admin can log into the Piccolo admin GUI."},
        old_params={"help_text": None},
        column_class=Boolean,
        old_column_class=Boolean,
        schema=None,
    )

    manager.alter_column(
        table_class_name="StaffUserTable",
        tablename="staff_users",
        column_name="superuser",
        db_column_name="superuser",
        params={
            "help_text": "If True, this user can manage other users's passwords in the Piccolo admin GUI."
        },
        old_params={"help_text": None},
        column_class=Boolean,
        old_column_class=Boolean,
        schema=None,
    )

    manager.alter_column(
        table_class_name="StaffUserTable",
        tablename="staff_users",
        column_name="last_login",
        db_column_name="last_login",
        params={"help_text": "When this user last logged in."},
        old_params={"help_text": None},
        column_class=Timestamp,
        old_column_class=Timestamp,
        schema=None,
    )

    return manager
