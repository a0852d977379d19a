from learner_app.schema.migrations import MigrationManager
from enum import Enum
from learner_app.schema.columns import Inet
from learner_app.schema.columns import Now
from learner_app.schema.columns import Reference
from learner_app.schema.objects import Check
from learner_app.schema.objects import ForeignKeyConstraint
from learner_app.schema.objects import Index
from learner_app.schema.objects import OneOf
from learner_app.schema.objects import Unique
from learner_app.schema.objects import UpdatedAtTrigger
from piccolo.columns.column_types import Boolean
from piccolo.columns.column_types import Date
from piccolo.columns.column_types import Integer
from piccolo.columns.column_types import Text
from piccolo.columns.column_types import Timestamptz
from piccolo.columns.column_types import UUID
from piccolo.columns.column_types import Varchar
from piccolo.columns.defaults.uuid import UUID4
from piccolo.columns.indexes import IndexMethod
from piccolo.table import Table


class UserTable(Table, tablename="users", schema=None):
    id = UUID(
        default=UUID4(),
        null=False,
        primary_key=True,
        unique=False,
        index=False,
        index_method=IndexMethod.btree,
        choices=None,
        db_column_name=None,
        secret=False,
    )


ID = "2026-11-21T06:00:17:992847"
VERSION = "1.38.0"
DESCRIPTION = "First tables"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="accounts", description=DESCRIPTION
    )

    manager.add_table(
        class_name="AccountTable", tablename="accounts", schema=None, columns=None
    )

    manager.add_table(
        class_name="AuthSessionTable",
        tablename="auth_sessions",
        schema=None,
        columns=None,
    )

    manager.add_table(
        class_name="UserTable", tablename="users", schema=None, columns=None
    )

    manager.add_table(
        class_name="VerificationTable",
        tablename="verifications",
        schema=None,
        columns=None,
    )

    manager.add_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="id",
        db_column_name="id",
        column_class_name="UUID",
        column_class=UUID,
        params={
            "default": UUID4(),
            "null": False,
            "primary_key": True,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="user_id",
        db_column_name="user_id",
        column_class_name="Reference",
        column_class=Reference,
        params={
            "references": UserTable,
            "target_column": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
            "column_type": "UUID",
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="provider_id",
        db_column_name="provider_id",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 50,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="account_id",
        db_column_name="account_id",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="access_token",
        db_column_name="access_token",
        column_class_name="Text",
        column_class=Text,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": True,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="refresh_token",
        db_column_name="refresh_token",
        column_class_name="Text",
        column_class=Text,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": True,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="id_token",
        db_column_name="id_token",
        column_class_name="Text",
        column_class=Text,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": True,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="access_token_expires_at",
        db_column_name="access_token_expires_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="refresh_token_expires_at",
        db_column_name="refresh_token_expires_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="scope",
        db_column_name="scope",
        column_class_name="Text",
        column_class=Text,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="created_at",
        db_column_name="created_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": Now(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AccountTable",
        tablename="accounts",
        column_name="updated_at",
        db_column_name="updated_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": Now(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        column_name="id",
        db_column_name="id",
        column_class_name="UUID",
        column_class=UUID,
        params={
            "default": UUID4(),
            "null": False,
            "primary_key": True,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        column_name="user_id",
        db_column_name="user_id",
        column_class_name="Reference",
        column_class=Reference,
        params={
            "references": UserTable,
            "target_column": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
            "column_type": "UUID",
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        column_name="token_hash",
        db_column_name="token_hash",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 64,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": True,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        column_name="expires_at",
        db_column_name="expires_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        column_name="ip_address",
        db_column_name="ip_address",
        column_class_name="Inet",
        column_class=Inet,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        column_name="user_agent",
        db_column_name="user_agent",
        column_class_name="Text",
        column_class=Text,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        column_name="created_at",
        db_column_name="created_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": Now(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        column_name="updated_at",
        db_column_name="updated_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": Now(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="id",
        db_column_name="id",
        column_class_name="UUID",
        column_class=UUID,
        params={
            "default": UUID4(),
            "null": False,
            "primary_key": True,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="email",
        db_column_name="email",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="hashed_password",
        db_column_name="hashed_password",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": True,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="name",
        db_column_name="name",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": "",
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="email_verified",
        db_column_name="email_verified",
        column_class_name="Boolean",
        column_class=Boolean,
        params={
            "default": False,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="image",
        db_column_name="image",
        column_class_name="Text",
        column_class=Text,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="exam_date",
        db_column_name="exam_date",
        column_class_name="Date",
        column_class=Date,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="target_score",
        db_column_name="target_score",
        column_class_name="Integer",
        column_class=Integer,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="daily_study_time",
        db_column_name="daily_study_time",
        column_class_name="Integer",
        column_class=Integer,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="knowledge_level",
        db_column_name="knowledge_level",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 50,
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": Enum(
                "KnowledgeLevel",
                {
                    "beginner": "Beginner",
                    "intermediate": "Intermediate",
                    "advanced": "Advanced",
                },
            ),
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="motivation",
        db_column_name="motivation",
        column_class_name="Text",
        column_class=Text,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="referral_source",
        db_column_name="referral_source",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 50,
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": Enum(
                "ReferralSource",
                {
                    "search": "Search",
                    "friend": "Friend",
                    "social": "Social",
                    "other": "Other",
                },
            ),
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="is_admin",
        db_column_name="is_admin",
        column_class_name="Boolean",
        column_class=Boolean,
        params={
            "default": False,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="dark_mode",
        db_column_name="dark_mode",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 10,
            "default": "auto",
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": Enum(
                "DarkMode", {"light": "light", "dark": "dark", "auto": "auto"}
            ),
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="created_at",
        db_column_name="created_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": Now(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="UserTable",
        tablename="users",
        column_name="updated_at",
        db_column_name="updated_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": Now(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="VerificationTable",
        tablename="verifications",
        column_name="id",
        db_column_name="id",
        column_class_name="UUID",
        column_class=UUID,
        params={
            "default": UUID4(),
            "null": False,
            "primary_key": True,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="VerificationTable",
        tablename="verifications",
        column_name="identifier",
        db_column_name="identifier",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 255,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="VerificationTable",
        tablename="verifications",
        column_name="value_hash",
        db_column_name="value_hash",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 64,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": True,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="VerificationTable",
        tablename="verifications",
        column_name="attempts",
        db_column_name="attempts",
        column_class_name="Integer",
        column_class=Integer,
        params={
            "default": 0,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="VerificationTable",
        tablename="verifications",
        column_name="expires_at",
        db_column_name="expires_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="VerificationTable",
        tablename="verifications",
        column_name="created_at",
        db_column_name="created_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": Now(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="VerificationTable",
        tablename="verifications",
        column_name="updated_at",
        db_column_name="updated_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": Now(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="AccountTable",
        tablename="accounts",
        constraint_name="accounts_provider_id_account_id_key@unique.91ca24df",
        constraint_class=Unique,
        params={"columns": ["provider_id", "account_id"], "nulls_distinct": True},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="AccountTable",
        tablename="accounts",
        constraint_name="idx_accounts_user_id@index.75f3b4d6",
        constraint_class=Index,
        params={
            "on": ['"user_id"'],
            "method": "btree",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="AccountTable",
        tablename="accounts",
        constraint_name="accounts_touch_updated_at@touch.e668aa65",
        constraint_class=UpdatedAtTrigger,
        params={"column": "updated_at"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="AccountTable",
        tablename="accounts",
        constraint_name="fk_accounts_user@fk.deedfd52",
        constraint_class=ForeignKeyConstraint,
        params={
            "columns": ["user_id"],
            "references": "users",
            "target_columns": ["id"],
            "on_delete": "CASCADE",
            "on_update": "NO ACTION",
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        constraint_name="auth_sessions_token_hash_key@unique.14753ed8",
        constraint_class=Unique,
        params={"columns": ["token_hash"], "nulls_distinct": True},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        constraint_name="idx_auth_sessions_user_id@index.75f3b4d6",
        constraint_class=Index,
        params={
            "on": ['"user_id"'],
            "method": "btree",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        constraint_name="idx_auth_sessions_expires_at@index.de64a02d",
        constraint_class=Index,
        params={
            "on": ['"expires_at"'],
            "method": "btree",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        constraint_name="auth_sessions_touch_updated_at@touch.e668aa65",
        constraint_class=UpdatedAtTrigger,
        params={"column": "updated_at"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="AuthSessionTable",
        tablename="auth_sessions",
        constraint_name="fk_auth_sessions_user@fk.deedfd52",
        constraint_class=ForeignKeyConstraint,
        params={
            "columns": ["user_id"],
            "references": "users",
            "target_columns": ["id"],
            "on_delete": "CASCADE",
            "on_update": "NO ACTION",
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="UserTable",
        tablename="users",
        constraint_name="check_email_lower@check.0513e266",
        constraint_class=Check,
        params={"condition": "email = lower(email)"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="UserTable",
        tablename="users",
        constraint_name="check_target_score_range@check.0d3d6d17",
        constraint_class=Check,
        params={"condition": "target_score BETWEEN 0 AND 100"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="UserTable",
        tablename="users",
        constraint_name="check_daily_study_time@check.cfde9ce3",
        constraint_class=Check,
        params={"condition": "daily_study_time > 0"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="UserTable",
        tablename="users",
        constraint_name="check_knowledge_level@oneof.5931491a",
        constraint_class=OneOf,
        params={
            "column": "knowledge_level",
            "values": ["Beginner", "Intermediate", "Advanced"],
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="UserTable",
        tablename="users",
        constraint_name="check_referral_source@oneof.c677fe9b",
        constraint_class=OneOf,
        params={
            "column": "referral_source",
            "values": ["Search", "Friend", "Social", "Other"],
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="UserTable",
        tablename="users",
        constraint_name="check_dark_mode@oneof.86cd6f3a",
        constraint_class=OneOf,
        params={"column": "dark_mode", "values": ["light", "dark", "auto"]},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="UserTable",
        tablename="users",
        constraint_name="idx_users_email@index.7237420a",
        constraint_class=Index,
        params={
            "on": ['"email"'],
            "method": "btree",
            "unique": True,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="UserTable",
        tablename="users",
        constraint_name="idx_users_created_at@index.58a03d95",
        constraint_class=Index,
        params={
            "on": ['"created_at"'],
            "method": "btree",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="UserTable",
        tablename="users",
        constraint_name="users_touch_updated_at@touch.e668aa65",
        constraint_class=UpdatedAtTrigger,
        params={"column": "updated_at"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="VerificationTable",
        tablename="verifications",
        constraint_name="idx_verifications_identifier@index.df3689f5",
        constraint_class=Index,
        params={
            "on": ['"identifier"'],
            "method": "btree",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="VerificationTable",
        tablename="verifications",
        constraint_name="idx_verifications_expires_at@index.de64a02d",
        constraint_class=Index,
        params={
            "on": ['"expires_at"'],
            "method": "btree",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="VerificationTable",
        tablename="verifications",
        constraint_name="verifications_touch_updated_at@touch.e668aa65",
        constraint_class=UpdatedAtTrigger,
        params={"column": "updated_at"},
        schema=None,
    )

    return manager
