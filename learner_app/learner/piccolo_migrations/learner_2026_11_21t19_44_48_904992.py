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
import decimal


class ListeningSessionTable(Table, tablename="sessions"):
    id = Varchar(default=None, primary_key=True)


ID = "2026-11-21T19:44:48:904992"
VERSION = "1.38.0"
DESCRIPTION = "First tables"
REPLACES = [
    "2026-11-21T06:00:16:995974",
    "2026-11-21T16:50:31:184710",
]


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="learner", description=DESCRIPTION
    )

    manager.create_table(
        "LearnerModelStateTable",
        "learner_model_state",
        columns={
            "session_id": Reference(
                references=ListeningSessionTable,
                primary_key=True,
                column_type="VARCHAR(255)",
                help_text="Listening session.",
            ),
            "preference_weights": JSONB(
                default=None, help_text="Weight of each format, 0 to 1."
            ),
            "comprehension_level": Numeric(
                default=None, digits=(3, 2), help_text="Estimated comprehension, 0 to 1."
            ),
            "content_type_preferences": JSONB(
                default=None, help_text="Learned preferences by genre and difficulty."
            ),
            "difficulty_adjustment": Numeric(
                digits=(5, 2), help_text="Added to the requested difficulty."
            ),
            "last_updated": Timestamptz(
                default=Now(), help_text="Time of the last write, which is the version of the row."
            ),
            "data_points": Integer(help_text="Number of events that the model has learned from."),
            "created_at": Timestamptz(
                default=Now(), help_text="Time of the insert, set by the database."
            ),
            "updated_at": Timestamptz(
                default=Now(), help_text="Time of the last change, set by the database."
            ),
        },
        objects=[
            Index(on=['"last_updated"']).stored(
                "idx_learner_model_state_last_updated@index.4e12903e13a0",
                create='CREATE INDEX "idx_learner_model_state_last_updated" ON {table} USING btree ("last_updated")',
                drop='DROP INDEX "idx_learner_model_state_last_updated"',
            ),
            UpdatedAtTrigger(column="updated_at").stored(
                "learner_model_state_touch_updated_at@touch.4226e917997e",
                create=[
                    'CREATE OR REPLACE FUNCTION "touch_updated_at"() RETURNS trigger LANGUAGE plpgsql AS \'BEGIN NEW."updated_at" := clock_timestamp(); RETURN NEW; END\'',
                    'CREATE TRIGGER "learner_model_state_touch_updated_at" BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION "touch_updated_at"()',
                ],
                drop=[
                    'DROP TRIGGER "learner_model_state_touch_updated_at" ON {table}',
                    'DO $$BEGIN DROP FUNCTION "touch_updated_at"(); EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END$$',
                ],
            ),
            ForeignKeyConstraint(
                columns=["session_id"],
                references="sessions",
                target_columns=["id"],
                on_delete="CASCADE",
            ).stored(
                "fk_learner_model_state_session@fk.f2b1bc298eaa",
                create='ALTER TABLE {table} ADD CONSTRAINT "fk_learner_model_state_session" FOREIGN KEY ("session_id") REFERENCES "sessions" ("id") ON DELETE CASCADE ON UPDATE NO ACTION',
                drop='ALTER TABLE {table} DROP CONSTRAINT "fk_learner_model_state_session"',
            ),
        ],
    )

    manager.create_table(
        "UserPreferencesTable",
        "user_preferences",
        columns={
            "id": Varchar(
                default=None,
                primary_key=True,
                help_text="Id of the user, or of the listening session without a user.",
            ),
            "session_id": Varchar(
                default=None,
                null=True,
                help_text="Listening session in which they were saved.",
            ),
            "difficulty_preference": Varchar(
                length=50,
                default=None,
                choices=Enum(
                    "DifficultyPreference",
                    {
                        "beginner": "beginner",
                        "intermediate": "intermediate",
                        "advanced": "advanced",
                    },
                ),
                help_text="Preferred difficulty.",
            ),
            "preferred_formats": Array(
                default=[],
                base_column=Text(),
                help_text="Preferred formats.",
            ),
            "preferred_genres": Array(
                default=[],
                base_column=Text(),
                help_text="Preferred genres.",
            ),
            "playback_speed": Numeric(
                default=decimal.Decimal("1.0"),
                digits=(3, 2),
                help_text="Multiple of the recorded speed, 0.25 to 4.",
            ),
            "auto_play": Boolean(
                default=True, help_text="True if the next content starts automatically."
            ),
            "last_updated": Timestamptz(
                default=Now(), help_text="Time of the last save."
            ),
            "version": Integer(default=1, help_text="Version, which every write increases."),
            "created_at": Timestamptz(
                default=Now(), help_text="Time of the insert, set by the database."
            ),
            "updated_at": Timestamptz(
                default=Now(), help_text="Time of the last change, set by the database."
            ),
        },
        objects=[
            OneOf(
                column="difficulty_preference",
                values=["beginner", "intermediate", "advanced"],
            ).stored(
                "user_preferences_difficulty_preference_check@oneof.7f1c62b68c6a",
                create="ALTER TABLE {table} ADD CONSTRAINT \"user_preferences_difficulty_preference_check\" CHECK (\"difficulty_preference\" IN ('beginner', 'intermediate', 'advanced'))",
                drop='ALTER TABLE {table} DROP CONSTRAINT "user_preferences_difficulty_preference_check"',
            ),
            Index(on=['"session_id"'], where="session_id IS NOT NULL").stored(
                "idx_user_preferences_session_id@index.db613686c884",
                create='CREATE INDEX "idx_user_preferences_session_id" ON {table} USING btree ("session_id") WHERE session_id IS NOT NULL',
                drop='DROP INDEX "idx_user_preferences_session_id"',
            ),
            UpdatedAtTrigger(column="updated_at").stored(
                "user_preferences_touch_updated_at@touch.6965c5771a56",
                create=[
                    'CREATE OR REPLACE FUNCTION "touch_updated_at"() RETURNS trigger LANGUAGE plpgsql AS \'BEGIN NEW."updated_at" := clock_timestamp(); RETURN NEW; END\'',
                    'CREATE TRIGGER "user_preferences_touch_updated_at" BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION "touch_updated_at"()',
                ],
                drop=[
                    'DROP TRIGGER "user_preferences_touch_updated_at" ON {table}',
                    'DO $$BEGIN DROP FUNCTION "touch_updated_at"(); EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END$$',
                ],
            ),
        ],
    )

    return manager
