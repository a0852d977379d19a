from learner_app.schema.migrations import MigrationManager
from learner_app.schema.columns import Reference
from piccolo.columns.column_types import JSONB
from piccolo.columns.column_types import Timestamptz
from piccolo.columns.column_types import UUID
from piccolo.columns.column_types import Varchar

ID = "2026-11-21T16:50:32:754891"
VERSION = "1.38.0"
DESCRIPTION = "comments of columns"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="tenancy", description=DESCRIPTION
    )

    manager.alter_column(
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
        column_name="tenant_id",
        db_column_name="tenant_id",
        params={"help_text": "The tenant."},
        old_params={"help_text": None},
        column_class=Reference,
        old_column_class=Reference,
        schema=None,
    )

    manager.alter_column(
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
        column_name="created_at",
        db_column_name="created_at",
        params={"help_text": "Set by the database."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
        column_name="updated_at",
        db_column_name="updated_at",
        params={"help_text": "Moved by the database on every change."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
        column_name="user_id",
        db_column_name="user_id",
        params={"help_text": "The user."},
        old_params={"help_text": None},
        column_class=Reference,
        old_column_class=Reference,
        schema=None,
    )

    manager.alter_column(
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
        column_name="role",
        db_column_name="role",
        params={"help_text": "What they may do."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="TenantTable",
        tablename="tenants",
        column_name="id",
        db_column_name="id",
        params={"help_text": "Key."},
        old_params={"help_text": None},
        column_class=UUID,
        old_column_class=UUID,
        schema=None,
    )

    manager.alter_column(
        table_class_name="TenantTable",
        tablename="tenants",
        column_name="name",
        db_column_name="name",
        params={"help_text": "As people know it."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="TenantTable",
        tablename="tenants",
        column_name="slug",
        db_column_name="slug",
        params={"help_text": "Lower-case DNS label."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="TenantTable",
        tablename="tenants",
        column_name="status",
        db_column_name="status",
        params={"help_text": "Standing."},
        old_params={"help_text": None},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.alter_column(
        table_class_name="TenantTable",
        tablename="tenants",
        column_name="settings",
        db_column_name="settings",
        params={"help_text": "By key."},
        old_params={"help_text": None},
        column_class=JSONB,
        old_column_class=JSONB,
        schema=None,
    )

    manager.alter_column(
        table_class_name="TenantTable",
        tablename="tenants",
        column_name="created_at",
        db_column_name="created_at",
        params={"help_text": "Set by the database."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    manager.alter_column(
        table_class_name="TenantTable",
        tablename="tenants",
        column_name="updated_at",
        db_column_name="updated_at",
        params={"help_text": "Moved by the database on every change."},
        old_params={"help_text": None},
        column_class=Timestamptz,
        old_column_class=Timestamptz,
        schema=None,
    )

    return manager
