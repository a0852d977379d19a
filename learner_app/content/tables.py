"""Table of content: one row for each generated text and its audio."""

from enum import Enum

from piccolo.columns import (
    JSONB,
    Array,
    BigInt,
    Integer,
    Numeric,
    Text,
    Timestamptz,
    Varchar,
)
from piccolo.table import Table

from learner_app.schema.columns import Now
from learner_app.schema.objects import Index, OneOf, UpdatedAtTrigger
from learner_app.schema.tables import SchemaTable

__all__ = ["ContentDifficulty", "ContentFormat", "ContentTable"]


class ContentFormat(str, Enum):
    narrative = "narrative"
    podcast = "podcast"
    educational = "educational"


class ContentDifficulty(str, Enum):
    lexical_heavy = "lexical-heavy"
    discourse_heavy = "discourse-heavy"


class ContentTable(
    SchemaTable, Table, tablename="content", help_text="Content to listen to: text and audio."
):
    id = Varchar(255, primary_key=True, default=None, help_text="Key, made by the application.")
    title = Varchar(500, default=None, help_text="Shown to the learner.")
    description = Text(default=None, null=True, help_text="One or two sentences about the content.")
    text_content = Text(default=None, help_text="The whole text that is spoken.")
    audio_url = Varchar(1000, default=None, help_text="Where the audio file is.")
    audio_format = Varchar(10, default="mp3", null=True, help_text="mp3, ogg or wav.")
    audio_bitrate = Integer(default=None, null=True, help_text="In kbit/s.")
    audio_size = BigInt(default=None, null=True, help_text="In bytes.")
    format = Varchar(
        50, default=None, choices=ContentFormat, help_text="Narrative, podcast or educational."
    )
    genre = Varchar(100, default=None, null=True, help_text="Such as mystery or science.")
    sub_genre = Varchar(100, default=None, null=True, help_text="A finer genre.")
    topic = Varchar(200, default=None, null=True, help_text="Subject of the content.")
    template_id = Varchar(255, default=None, help_text="Prompt template it was made with.")
    template_version = Varchar(50, default=None, null=True, help_text="Version of the template.")
    difficulty = Varchar(
        50,
        default=None,
        choices=ContentDifficulty,
        help_text="Main difficulty: vocabulary or structure.",
    )
    difficulty_score = Numeric((3, 2), default=None, null=True, help_text="0 easy to 1 hard.")
    estimated_comprehension_level = Varchar(
        50, default=None, null=True, help_text="Level of the CEFR, A1 to C2."
    )
    duration = Integer(default=None, help_text="Of the audio, in seconds.")
    word_count = Integer(default=None, null=True, help_text="Words of the text.")
    model_parameters = JSONB(default=None, help_text="Settings of the model that wrote it.")
    generated_at = Timestamptz(default=Now(), help_text="When it was generated.")
    generated_by = Varchar(255, default=None, null=True, help_text="Model or author.")
    session_id = Varchar(
        255, default=None, help_text="Listening session it was made for; may be gone by now."
    )
    episode_number = Integer(default=None, null=True, help_text="Place in its series, from 1.")
    series_id = Varchar(255, default=None, null=True, help_text="Series it belongs to.")
    continuity_context = Text(
        default=None, null=True, help_text="What happened in the series before."
    )
    related_content_ids = Array(Text(), default=None, null=True, help_text="Related content.")
    language = Varchar(10, default="it", null=True, help_text="ISO 639-1 code.")
    locale = Varchar(10, default=None, null=True, help_text="Such as it-IT.")
    quality_score = Numeric((3, 2), default=None, null=True, help_text="0 poor to 1 excellent.")
    engagement_metrics = JSONB(default=None, null=True, help_text="Latest computed engagement.")
    metadata = JSONB(default=None, null=True, help_text="Anything else, by key.")
    created_at = Timestamptz(default=Now(), help_text="Set by the database.")
    updated_at = Timestamptz(default=Now(), help_text="Set by the database on every change.")

    content_difficulty_check = OneOf(difficulty, ContentDifficulty)
    content_format_check = OneOf(format, ContentFormat)  # noqa: A003  # the column's agreed name
    idx_content_difficulty = Index(difficulty)
    idx_content_format = Index(format)  # noqa: A003  # the same
    idx_content_generated_at = Index(generated_at)
    idx_content_genre = Index(genre)
    idx_content_series_id = Index(series_id, where="series_id IS NOT NULL")
    idx_content_session_id = Index(session_id)
    content_touch_updated_at = UpdatedAtTrigger(updated_at)
