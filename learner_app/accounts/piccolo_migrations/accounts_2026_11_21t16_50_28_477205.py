from learner_app.schema.migrations import MigrationManager
from learner_app.schema.columns import Inet
from learner_app.schema.columns import Reference
from piccolo.columns.column_types import Boolean
from piccolo.columns.column_types import Date
from piccolo.columns.column_types import Integer
from piccolo.columns.column_types import Text
from piccolo.columns.column_types import Timestamptz
from piccolo.columns.column_types import UUID
from piccolo.columns.column_types import Varchar

ID = "2026-11-21T16:50:28:477205"
VERSION = "1.38.0"
DESCRIPTION = "comments of columns"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="accounts", description=DESCRIPTION
    )

    manager.alter_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="id",
        db_column_name="id",
        params={"help_text": "Key."},
        old_params={"help_text": None},
        column_class=UUID,
        old_column_class=UUID,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="user_id",
        db_column_name="user_id",
        params={"help_text": "Whose it is."},
        old_params={"help_text": None},
        column_class=Reference,
        old_column_class=Reference,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="provider_id",
        db_column_name="provider_id",
        params={"help_text": "credential, google and others."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="account_id",
        db_column_name="account_id",
        params={"help_text": "The identity's id at the provider."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="access_token",
        db_column_name="access_token",
        params={"help_text": "Of the provider."},
        old_params={"help_text": None},
        column_class=Text,
        old_column_class=Text,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="refresh_token",
        db_column_name="refresh_token",
        params={"help_text": "Of the provider."},
        old_params={"help_text": None},
        column_class=Text,
        old_column_class=Text,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="id_token",
        db_column_name="id_token",
        params={"help_text": "Of the provider."},
        old_params={"help_text": None},
        column_class=Text,
        old_column_class=Text,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="access_token_expires_at",
        db_column_name="access_token_expires_at",
        params={"help_text": "End of the token."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="refresh_token_expires_at",
        db_column_name="refresh_token_expires_at",
        params={"help_text": "End of the token."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="scope",
        db_column_name="scope",
        params={"help_text": "What the tokens allow."},
        old_params={"help_text": None},
        column_class=Text,
        old_column_class=Text,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="created_at",
        db_column_name="created_at",
        params={"help_text": "Set by the database."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="updated_at",
        db_column_name="updated_at",
        params={"help_text": "Moved by the database on every change."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        column_name="id",
        db_column_name="id",
        params={"help_text": "Key."},
        old_params={"help_text": None},
        column_class=UUID,
        old_column_class=UUID,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        column_name="user_id",
        db_column_name="user_id",
        params={"help_text": "Who is signed in."},
        old_params={"help_text": None},
        column_class=Reference,
        old_column_class=Reference,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        column_name="token_hash",
        db_column_name="token_hash",
        params={"help_text": "Hash of the token."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        column_name="expires_at",
        db_column_name="expires_at",
        params={"help_text": "From then on it signs nobody in."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        column_name="ip_address",
        db_column_name="ip_address",
        params={"help_text": "Where it was opened from."},
        old_params={"help_text": None},
        column_class=Inet,
        old_column_class=Inet,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        column_name="user_agent",
        db_column_name="user_agent",
        params={"help_text": "What it was opened with."},
        old_params={"help_text": None},
        column_class=Text,
        old_column_class=Text,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        column_name="created_at",
        db_column_name="created_at",
        params={"help_text": "Set by the database."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        column_name="updated_at",
        db_column_name="updated_at",
        params={"help_text": "Moved by the database on every change."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="id",
        db_column_name="id",
        params={"help_text": "Key."},
        old_params={"help_text": None},
        column_class=UUID,
        old_column_class=UUID,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="email",
        db_column_name="email",
        params={"help_text": "In lower case."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="hashed_password",
        db_column_name="hashed_password",
        params={"help_text": "argon2id; unusable for provider-only users."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="name",
        db_column_name="name",
        params={"help_text": "As the person wants to be called."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="email_verified",
        db_column_name="email_verified",
        params={"help_text": "Whether the address was confirmed."},
        old_params={"help_text": None},
        column_class=Boolean,
        old_column_class=Boolean,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="image",
        db_column_name="image",
        params={"help_text": "URL of a picture."},
        old_params={"help_text": None},
        column_class=Text,
        old_column_class=Text,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="exam_date",
        db_column_name="exam_date",
        params={"help_text": "Onboarding: date of the exam."},
        old_params={"help_text": None},
        column_class=Date,
        old_column_class=Date,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="target_score",
        db_column_name="target_score",
        params={"help_text": "Onboarding: 0 to 100."},
        old_params={"help_text": None},
        column_class=Integer,
        old_column_class=Integer,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="daily_study_time",
        db_column_name="daily_study_time",
        params={"help_text": "Onboarding: minutes a day."},
        old_params={"help_text": None},
        column_class=Integer,
        old_column_class=Integer,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="knowledge_level",
        db_column_name="knowledge_level",
        params={"help_text": "Onboarding: own estimate."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="motivation",
        db_column_name="motivation",
        params={"help_text": "Onboarding: why they learn."},
        old_params={"help_text": None},
        column_class=Text,
        old_column_class=Text,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="referral_source",
        db_column_name="referral_source",
        params={"help_text": "Onboarding: how they came."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="is_admin",
        db_column_name="is_admin",
        params={"help_text": "Whether they administrate the product."},
        old_params={"help_text": None},
        column_class=Boolean,
        old_column_class=Boolean,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="dark_mode",
        db_column_name="dark_mode",
        params={"help_text": "Colours of the product."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="created_at",
        db_column_name="created_at",
        params={"help_text": "Set by the database."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="updated_at",
        db_column_name="updated_at",
        params={"help_text": "Moved by the database on every change."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="VerificationTable",
        tablename="verifications",
        column_name="id",
        db_column_name="id",
        params={"help_text": "Key."},
        old_params={"help_text": None},
        column_class=UUID,
        old_column_class=UUID,
        schema=None,
    )

    manager.alter_column(
        table_class_name="VerificationTable",
        tablename="verifications",
        column_name="identifier",
        db_column_name="identifier",
        params={"help_text": "Purpose and address."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="VerificationTable",
        tablename="verifications",
        column_name="value_hash",
        db_column_name="value_hash",
        params={"help_text": "Hash of the code."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="VerificationTable",
        tablename="verifications",
        column_name="attempts",
        db_column_name="attempts",
        params={"help_text": "Failed tries."},
        old_params={"help_text": None},
        column_class=Integer,
        old_column_class=Integer,
        schema=None,
    )

    manager.alter_column(
        table_class_name="VerificationTable",
        tablename="verifications",
        column_name="expires_at",
        db_column_name="expires_at",
        params={"help_text": "From then on it is worth nothing."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="VerificationTable",
        tablename="verifications",
        column_name="created_at",
        db_column_name="created_at",
        params={"help_text": "Set by the database."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="VerificationTable",
        tablename="verifications",
        column_name="updated_at",
        db_column_name="updated_at",
        params={"help_text": "Moved by the database on every change."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    return manager
