from learner_app.schema.migrations import MigrationManager
from piccolo.columns.column_types import Array
from piccolo.columns.column_types import BigInt
from piccolo.columns.column_types import Integer
from piccolo.columns.column_types import JSONB
from piccolo.columns.column_types import Numeric
from piccolo.columns.column_types import Text
from piccolo.columns.column_types import Timestamptz
from piccolo.columns.column_types import Varchar

ID = "2026-11-21T16:50:29:780031"
VERSION = "1.38.0"
DESCRIPTION = "comments of columns"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="content", description=DESCRIPTION
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="id",
        db_column_name="id",
        params={"help_text": "Key, made by the application."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="title",
        db_column_name="title",
        params={"help_text": "Shown to the learner."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="description",
        db_column_name="description",
        params={"help_text": "One or two sentences about the piece."},
        old_params={"help_text": None},
        column_class=Text,
        old_column_class=Text,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="text_content",
        db_column_name="text_content",
        params={"help_text": "The whole text that is spoken."},
        old_params={"help_text": None},
        column_class=Text,
        old_column_class=Text,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="audio_url",
        db_column_name="audio_url",
        params={"help_text": "Where the audio file is."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="audio_format",
        db_column_name="audio_format",
        params={"help_text": "mp3, ogg or wav."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="audio_bitrate",
        db_column_name="audio_bitrate",
        params={"help_text": "In kbit/s."},
        old_params={"help_text": None},
        column_class=Integer,
        old_column_class=Integer,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="audio_size",
        db_column_name="audio_size",
        params={"help_text": "In bytes."},
        old_params={"help_text": None},
        column_class=BigInt,
        old_column_class=BigInt,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="format",
        db_column_name="format",
        params={"help_text": "How the piece is told."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="genre",
        db_column_name="genre",
        params={"help_text": "Such as mystery or science."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="sub_genre",
        db_column_name="sub_genre",
        params={"help_text": "A finer genre."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="topic",
        db_column_name="topic",
        params={"help_text": "What it is about."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="template_id",
        db_column_name="template_id",
        params={"help_text": "Prompt template it was made with."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="template_version",
        db_column_name="template_version",
        params={"help_text": "Version of the template."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="difficulty",
        db_column_name="difficulty",
        params={"help_text": "What is hard: words or structure."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="difficulty_score",
        db_column_name="difficulty_score",
        params={"help_text": "0 easy to 1 hard."},
        old_params={"help_text": None},
        column_class=Numeric,
        old_column_class=Numeric,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="estimated_comprehension_level",
        db_column_name="estimated_comprehension_level",
        params={"help_text": "Level of the CEFR, A1 to C2."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="duration",
        db_column_name="duration",
        params={"help_text": "Of the audio, in seconds."},
        old_params={"help_text": None},
        column_class=Integer,
        old_column_class=Integer,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="word_count",
        db_column_name="word_count",
        params={"help_text": "Words of the text."},
        old_params={"help_text": None},
        column_class=Integer,
        old_column_class=Integer,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="model_parameters",
        db_column_name="model_parameters",
        params={"help_text": "Settings of the model that wrote it."},
        old_params={"help_text": None},
        column_class=JSONB,
        old_column_class=JSONB,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="generated_at",
        db_column_name="generated_at",
        params={"help_text": "When it was generated."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="generated_by",
        db_column_name="generated_by",
        params={"help_text": "Model or author."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="session_id",
        db_column_name="session_id",
        params={
            "help_text": "Listening session it was made for; may be gone by now."
        },
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="episode_number",
        db_column_name="episode_number",
        params={"help_text": "Place in its series, from 1."},
        old_params={"help_text": None},
        column_class=Integer,
        old_column_class=Integer,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="series_id",
        db_column_name="series_id",
        params={"help_text": "Series it belongs to."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="continuity_context",
        db_column_name="continuity_context",
        params={"help_text": "What happened in the series before."},
        old_params={"help_text": None},
        column_class=Text,
        old_column_class=Text,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="related_content_ids",
        db_column_name="related_content_ids",
        params={"help_text": "Other pieces worth hearing."},
        old_params={"help_text": None},
        column_class=Array,
        old_column_class=Array,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="language",
        db_column_name="language",
        params={"help_text": "ISO 639-1 code."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="locale",
        db_column_name="locale",
        params={"help_text": "Such as it-IT."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="quality_score",
        db_column_name="quality_score",
        params={"help_text": "0 poor to 1 excellent."},
        old_params={"help_text": None},
        column_class=Numeric,
        old_column_class=Numeric,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="engagement_metrics",
        db_column_name="engagement_metrics",
        params={"help_text": "Latest computed engagement."},
        old_params={"help_text": None},
        column_class=JSONB,
        old_column_class=JSONB,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="metadata",
        db_column_name="metadata",
        params={"help_text": "Anything else, by key."},
        old_params={"help_text": None},
        column_class=JSONB,
        old_column_class=JSONB,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="created_at",
        db_column_name="created_at",
        params={"help_text": "Set by the database."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="ContentTable",
        tablename="content",
        column_name="updated_at",
        db_column_name="updated_at",
        params={"help_text": "Moved by the database on every change."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    return manager
