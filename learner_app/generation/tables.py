"""The work queue of content generation."""

from enum import Enum

from piccolo.columns import Boolean, Integer, Text, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.table import Table

from learner_app.content.tables import ContentTable
from learner_app.listening.tables import ListeningSessionTable
from learner_app.schema.columns import Now, Reference
from learner_app.schema.objects import Index, OneOf, UpdatedAtTrigger
from learner_app.schema.tables import SchemaTable

__all__ = [
    "GenerationStatusTable",
    "JobStatus",
]


class JobStatus(str, Enum):
    generating = "generating"
    processing = "processing"
    completed = "completed"
    failed = "failed"


class GenerationStatusTable(
    SchemaTable,
    Table,
    tablename="generation_status",
    help_text="Jobs that make content: generating waits, processing is being worked on.",
):
    generation_id = Varchar(255, primary_key=True, default=None, help_text="Key of the job.")
    session_id = Reference(
        ListeningSessionTable,
        "fk_generation_status_session",
        OnDelete.cascade,
        help_text="The session that asked.",
    )
    status = Varchar(50, default=None, choices=JobStatus, help_text="Where the job stands.")
    content_id = Reference(
        ContentTable,
        "fk_generation_status_content",
        OnDelete.set_null,
        null=True,
        help_text="The piece that came of it.",
    )
    webhook_url = Varchar(1000, default=None, null=True, help_text="Called when it is finished.")
    webhook_sent = Boolean(default=False, help_text="Whether the webhook was called.")
    error_message = Text(default=None, null=True, help_text="Why it failed.")
    estimated_completion_time = Integer(default=None, null=True, help_text="In seconds.")
    started_at = Timestamptz(
        default=Now(),
        help_text="Start of the last attempt; before the first, when it was asked for.",
    )
    completed_at = Timestamptz(default=None, null=True, help_text="When it succeeded or failed.")
    created_at = Timestamptz(default=Now(), help_text="Set by the database.")
    updated_at = Timestamptz(default=Now(), help_text="Moved by the database on every change.")

    generation_status_status_check = OneOf(status, JobStatus)
    idx_generation_status_session_id = Index(session_id)
    idx_generation_status_started_at = Index(started_at)
    idx_generation_status_status = Index(status)
    generation_status_touch_updated_at = UpdatedAtTrigger(updated_at)
