from learner_app.schema.migrations import MigrationManager
from enum import Enum
from learner_app.schema.columns import Now, Reference
from learner_app.schema.objects import (
    ForeignKeyConstraint,
    Index,
    OneOf,
    PrimaryKey,
    Uncompressed,
    UpdatedAtTrigger,
)
from piccolo.columns.column_types import (
    Array,
    Boolean,
    Integer,
    JSONB,
    Numeric,
    Text,
    Timestamptz,
    Varchar,
)
from piccolo.table import Table


class ContentTable(Table, tablename="content"):
    id = Varchar(default=None, primary_key=True)


class ListeningSessionTable(Table, tablename="sessions"):
    id = Varchar(default=None, primary_key=True)


ID = "2026-11-21T19:44:50:115131"
VERSION = "1.38.0"
DESCRIPTION = "First tables"
REPLACES = [
    "2026-11-21T06:00:16:394112",
    "2026-11-21T16:50:31:987883",
    "2026-11-21T17:31:34:814624",
]


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="listening", description=DESCRIPTION
    )

    manager.create_table(
        "BehavioralEventTable",
        "behavioral_events",
        columns={
            "id": Varchar(
                default=None,
                primary_key=True,
                help_text="Event id, chosen by the client.",
            ),
            "content_id": Reference(
                references=ContentTable,
                column_type="VARCHAR(255)",
                help_text="Content that was playing.",
            ),
            "event_type": Varchar(
                length=50,
                default=None,
                help_text="Such as play, pause, skip, replay, complete or abandon.",
            ),
            "timestamp": Timestamptz(
                default=Now(), help_text="Time of the event."
            ),
            "playback_position": Numeric(
                default=None,
                digits=(10, 2),
                help_text="In seconds from the start.",
            ),
            "playback_position_percent": Numeric(
                default=None,
                digits=(5, 2),
                null=True,
                help_text="Percentage of the duration, 0 to 100.",
            ),
            "duration": Numeric(
                default=None,
                digits=(10, 2),
                null=True,
                help_text="Seconds listened since the previous event.",
            ),
            "session_id": Reference(
                references=ListeningSessionTable,
                column_type="VARCHAR(255)",
                help_text="Listening session of the event.",
            ),
            "content_characteristics": JSONB(
                default=None,
                help_text="format, genre, difficulty and template_id of the content at that time.",
            ),
            "device_info": JSONB(
                default=None, null=True, help_text="Device information reported by the client."
            ),
            "network_type": Varchar(
                length=50, default=None, null=True, help_text="Such as wifi, 4g or offline."
            ),
            "context": JSONB(
                default=None, null=True, help_text="Additional fields of the client."
            ),
            "created_at": Timestamptz(
                default=Now(), help_text="Time of the insert, set by the database."
            ),
        },
        objects=[
            Index(on=['"content_characteristics"'], method="gin").stored(
                "idx_behavioral_events_content_characteristics@index.1b28c9e628e8",
                create='CREATE INDEX "idx_behavioral_events_content_characteristics" ON {table} USING gin ("content_characteristics")',
                drop='DROP INDEX "idx_behavioral_events_content_characteristics"',
            ),
            Index(on=['"content_id"']).stored(
                "idx_behavioral_events_content_id@index.610e38feb064",
                create='CREATE INDEX "idx_behavioral_events_content_id" ON {table} USING btree ("content_id")',
                drop='DROP INDEX "idx_behavioral_events_content_id"',
            ),
            Index(on=['"event_type"']).stored(
                "idx_behavioral_events_event_type@index.5776a90e9caf",
                create='CREATE INDEX "idx_behavioral_events_event_type" ON {table} USING btree ("event_type")',
                drop='DROP INDEX "idx_behavioral_events_event_type"',
            ),
            Index(on=['"session_id"']).stored(
                "idx_behavioral_events_session_id@index.ccad3336b294",
                create='CREATE INDEX "idx_behavioral_events_session_id" ON {table} USING btree ("session_id")',
                drop='DROP INDEX "idx_behavioral_events_session_id"',
            ),
            Index(on=['"timestamp"']).stored(
                "idx_behavioral_events_timestamp@index.303df2e543ca",
                create='CREATE INDEX "idx_behavioral_events_timestamp" ON {table} USING btree ("timestamp")',
                drop='DROP INDEX "idx_behavioral_events_timestamp"',
            ),
            ForeignKeyConstraint(
                columns=["content_id"],
                references="content",
                target_columns=["id"],
                on_delete="CASCADE",
            ).stored(
                "fk_behavioral_events_content@fk.12ad052a5a36",
                create='ALTER TABLE {table} ADD CONSTRAINT "fk_behavioral_events_content" FOREIGN KEY ("content_id") REFERENCES "content" ("id") ON DELETE CASCADE ON UPDATE NO ACTION',
                drop='ALTER TABLE {table} DROP CONSTRAINT "fk_behavioral_events_content"',
            ),
            ForeignKeyConstraint(
                columns=["session_id"],
                references="sessions",
                target_columns=["id"],
                on_delete="CASCADE",
            ).stored(
                "fk_behavioral_events_session@fk.0afcf910a97a",
                create='ALTER TABLE {table} ADD CONSTRAINT "fk_behavioral_events_session" FOREIGN KEY ("session_id") REFERENCES "sessions" ("id") ON DELETE CASCADE ON UPDATE NO ACTION',
                drop='ALTER TABLE {table} DROP CONSTRAINT "fk_behavioral_events_session"',
            ),
        ],
    )

    manager.create_table(
        "LikeEngagementTable",
        "like_engagement",
        columns={
            "content_id": Reference(
                references=ContentTable,
                column_type="VARCHAR(255)",
                help_text="Liked content.",
            ),
            "session_id": Reference(
                references=ListeningSessionTable,
                column_type="VARCHAR(255)",
                help_text="Listening session.",
            ),
            "liked": Boolean(help_text="False if the like was removed."),
            "liked_at": Timestamptz(
                default=None, null=True, help_text="Time of the first like."
            ),
            "unliked_at": Timestamptz(
                default=None, null=True, help_text="Time of the removal."
            ),
            "reaction_type": Varchar(
                length=50,
                default=None,
                null=True,
                choices=Enum(
                    "ReactionType",
                    {"like": "like", "love": "love", "favorite": "favorite"},
                ),
                help_text="Kind of reaction.",
            ),
            "content_characteristics": JSONB(
                default=None,
                help_text="format, genre, difficulty and template_id of the content.",
            ),
            "created_at": Timestamptz(
                default=Now(), help_text="Time of the insert, set by the database."
            ),
            "updated_at": Timestamptz(
                default=Now(), help_text="Time of the last change, set by the database."
            ),
        },
        objects=[
            PrimaryKey(columns=["content_id", "session_id"]).stored(
                "like_engagement_pkey@pk.d8e26197823e",
                create='ALTER TABLE {table} ADD CONSTRAINT "like_engagement_pkey" PRIMARY KEY ("content_id", "session_id")',
                drop='ALTER TABLE {table} DROP CONSTRAINT "like_engagement_pkey"',
            ),
            OneOf(
                column="reaction_type", values=["like", "love", "favorite"]
            ).stored(
                "like_engagement_reaction_type_check@oneof.d45c0368e274",
                create="ALTER TABLE {table} ADD CONSTRAINT \"like_engagement_reaction_type_check\" CHECK (\"reaction_type\" IN ('like', 'love', 'favorite'))",
                drop='ALTER TABLE {table} DROP CONSTRAINT "like_engagement_reaction_type_check"',
            ),
            Index(on=['"content_characteristics"'], method="gin").stored(
                "idx_like_engagement_content_characteristics@index.98d246aacedf",
                create='CREATE INDEX "idx_like_engagement_content_characteristics" ON {table} USING gin ("content_characteristics")',
                drop='DROP INDEX "idx_like_engagement_content_characteristics"',
            ),
            Index(on=['"liked"'], where="liked = true").stored(
                "idx_like_engagement_liked@index.446ab4c3ede5",
                create='CREATE INDEX "idx_like_engagement_liked" ON {table} USING btree ("liked") WHERE liked = true',
                drop='DROP INDEX "idx_like_engagement_liked"',
            ),
            Index(on=['"session_id"']).stored(
                "idx_like_engagement_session_id@index.1a45edc75ea3",
                create='CREATE INDEX "idx_like_engagement_session_id" ON {table} USING btree ("session_id")',
                drop='DROP INDEX "idx_like_engagement_session_id"',
            ),
            UpdatedAtTrigger(column="updated_at").stored(
                "like_engagement_touch_updated_at@touch.55a8b2b091c1",
                create=[
                    'CREATE OR REPLACE FUNCTION "touch_updated_at"() RETURNS trigger LANGUAGE plpgsql AS \'BEGIN NEW."updated_at" := clock_timestamp(); RETURN NEW; END\'',
                    'CREATE TRIGGER "like_engagement_touch_updated_at" BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION "touch_updated_at"()',
                ],
                drop=[
                    'DROP TRIGGER "like_engagement_touch_updated_at" ON {table}',
                    'DO $$BEGIN DROP FUNCTION "touch_updated_at"(); EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END$$',
                ],
            ),
            ForeignKeyConstraint(
                columns=["content_id"],
                references="content",
                target_columns=["id"],
                on_delete="CASCADE",
            ).stored(
                "fk_like_engagement_content@fk.b9deb3a12df9",
                create='ALTER TABLE {table} ADD CONSTRAINT "fk_like_engagement_content" FOREIGN KEY ("content_id") REFERENCES "content" ("id") ON DELETE CASCADE ON UPDATE NO ACTION',
                drop='ALTER TABLE {table} DROP CONSTRAINT "fk_like_engagement_content"',
            ),
            ForeignKeyConstraint(
                columns=["session_id"],
                references="sessions",
                target_columns=["id"],
                on_delete="CASCADE",
            ).stored(
                "fk_like_engagement_session@fk.d039ad3d2be6",
                create='ALTER TABLE {table} ADD CONSTRAINT "fk_like_engagement_session" FOREIGN KEY ("session_id") REFERENCES "sessions" ("id") ON DELETE CASCADE ON UPDATE NO ACTION',
                drop='ALTER TABLE {table} DROP CONSTRAINT "fk_like_engagement_session"',
            ),
        ],
    )

    manager.create_table(
        "ListeningSessionTable",
        "sessions",
        columns={
            "id": Varchar(
                default=None,
                primary_key=True,
                help_text="Session id, stored by the browser.",
            ),
            "started_at": Timestamptz(
                default=Now(), help_text="Time of the first call."
            ),
            "last_activity_at": Timestamptz(
                default=Now(), help_text="Time of the latest call."
            ),
            "content_ids": Array(
                default=[],
                base_column=Text(),
                help_text="Ids of content items in listening order.",
            ),
            "current_content_id": Varchar(
                default=None,
                null=True,
                help_text="Current content. It may have been deleted.",
            ),
            "total_listening_time": Integer(help_text="Total listening time, in seconds."),
            "created_at": Timestamptz(
                default=Now(), help_text="Time of the insert, set by the database."
            ),
            "updated_at": Timestamptz(
                default=Now(), help_text="Time of the last change, set by the database."
            ),
        },
        objects=[
            Index(on=['"last_activity_at"']).stored(
                "idx_sessions_last_activity@index.147741127170",
                create='CREATE INDEX "idx_sessions_last_activity" ON {table} USING btree ("last_activity_at")',
                drop='DROP INDEX "idx_sessions_last_activity"',
            ),
            Index(on=['"started_at"']).stored(
                "idx_sessions_started_at@index.806b8bc59f2c",
                create='CREATE INDEX "idx_sessions_started_at" ON {table} USING btree ("started_at")',
                drop='DROP INDEX "idx_sessions_started_at"',
            ),
            Uncompressed(column="content_ids").stored(
                "sessions_content_ids_uncompressed@uncompressed.f912ced68dfe",
                create='ALTER TABLE {table} ALTER COLUMN "content_ids" SET STORAGE EXTERNAL',
                drop='ALTER TABLE {table} ALTER COLUMN "content_ids" SET STORAGE EXTENDED',
            ),
            UpdatedAtTrigger(column="updated_at").stored(
                "sessions_touch_updated_at@touch.fa80c934eb67",
                create=[
                    'CREATE OR REPLACE FUNCTION "touch_updated_at"() RETURNS trigger LANGUAGE plpgsql AS \'BEGIN NEW."updated_at" := clock_timestamp(); RETURN NEW; END\'',
                    'CREATE TRIGGER "sessions_touch_updated_at" BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION "touch_updated_at"()',
                ],
                drop=[
                    'DROP TRIGGER "sessions_touch_updated_at" ON {table}',
                    'DO $$BEGIN DROP FUNCTION "touch_updated_at"(); EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END$$',
                ],
            ),
        ],
    )

    return manager
