from learner_app.schema.migrations import MigrationManager
from enum import Enum
from learner_app.schema.columns import Now
from learner_app.schema.objects import Index, OneOf, UpdatedAtTrigger
from piccolo.columns.column_types import (
    Array,
    BigInt,
    Integer,
    JSONB,
    Numeric,
    Text,
    Timestamptz,
    Varchar,
)

ID = "2026-11-21T19:44:47:049318"
VERSION = "1.38.0"
DESCRIPTION = "First tables"
REPLACES = [
    "2026-11-21T06:00:15:816555",
    "2026-11-21T16:50:29:780031",
]


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="content", description=DESCRIPTION
    )

    manager.create_table(
        "ContentTable",
        "content",
        columns={
            "id": Varchar(
                default=None,
                primary_key=True,
                help_text="Key, made by the application.",
            ),
            "title": Varchar(
                length=500, default=None, help_text="Shown to the learner."
            ),
            "description": Text(
                default=None,
                null=True,
                help_text="One or two sentences about the content.",
            ),
            "text_content": Text(
                default=None, help_text="The whole text that is spoken."
            ),
            "audio_url": Varchar(
                length=1000, default=None, help_text="Where the audio file is."
            ),
            "audio_format": Varchar(
                length=10, default="mp3", null=True, help_text="mp3, ogg or wav."
            ),
            "audio_bitrate": Integer(
                default=None, null=True, help_text="In kbit/s."
            ),
            "audio_size": BigInt(default=None, null=True, help_text="In bytes."),
            "format": Varchar(
                length=50,
                default=None,
                choices=Enum(
                    "ContentFormat",
                    {
                        "narrative": "narrative",
                        "podcast": "podcast",
                        "educational": "educational",
                    },
                ),
                help_text="Narrative, podcast or educational.",
            ),
            "genre": Varchar(
                length=100,
                default=None,
                null=True,
                help_text="Such as mystery or science.",
            ),
            "sub_genre": Varchar(
                length=100, default=None, null=True, help_text="A finer genre."
            ),
            "topic": Varchar(
                length=200, default=None, null=True, help_text="Subject of the content."
            ),
            "template_id": Varchar(
                default=None, help_text="Prompt template it was made with."
            ),
            "template_version": Varchar(
                length=50,
                default=None,
                null=True,
                help_text="Version of the template.",
            ),
            "difficulty": Varchar(
                length=50,
                default=None,
                choices=Enum(
                    "ContentDifficulty",
                    {
                        "lexical_heavy": "lexical-heavy",
                        "discourse_heavy": "discourse-heavy",
                    },
                ),
                help_text="Main difficulty: vocabulary or structure.",
            ),
            "difficulty_score": Numeric(
                default=None,
                digits=(3, 2),
                null=True,
                help_text="0 easy to 1 hard.",
            ),
            "estimated_comprehension_level": Varchar(
                length=50,
                default=None,
                null=True,
                help_text="Level of the CEFR, A1 to C2.",
            ),
            "duration": Integer(
                default=None, help_text="Of the audio, in seconds."
            ),
            "word_count": Integer(
                default=None, null=True, help_text="Words of the text."
            ),
            "model_parameters": JSONB(
                default=None, help_text="Settings of the model that wrote it."
            ),
            "generated_at": Timestamptz(
                default=Now(), help_text="When it was generated."
            ),
            "generated_by": Varchar(
                default=None, null=True, help_text="Model or author."
            ),
            "session_id": Varchar(
                default=None,
                help_text="Listening session it was made for; may be gone by now.",
            ),
            "episode_number": Integer(
                default=None, null=True, help_text="Place in its series, from 1."
            ),
            "series_id": Varchar(
                default=None, null=True, help_text="Series it belongs to."
            ),
            "continuity_context": Text(
                default=None,
                null=True,
                help_text="What happened in the series before.",
            ),
            "related_content_ids": Array(
                default=None,
                base_column=Text(),
                null=True,
                help_text="Related content.",
            ),
            "language": Varchar(
                length=10, default="it", null=True, help_text="ISO 639-1 code."
            ),
            "locale": Varchar(
                length=10, default=None, null=True, help_text="Such as it-IT."
            ),
            "quality_score": Numeric(
                default=None,
                digits=(3, 2),
                null=True,
                help_text="0 poor to 1 excellent.",
            ),
            "engagement_metrics": JSONB(
                default=None, null=True, help_text="Latest computed engagement."
            ),
            "metadata": JSONB(
                default=None, null=True, help_text="Anything else, by key."
            ),
            "created_at": Timestamptz(
                default=Now(), help_text="Set by the database."
            ),
            "updated_at": Timestamptz(
                default=Now(), help_text="Set by the database on every change."
            ),
        },
        objects=[
            OneOf(
                column="difficulty", values=["lexical-heavy", "discourse-heavy"]
            ).stored(
                "content_difficulty_check@oneof.9f7d622e3f5f",
                create="ALTER TABLE {table} ADD CONSTRAINT \"content_difficulty_check\" CHECK (\"difficulty\" IN ('lexical-heavy', 'discourse-heavy'))",
                drop='ALTER TABLE {table} DROP CONSTRAINT "content_difficulty_check"',
            ),
            OneOf(
                column="format", values=["narrative", "podcast", "educational"]
            ).stored(
                "content_format_check@oneof.704f7d182037",
                create="ALTER TABLE {table} ADD CONSTRAINT \"content_format_check\" CHECK (\"format\" IN ('narrative', 'podcast', 'educational'))",
                drop='ALTER TABLE {table} DROP CONSTRAINT "content_format_check"',
            ),
            Index(on=['"difficulty"']).stored(
                "idx_content_difficulty@index.c0330102c659",
                create='CREATE INDEX "idx_content_difficulty" ON {table} USING btree ("difficulty")',
                drop='DROP INDEX "idx_content_difficulty"',
            ),
            Index(on=['"format"']).stored(
                "idx_content_format@index.56a1719976df",
                create='CREATE INDEX "idx_content_format" ON {table} USING btree ("format")',
                drop='DROP INDEX "idx_content_format"',
            ),
            Index(on=['"generated_at"']).stored(
                "idx_content_generated_at@index.252118841e1b",
                create='CREATE INDEX "idx_content_generated_at" ON {table} USING btree ("generated_at")',
                drop='DROP INDEX "idx_content_generated_at"',
            ),
            Index(on=['"genre"']).stored(
                "idx_content_genre@index.416990cdec8f",
                create='CREATE INDEX "idx_content_genre" ON {table} USING btree ("genre")',
                drop='DROP INDEX "idx_content_genre"',
            ),
            Index(on=['"series_id"'], where="series_id IS NOT NULL").stored(
                "idx_content_series_id@index.541f2baa2d7e",
                create='CREATE INDEX "idx_content_series_id" ON {table} USING btree ("series_id") WHERE series_id IS NOT NULL',
                drop='DROP INDEX "idx_content_series_id"',
            ),
            Index(on=['"session_id"']).stored(
                "idx_content_session_id@index.d5acf6ee9e98",
                create='CREATE INDEX "idx_content_session_id" ON {table} USING btree ("session_id")',
                drop='DROP INDEX "idx_content_session_id"',
            ),
            UpdatedAtTrigger(column="updated_at").stored(
                "content_touch_updated_at@touch.badef3101738",
                create=[
                    'CREATE OR REPLACE FUNCTION "touch_updated_at"() RETURNS trigger LANGUAGE plpgsql AS \'BEGIN NEW."updated_at" := clock_timestamp(); RETURN NEW; END\'',
                    'CREATE TRIGGER "content_touch_updated_at" BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION "touch_updated_at"()',
                ],
                drop=[
                    'DROP TRIGGER "content_touch_updated_at" ON {table}',
                    'DO $$BEGIN DROP FUNCTION "touch_updated_at"(); EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END$$',
                ],
            ),
        ],
    )

    return manager
