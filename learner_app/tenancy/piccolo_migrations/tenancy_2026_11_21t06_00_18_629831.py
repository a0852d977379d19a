from learner_app.schema.migrations import MigrationManager
from enum import Enum
from learner_app.schema.columns import Now
from learner_app.schema.columns import Reference
from learner_app.schema.objects import Check
from learner_app.schema.objects import ForeignKeyConstraint
from learner_app.schema.objects import Index
from learner_app.schema.objects import OneOf
from learner_app.schema.objects import Policy
from learner_app.schema.objects import PrimaryKey
from learner_app.schema.objects import RowLevelSecurity
from learner_app.schema.objects import Unique
from learner_app.schema.objects import UpdatedAtTrigger
from piccolo.columns.column_types import JSONB
from piccolo.columns.column_types import Timestamptz
from piccolo.columns.column_types import UUID
from piccolo.columns.column_types import Varchar
from piccolo.columns.defaults.uuid import UUID4
from piccolo.columns.indexes import IndexMethod
from piccolo.table import Table


class TenantTable(Table, tablename="tenants", schema=None):
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


ID = "2026-11-21T06:00:18:629831"
VERSION = "1.38.0"
DESCRIPTION = "First tables"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="tenancy", description=DESCRIPTION
    )

    manager.add_table(
        class_name="TenantMemberTable",
        tablename="tenant_members",
        schema=None,
        columns=None,
    )

    manager.add_table(
        class_name="TenantTable", tablename="tenants", schema=None, columns=None
    )

    manager.add_column(
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
        column_name="tenant_id",
        db_column_name="tenant_id",
        column_class_name="Reference",
        column_class=Reference,
        params={
            "references": TenantTable,
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
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
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
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
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
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
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
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
        column_name="role",
        db_column_name="role",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 20,
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": Enum(
                "MemberRole",
                {"owner": "owner", "admin": "admin", "member": "member"},
            ),
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="TenantTable",
        tablename="tenants",
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
        table_class_name="TenantTable",
        tablename="tenants",
        column_name="name",
        db_column_name="name",
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
        table_class_name="TenantTable",
        tablename="tenants",
        column_name="slug",
        db_column_name="slug",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 63,
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
        table_class_name="TenantTable",
        tablename="tenants",
        column_name="status",
        db_column_name="status",
        column_class_name="Varchar",
        column_class=Varchar,
        params={
            "length": 20,
            "default": "active",
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": Enum(
                "TenantStatus",
                {"trial": "trial", "active": "active", "suspended": "suspended"},
            ),
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="TenantTable",
        tablename="tenants",
        column_name="settings",
        db_column_name="settings",
        column_class_name="JSONB",
        column_class=JSONB,
        params={
            "default": "{}",
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
        table_class_name="TenantTable",
        tablename="tenants",
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
        table_class_name="TenantTable",
        tablename="tenants",
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
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
        constraint_name="idx_tenant_members_tenant_id@index.add8372d",
        constraint_class=Index,
        params={
            "on": ['"tenant_id"'],
            "method": "btree",
            "unique": False,
            "where": None,
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
        constraint_name="tenant_members_row_level_security@rls.c97d9a50",
        constraint_class=RowLevelSecurity,
        params={"force": True},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
        constraint_name="tenant_members_isolation@policy.72c17ff9",
        constraint_class=Policy,
        params={
            "using": "tenant_id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid",
            "with_check": "tenant_id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid",
            "command": "ALL",
            "role": "PUBLIC",
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
        constraint_name="tenant_members_touch_updated_at@touch.e668aa65",
        constraint_class=UpdatedAtTrigger,
        params={"column": "updated_at"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
        constraint_name="tenant_members_pkey@pk.2a96a047",
        constraint_class=PrimaryKey,
        params={"columns": ["tenant_id", "user_id"]},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
        constraint_name="tenant_members_role_check@oneof.332a3e1e",
        constraint_class=OneOf,
        params={"column": "role", "values": ["owner", "admin", "member"]},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
        constraint_name="idx_tenant_members_user_id@index.75f3b4d6",
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
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
        constraint_name="fk_tenant_members_tenant@fk.f47ff0a1",
        constraint_class=ForeignKeyConstraint,
        params={
            "columns": ["tenant_id"],
            "references": "tenants",
            "target_columns": ["id"],
            "on_delete": "CASCADE",
            "on_update": "NO ACTION",
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="TenantMemberTable",
        tablename="tenant_members",
        constraint_name="fk_tenant_members_user@fk.deedfd52",
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
        table_class_name="TenantTable",
        tablename="tenants",
        constraint_name="tenants_slug_key@unique.299acd40",
        constraint_class=Unique,
        params={"columns": ["slug"], "nulls_distinct": True},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="TenantTable",
        tablename="tenants",
        constraint_name="tenants_slug_check@check.7e14a3e7",
        constraint_class=Check,
        params={"condition": "slug ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'"},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="TenantTable",
        tablename="tenants",
        constraint_name="tenants_status_check@oneof.6c6c73a3",
        constraint_class=OneOf,
        params={"column": "status", "values": ["trial", "active", "suspended"]},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="TenantTable",
        tablename="tenants",
        constraint_name="tenants_row_level_security@rls.c97d9a50",
        constraint_class=RowLevelSecurity,
        params={"force": True},
        schema=None,
    )

    manager.add_constraint(
        table_class_name="TenantTable",
        tablename="tenants",
        constraint_name="tenants_isolation@policy.14d4ab41",
        constraint_class=Policy,
        params={
            "using": "id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid",
            "with_check": "id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid",
            "command": "ALL",
            "role": "PUBLIC",
        },
        schema=None,
    )

    manager.add_constraint(
        table_class_name="TenantTable",
        tablename="tenants",
        constraint_name="tenants_touch_updated_at@touch.e668aa65",
        constraint_class=UpdatedAtTrigger,
        params={"column": "updated_at"},
        schema=None,
    )

    return manager
