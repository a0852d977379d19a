"""Tables of the domain content in the admin."""

from learner_app.admin.admin_table import AdminTable, newest_first
from learner_app.content.tables import ContentTable as Content

CONTENT = AdminTable(
    table=Content,
    group="Content",
    columns=[
        Content.title,
        Content.format,
        Content.difficulty,
        Content.estimated_comprehension_level,
        Content.genre,
        Content.duration,
        Content.series_id,
        Content.episode_number,
        Content.generated_at,
    ],
    filters=[
        Content.id,
        Content.title,
        Content.format,
        Content.difficulty,
        Content.estimated_comprehension_level,
        Content.genre,
        Content.series_id,
        Content.session_id,
        Content.generated_at,
    ],
    order=newest_first(Content.generated_at),
    link=Content.title,
)
