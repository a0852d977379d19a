from learner_app.schema.migrations import MigrationManager
from piccolo.columns.column_types import (
    Boolean,
    Integer,
    Secret,
    Serial,
    Timestamp,
    Varchar,
)
from piccolo.columns.defaults.timestamp import TimestampOffset

ID = "2026-11-21T19:44:51:633377"
VERSION = "1.38.0"
DESCRIPTION = "First tables"
REPLACES = [
    "2026-11-21T06:00:19:123917",
    "2026-11-21T16:50:32:595871",
]


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="staff", description=DESCRIPTION
    )

    manager.create_table(
        "StaffSessionTable",
        "staff_sessions",
        columns={
            "token": Varchar(length=100, secret=True),
            "user_id": Integer(),
            "expiry_date": Timestamp(
                default=TimestampOffset(days=0, hours=1, minutes=0, seconds=0)
            ),
            "max_expiry_date": Timestamp(
                default=TimestampOffset(days=7, hours=0, minutes=0, seconds=0)
            ),
            "id": Serial(primary_key=True, db_column_name="id"),
        },
    )

    manager.create_table(
        "StaffUserTable",
        "staff_users",
        columns={
            "username": Varchar(length=100, unique=True),
            "password": Secret(),
            "first_name": Varchar(null=True),
            "last_name": Varchar(null=True),
            "email": Varchar(unique=True),
            "active": Boolean(),
            "admin": Boolean(
                help_text="An admin can log into the Piccolo admin GUI."
            ),
            "superuser": Boolean(
                help_text="If True, this user can manage other users's passwords in the Piccolo admin GUI."
            ),
            "last_login": Timestamp(
                default=None,
                null=True,
                help_text="When this user last logged in.",
            ),
            "id": Serial(primary_key=True, db_column_name="id"),
        },
    )

    return manager
