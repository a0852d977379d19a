from learner_app.schema.migrations import MigrationManager
from enum import Enum
from learner_app.schema.columns import Now, Reference
from learner_app.schema.objects import (
    ForeignKeyConstraint,
    Index,
    OneOf,
    UpdatedAtTrigger,
)
from piccolo.columns.column_types import (
    Boolean,
    Integer,
    Text,
    Timestamptz,
    Varchar,
)
from piccolo.table import Table


class ContentTable(Table, tablename="content"):
    id = Varchar(default=None, primary_key=True)


class ListeningSessionTable(Table, tablename="sessions"):
    id = Varchar(default=None, primary_key=True)


ID = "2026-11-21T19:44:47:931310"
VERSION = "1.38.0"
DESCRIPTION = "First tables"
REPLACES = [
    "2026-11-21T06:00:17:525246",
    "2026-11-21T17:15:52:430947",
]


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="generation", description=DESCRIPTION
    )

    manager.create_table(
        "GenerationStatusTable",
        "generation_status",
        columns={
            "generation_id": Varchar(
                default=None, primary_key=True, help_text="Job id."
            ),
            "session_id": Reference(
                references=ListeningSessionTable,
                column_type="VARCHAR(255)",
                help_text="Listening session that requested the content.",
            ),
            "status": Varchar(
                length=50,
                default=None,
                choices=Enum(
                    "JobStatus",
                    {
                        "generating": "generating",
                        "processing": "processing",
                        "completed": "completed",
                        "failed": "failed",
                    },
                ),
                help_text="Status of the job.",
            ),
            "content_id": Reference(
                references=ContentTable,
                null=True,
                column_type="VARCHAR(255)",
                help_text="Generated content.",
            ),
            "webhook_url": Varchar(
                length=1000,
                default=None,
                null=True,
                help_text="URL to call when the job is finished.",
            ),
            "webhook_sent": Boolean(help_text="True if the webhook was sent."),
            "error_message": Text(
                default=None, null=True, help_text="Reason of the failure."
            ),
            "estimated_completion_time": Integer(
                default=None, null=True, help_text="Estimated duration in seconds."
            ),
            "started_at": Timestamptz(
                default=Now(),
                help_text="Start of the last attempt. Time of the request until the first claim.",
            ),
            "completed_at": Timestamptz(
                default=None, null=True, help_text="Time of completion or failure."
            ),
            "created_at": Timestamptz(
                default=Now(), help_text="Time of the insert, set by the database."
            ),
            "updated_at": Timestamptz(
                default=Now(), help_text="Time of the last change, set by the database."
            ),
        },
        objects=[
            OneOf(
                column="status",
                values=["generating", "processing", "completed", "failed"],
            ).stored(
                "generation_status_status_check@oneof.aba41f30db54",
                create="ALTER TABLE {table} ADD CONSTRAINT \"generation_status_status_check\" CHECK (\"status\" IN ('generating', 'processing', 'completed', 'failed'))",
                drop='ALTER TABLE {table} DROP CONSTRAINT "generation_status_status_check"',
            ),
            Index(on=['"session_id"']).stored(
                "idx_generation_status_session_id@index.41df4d69f55a",
                create='CREATE INDEX "idx_generation_status_session_id" ON {table} USING btree ("session_id")',
                drop='DROP INDEX "idx_generation_status_session_id"',
            ),
            Index(on=['"started_at"']).stored(
                "idx_generation_status_started_at@index.977a687166f7",
                create='CREATE INDEX "idx_generation_status_started_at" ON {table} USING btree ("started_at")',
                drop='DROP INDEX "idx_generation_status_started_at"',
            ),
            Index(on=['"status"']).stored(
                "idx_generation_status_status@index.22f03f24a592",
                create='CREATE INDEX "idx_generation_status_status" ON {table} USING btree ("status")',
                drop='DROP INDEX "idx_generation_status_status"',
            ),
            UpdatedAtTrigger(column="updated_at").stored(
                "generation_status_touch_updated_at@touch.06a2404094ec",
                create=[
                    'CREATE OR REPLACE FUNCTION "touch_updated_at"() RETURNS trigger LANGUAGE plpgsql AS \'BEGIN NEW."updated_at" := clock_timestamp(); RETURN NEW; END\'',
                    'CREATE TRIGGER "generation_status_touch_updated_at" BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION "touch_updated_at"()',
                ],
                drop=[
                    'DROP TRIGGER "generation_status_touch_updated_at" ON {table}',
                    'DO $$BEGIN DROP FUNCTION "touch_updated_at"(); EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END$$',
                ],
            ),
            ForeignKeyConstraint(
                columns=["session_id"],
                references="sessions",
                target_columns=["id"],
                on_delete="CASCADE",
            ).stored(
                "fk_generation_status_session@fk.269aa9dec795",
                create='ALTER TABLE {table} ADD CONSTRAINT "fk_generation_status_session" FOREIGN KEY ("session_id") REFERENCES "sessions" ("id") ON DELETE CASCADE ON UPDATE NO ACTION',
                drop='ALTER TABLE {table} DROP CONSTRAINT "fk_generation_status_session"',
            ),
            ForeignKeyConstraint(
                columns=["content_id"],
                references="content",
                target_columns=["id"],
                on_delete="SET NULL",
            ).stored(
                "fk_generation_status_content@fk.46e50d748af5",
                create='ALTER TABLE {table} ADD CONSTRAINT "fk_generation_status_content" FOREIGN KEY ("content_id") REFERENCES "content" ("id") ON DELETE SET NULL ON UPDATE NO ACTION',
                drop='ALTER TABLE {table} DROP CONSTRAINT "fk_generation_status_content"',
            ),
        ],
    )

    return manager
