"""Tables of the domain generation in the admin."""

from learner_app.admin.admin_table import AdminTable, newest_first
from learner_app.generation.tables import GenerationStatusTable as Job

JOBS = AdminTable(
    table=Job,
    group="Generation",
    columns=[
        Job.generation_id,
        Job.status,
        Job.session_id,
        Job.content_id,
        Job.started_at,
        Job.completed_at,
        Job.error_message,
    ],
    filters=[Job.generation_id, Job.status, Job.session_id, Job.started_at],
    order=newest_first(Job.started_at),
)
