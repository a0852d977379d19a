from learner_app.schema.migrations import MigrationManager
from learner_app.schema.objects import Uncompressed

ID = "2026-11-21T17:31:34:814624"
VERSION = "1.38.0"
DESCRIPTION = "lists of contents uncompressed"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="listening", description=DESCRIPTION
    )

    manager.add_constraint(
        table_class_name="ListeningSessionTable",
        tablename="sessions",
        constraint_name="content_ids@uncompressed.f51c3db0",
        constraint_class=Uncompressed,
        params={"column": "content_ids"},
        schema=None,
    )

    return manager
