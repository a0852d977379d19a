"""Table of the jobs that generate content, which is also their work queue."""

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
    help_text="Jobs that generate content: generating is waiting, processing is claimed.",
):
    generation_id = Varchar(255, primary_key=True, default=None, help_text="Job id.")
    session_id = Reference(
        ListeningSessionTable,
        "fk_generation_status_session",
        OnDelete.cascade,
        help_text="Listening session that requested the content.",
    )
    status = Varchar(50, default=None, choices=JobStatus, help_text="Status of the job.")
    content_id = Reference(
        ContentTable,
        "fk_generation_status_content",
        OnDelete.set_null,
        null=True,
        help_text="Generated content.",
    )
    webhook_url = Varchar(
        1000, default=None, null=True, help_text="URL to call when the job is finished."
    )
    webhook_sent = Boolean(default=False, help_text="True if the webhook was sent.")
    error_message = Text(default=None, null=True, help_text="Reason of the failure.")
    estimated_completion_time = Integer(
        default=None, null=True, help_text="Estimated duration in seconds."
    )
    started_at = Timestamptz(
        default=Now(),
        help_text="Start of the last attempt. Time of the request until the first claim.",
    )
    completed_at = Timestamptz(default=None, null=True, help_text="Time of completion or failure.")
    created_at = Timestamptz(default=Now(), help_text="Time of the insert, set by the database.")
    updated_at = Timestamptz(
        default=Now(), help_text="Time of the last change, set by the database."
    )

    generation_status_status_check = OneOf(status, JobStatus)
    idx_generation_status_session_id = Index(session_id)
    idx_generation_status_started_at = Index(started_at)
    idx_generation_status_status = Index(status)
    generation_status_touch_updated_at = UpdatedAtTrigger(updated_at)
