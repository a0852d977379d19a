from learner_app.schema.migrations import MigrationManager
from enum import Enum
from learner_app.schema.columns import Inet, Now, Reference
from learner_app.schema.objects import (
    Check,
    ForeignKeyConstraint,
    Index,
    OneOf,
    Unique,
    UpdatedAtTrigger,
)
from piccolo.columns.column_types import (
    Boolean,
    Date,
    Integer,
    Text,
    Timestamptz,
    UUID,
    Varchar,
)
from piccolo.table import Table


class UserTable(Table, tablename="users"):
    id = UUID(primary_key=True)


ID = "2026-11-21T19:44:45:279529"
VERSION = "1.38.0"
DESCRIPTION = "First tables"
REPLACES = [
    "2026-11-21T06:00:17:992847",
    "2026-11-21T16:50:28:477205",
]


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="accounts", description=DESCRIPTION
    )

    manager.create_table(
        "AccountTable",
        "accounts",
        columns={
            "id": UUID(primary_key=True, help_text="Key."),
            "user_id": Reference(
                references=UserTable, column_type="UUID", help_text="User of the account."
            ),
            "provider_id": Varchar(
                length=50,
                default=None,
                help_text="Sign-in provider such as google, or credential for the local password.",
            ),
            "account_id": Varchar(
                default=None, help_text="Id of the identity at the provider."
            ),
            "access_token": Text(
                default=None, null=True, secret=True, help_text="Issued by the provider."
            ),
            "refresh_token": Text(
                default=None, null=True, secret=True, help_text="Issued by the provider."
            ),
            "id_token": Text(
                default=None, null=True, secret=True, help_text="Issued by the provider."
            ),
            "access_token_expires_at": Timestamptz(
                default=None, null=True, help_text="Expiry of the token."
            ),
            "refresh_token_expires_at": Timestamptz(
                default=None, null=True, help_text="Expiry of the token."
            ),
            "scope": Text(
                default=None, null=True, help_text="Scope of the tokens."
            ),
            "created_at": Timestamptz(
                default=Now(), help_text="Time of the insert, set by the database."
            ),
            "updated_at": Timestamptz(
                default=Now(), help_text="Time of the last change, set by the database."
            ),
        },
        objects=[
            Unique(columns=["provider_id", "account_id"]).stored(
                "accounts_provider_id_account_id_key@unique.f7a910e10a95",
                create='ALTER TABLE {table} ADD CONSTRAINT "accounts_provider_id_account_id_key" UNIQUE ("provider_id", "account_id")',
                drop='ALTER TABLE {table} DROP CONSTRAINT "accounts_provider_id_account_id_key"',
            ),
            Index(on=['"user_id"']).stored(
                "idx_accounts_user_id@index.af7b7fe04395",
                create='CREATE INDEX "idx_accounts_user_id" ON {table} USING btree ("user_id")',
                drop='DROP INDEX "idx_accounts_user_id"',
            ),
            UpdatedAtTrigger(column="updated_at").stored(
                "accounts_touch_updated_at@touch.e5841f2c4851",
                create=[
                    'CREATE OR REPLACE FUNCTION "touch_updated_at"() RETURNS trigger LANGUAGE plpgsql AS \'BEGIN NEW."updated_at" := clock_timestamp(); RETURN NEW; END\'',
                    'CREATE TRIGGER "accounts_touch_updated_at" BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION "touch_updated_at"()',
                ],
                drop=[
                    'DROP TRIGGER "accounts_touch_updated_at" ON {table}',
                    'DO $$BEGIN DROP FUNCTION "touch_updated_at"(); EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END$$',
                ],
            ),
            ForeignKeyConstraint(
                columns=["user_id"],
                references="users",
                target_columns=["id"],
                on_delete="CASCADE",
            ).stored(
                "fk_accounts_user@fk.a76a74d813b0",
                create='ALTER TABLE {table} ADD CONSTRAINT "fk_accounts_user" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON DELETE CASCADE ON UPDATE NO ACTION',
                drop='ALTER TABLE {table} DROP CONSTRAINT "fk_accounts_user"',
            ),
        ],
    )

    manager.create_table(
        "AuthSessionTable",
        "auth_sessions",
        columns={
            "id": UUID(primary_key=True, help_text="Key."),
            "user_id": Reference(
                references=UserTable,
                column_type="UUID",
                help_text="User of the session.",
            ),
            "token_hash": Varchar(
                length=64,
                default=None,
                secret=True,
                help_text="SHA-256 hash of the token.",
            ),
            "expires_at": Timestamptz(
                default=None, help_text="The session is invalid from this time on."
            ),
            "ip_address": Inet(null=True, help_text="IP address of the device."),
            "user_agent": Text(
                default=None, null=True, help_text="User agent of the device."
            ),
            "created_at": Timestamptz(
                default=Now(), help_text="Time of the insert, set by the database."
            ),
            "updated_at": Timestamptz(
                default=Now(), help_text="Time of the last change, set by the database."
            ),
        },
        objects=[
            Unique(columns=["token_hash"]).stored(
                "auth_sessions_token_hash_key@unique.b2d5ff4a3ddb",
                create='ALTER TABLE {table} ADD CONSTRAINT "auth_sessions_token_hash_key" UNIQUE ("token_hash")',
                drop='ALTER TABLE {table} DROP CONSTRAINT "auth_sessions_token_hash_key"',
            ),
            Index(on=['"user_id"']).stored(
                "idx_auth_sessions_user_id@index.39aae8d9b241",
                create='CREATE INDEX "idx_auth_sessions_user_id" ON {table} USING btree ("user_id")',
                drop='DROP INDEX "idx_auth_sessions_user_id"',
            ),
            Index(on=['"expires_at"']).stored(
                "idx_auth_sessions_expires_at@index.20552b38505e",
                create='CREATE INDEX "idx_auth_sessions_expires_at" ON {table} USING btree ("expires_at")',
                drop='DROP INDEX "idx_auth_sessions_expires_at"',
            ),
            UpdatedAtTrigger(column="updated_at").stored(
                "auth_sessions_touch_updated_at@touch.e17dd0ea4cdc",
                create=[
                    'CREATE OR REPLACE FUNCTION "touch_updated_at"() RETURNS trigger LANGUAGE plpgsql AS \'BEGIN NEW."updated_at" := clock_timestamp(); RETURN NEW; END\'',
                    'CREATE TRIGGER "auth_sessions_touch_updated_at" BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION "touch_updated_at"()',
                ],
                drop=[
                    'DROP TRIGGER "auth_sessions_touch_updated_at" ON {table}',
                    'DO $$BEGIN DROP FUNCTION "touch_updated_at"(); EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END$$',
                ],
            ),
            ForeignKeyConstraint(
                columns=["user_id"],
                references="users",
                target_columns=["id"],
                on_delete="CASCADE",
            ).stored(
                "fk_auth_sessions_user@fk.09ead3e9fd3f",
                create='ALTER TABLE {table} ADD CONSTRAINT "fk_auth_sessions_user" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON DELETE CASCADE ON UPDATE NO ACTION',
                drop='ALTER TABLE {table} DROP CONSTRAINT "fk_auth_sessions_user"',
            ),
        ],
    )

    manager.create_table(
        "UserTable",
        "users",
        columns={
            "id": UUID(primary_key=True, help_text="Key."),
            "email": Varchar(default=None, help_text="Normalised, in lower case."),
            "hashed_password": Varchar(
                default=None,
                secret=True,
                help_text="argon2id hash, or a placeholder for users without a password.",
            ),
            "name": Varchar(help_text="Name to address the person by."),
            "email_verified": Boolean(
                help_text="True if the address was verified."
            ),
            "image": Text(default=None, null=True, help_text="URL of a picture."),
            "exam_date": Date(
                default=None, null=True, help_text="Onboarding: date of the exam."
            ),
            "target_score": Integer(
                default=None, null=True, help_text="Onboarding: target score, 0 to 100."
            ),
            "daily_study_time": Integer(
                default=None, null=True, help_text="Onboarding: study time in minutes per day."
            ),
            "knowledge_level": Varchar(
                length=50,
                default=None,
                null=True,
                choices=Enum(
                    "KnowledgeLevel",
                    {
                        "beginner": "Beginner",
                        "intermediate": "Intermediate",
                        "advanced": "Advanced",
                    },
                ),
                help_text="Onboarding: self-assessed level.",
            ),
            "motivation": Text(
                default=None, null=True, help_text="Onboarding: motivation."
            ),
            "referral_source": Varchar(
                length=50,
                default=None,
                null=True,
                choices=Enum(
                    "ReferralSource",
                    {
                        "search": "Search",
                        "friend": "Friend",
                        "social": "Social",
                        "other": "Other",
                    },
                ),
                help_text="Onboarding: referral source.",
            ),
            "is_admin": Boolean(
                help_text="True for administrators of the product."
            ),
            "dark_mode": Varchar(
                length=10,
                default="auto",
                choices=Enum(
                    "DarkMode", {"light": "light", "dark": "dark", "auto": "auto"}
                ),
                help_text="Colour scheme of the product.",
            ),
            "created_at": Timestamptz(
                default=Now(), help_text="Time of the insert, set by the database."
            ),
            "updated_at": Timestamptz(
                default=Now(), help_text="Time of the last change, set by the database."
            ),
        },
        objects=[
            Check(condition="email = lower(email)").stored(
                "check_email_lower@check.6a5b8f6073a5",
                create='ALTER TABLE {table} ADD CONSTRAINT "check_email_lower" CHECK (email = lower(email))',
                drop='ALTER TABLE {table} DROP CONSTRAINT "check_email_lower"',
            ),
            Check(condition="target_score BETWEEN 0 AND 100").stored(
                "check_target_score_range@check.d595fd2d117e",
                create='ALTER TABLE {table} ADD CONSTRAINT "check_target_score_range" CHECK (target_score BETWEEN 0 AND 100)',
                drop='ALTER TABLE {table} DROP CONSTRAINT "check_target_score_range"',
            ),
            Check(condition="daily_study_time > 0").stored(
                "check_daily_study_time@check.5d46fdd02ceb",
                create='ALTER TABLE {table} ADD CONSTRAINT "check_daily_study_time" CHECK (daily_study_time > 0)',
                drop='ALTER TABLE {table} DROP CONSTRAINT "check_daily_study_time"',
            ),
            OneOf(
                column="knowledge_level",
                values=["Beginner", "Intermediate", "Advanced"],
            ).stored(
                "check_knowledge_level@oneof.44ae0e2021fd",
                create="ALTER TABLE {table} ADD CONSTRAINT \"check_knowledge_level\" CHECK (\"knowledge_level\" IN ('Beginner', 'Intermediate', 'Advanced'))",
                drop='ALTER TABLE {table} DROP CONSTRAINT "check_knowledge_level"',
            ),
            OneOf(
                column="referral_source",
                values=["Search", "Friend", "Social", "Other"],
            ).stored(
                "check_referral_source@oneof.960faf72ac98",
                create="ALTER TABLE {table} ADD CONSTRAINT \"check_referral_source\" CHECK (\"referral_source\" IN ('Search', 'Friend', 'Social', 'Other'))",
                drop='ALTER TABLE {table} DROP CONSTRAINT "check_referral_source"',
            ),
            OneOf(column="dark_mode", values=["light", "dark", "auto"]).stored(
                "check_dark_mode@oneof.e31a53ff9b97",
                create="ALTER TABLE {table} ADD CONSTRAINT \"check_dark_mode\" CHECK (\"dark_mode\" IN ('light', 'dark', 'auto'))",
                drop='ALTER TABLE {table} DROP CONSTRAINT "check_dark_mode"',
            ),
            Index(on=['"email"'], unique=True).stored(
                "idx_users_email@index.e664e87ff2a9",
                create='CREATE UNIQUE INDEX "idx_users_email" ON {table} USING btree ("email")',
                drop='DROP INDEX "idx_users_email"',
            ),
            Index(on=['"created_at"']).stored(
                "idx_users_created_at@index.f0189a7c1167",
                create='CREATE INDEX "idx_users_created_at" ON {table} USING btree ("created_at")',
                drop='DROP INDEX "idx_users_created_at"',
            ),
            UpdatedAtTrigger(column="updated_at").stored(
                "users_touch_updated_at@touch.7cd3bd901a31",
                create=[
                    'CREATE OR REPLACE FUNCTION "touch_updated_at"() RETURNS trigger LANGUAGE plpgsql AS \'BEGIN NEW."updated_at" := clock_timestamp(); RETURN NEW; END\'',
                    'CREATE TRIGGER "users_touch_updated_at" BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION "touch_updated_at"()',
                ],
                drop=[
                    'DROP TRIGGER "users_touch_updated_at" ON {table}',
                    'DO $$BEGIN DROP FUNCTION "touch_updated_at"(); EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END$$',
                ],
            ),
        ],
    )

    manager.create_table(
        "VerificationTable",
        "verifications",
        columns={
            "id": UUID(primary_key=True, help_text="Key."),
            "identifier": Varchar(default=None, help_text="Purpose and address, or purpose and user id."),
            "value_hash": Varchar(
                length=64,
                default=None,
                secret=True,
                help_text="SHA-256 hash of the code.",
            ),
            "attempts": Integer(help_text="Number of wrong codes."),
            "expires_at": Timestamptz(
                default=None, help_text="The code is invalid from this time on."
            ),
            "created_at": Timestamptz(
                default=Now(), help_text="Time of the insert, set by the database."
            ),
            "updated_at": Timestamptz(
                default=Now(), help_text="Time of the last change, set by the database."
            ),
        },
        objects=[
            Index(on=['"identifier"']).stored(
                "idx_verifications_identifier@index.ca004355c182",
                create='CREATE INDEX "idx_verifications_identifier" ON {table} USING btree ("identifier")',
                drop='DROP INDEX "idx_verifications_identifier"',
            ),
            Index(on=['"expires_at"']).stored(
                "idx_verifications_expires_at@index.b03fc0e884a1",
                create='CREATE INDEX "idx_verifications_expires_at" ON {table} USING btree ("expires_at")',
                drop='DROP INDEX "idx_verifications_expires_at"',
            ),
            UpdatedAtTrigger(column="updated_at").stored(
                "verifications_touch_updated_at@touch.9ee5f1f23bdf",
                create=[
                    'CREATE OR REPLACE FUNCTION "touch_updated_at"() RETURNS trigger LANGUAGE plpgsql AS \'BEGIN NEW."updated_at" := clock_timestamp(); RETURN NEW; END\'',
                    'CREATE TRIGGER "verifications_touch_updated_at" BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION "touch_updated_at"()',
                ],
                drop=[
                    'DROP TRIGGER "verifications_touch_updated_at" ON {table}',
                    'DO $$BEGIN DROP FUNCTION "touch_updated_at"(); EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END$$',
                ],
            ),
        ],
    )

    return manager
