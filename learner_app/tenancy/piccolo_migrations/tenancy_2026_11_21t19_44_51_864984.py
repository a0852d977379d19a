from learner_app.schema.migrations import MigrationManager
from enum import Enum
from learner_app.schema.columns import Now, Reference
from learner_app.schema.objects import (
    Check,
    ForeignKeyConstraint,
    Index,
    OneOf,
    Policy,
    PrimaryKey,
    RowLevelSecurity,
    Unique,
    UpdatedAtTrigger,
)
from piccolo.columns.column_types import JSONB, Timestamptz, UUID, Varchar
from piccolo.table import Table


class TenantTable(Table, tablename="tenants"):
    id = UUID(primary_key=True)


class UserTable(Table, tablename="users"):
    id = UUID(primary_key=True)


ID = "2026-11-21T19:44:51:864984"
VERSION = "1.38.0"
DESCRIPTION = "First tables"
REPLACES = [
    "2026-11-21T06:00:18:629831",
    "2026-11-21T16:50:32:754891",
]


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="tenancy", description=DESCRIPTION
    )

    manager.create_table(
        "TenantMemberTable",
        "tenant_members",
        columns={
            "tenant_id": Reference(
                references=TenantTable,
                column_type="UUID",
                help_text="Tenant.",
            ),
            "created_at": Timestamptz(
                default=Now(), help_text="Time of the insert, set by the database."
            ),
            "updated_at": Timestamptz(
                default=Now(), help_text="Time of the last change, set by the database."
            ),
            "user_id": Reference(
                references=UserTable, column_type="UUID", help_text="Member."
            ),
            "role": Varchar(
                length=20,
                default=None,
                choices=Enum(
                    "MemberRole",
                    {"owner": "owner", "admin": "admin", "member": "member"},
                ),
                help_text="Role of the member.",
            ),
        },
        objects=[
            Index(on=['"tenant_id"']).stored(
                "idx_tenant_members_tenant_id@index.1068df240c5e",
                create='CREATE INDEX "idx_tenant_members_tenant_id" ON {table} USING btree ("tenant_id")',
                drop='DROP INDEX "idx_tenant_members_tenant_id"',
            ),
            RowLevelSecurity().stored(
                "tenant_members_row_level_security@rls.605adc1e48e6",
                create=[
                    "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
                    "ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
                ],
                drop=[
                    "ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
                    "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
                ],
            ),
            Policy(
                using="tenant_id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid",
                with_check="tenant_id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid",
            ).stored(
                "tenant_members_isolation@policy.3f197d759af1",
                create="CREATE POLICY \"tenant_members_isolation\" ON {table} FOR ALL TO PUBLIC USING (tenant_id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid) WITH CHECK (tenant_id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid)",
                drop='DROP POLICY "tenant_members_isolation" ON {table}',
            ),
            UpdatedAtTrigger(column="updated_at").stored(
                "tenant_members_touch_updated_at@touch.f1363f5b511e",
                create=[
                    'CREATE OR REPLACE FUNCTION "touch_updated_at"() RETURNS trigger LANGUAGE plpgsql AS \'BEGIN NEW."updated_at" := clock_timestamp(); RETURN NEW; END\'',
                    'CREATE TRIGGER "tenant_members_touch_updated_at" BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION "touch_updated_at"()',
                ],
                drop=[
                    'DROP TRIGGER "tenant_members_touch_updated_at" ON {table}',
                    'DO $$BEGIN DROP FUNCTION "touch_updated_at"(); EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END$$',
                ],
            ),
            PrimaryKey(columns=["tenant_id", "user_id"]).stored(
                "tenant_members_pkey@pk.025c3f510894",
                create='ALTER TABLE {table} ADD CONSTRAINT "tenant_members_pkey" PRIMARY KEY ("tenant_id", "user_id")',
                drop='ALTER TABLE {table} DROP CONSTRAINT "tenant_members_pkey"',
            ),
            OneOf(column="role", values=["owner", "admin", "member"]).stored(
                "tenant_members_role_check@oneof.2e520cd842d7",
                create="ALTER TABLE {table} ADD CONSTRAINT \"tenant_members_role_check\" CHECK (\"role\" IN ('owner', 'admin', 'member'))",
                drop='ALTER TABLE {table} DROP CONSTRAINT "tenant_members_role_check"',
            ),
            Index(on=['"user_id"']).stored(
                "idx_tenant_members_user_id@index.e58cc30f28d4",
                create='CREATE INDEX "idx_tenant_members_user_id" ON {table} USING btree ("user_id")',
                drop='DROP INDEX "idx_tenant_members_user_id"',
            ),
            ForeignKeyConstraint(
                columns=["tenant_id"],
                references="tenants",
                target_columns=["id"],
                on_delete="CASCADE",
            ).stored(
                "fk_tenant_members_tenant@fk.cfab41f367a5",
                create='ALTER TABLE {table} ADD CONSTRAINT "fk_tenant_members_tenant" FOREIGN KEY ("tenant_id") REFERENCES "tenants" ("id") ON DELETE CASCADE ON UPDATE NO ACTION',
                drop='ALTER TABLE {table} DROP CONSTRAINT "fk_tenant_members_tenant"',
            ),
            ForeignKeyConstraint(
                columns=["user_id"],
                references="users",
                target_columns=["id"],
                on_delete="CASCADE",
            ).stored(
                "fk_tenant_members_user@fk.faab9c66571a",
                create='ALTER TABLE {table} ADD CONSTRAINT "fk_tenant_members_user" FOREIGN KEY ("user_id") REFERENCES "users" ("id") ON DELETE CASCADE ON UPDATE NO ACTION',
                drop='ALTER TABLE {table} DROP CONSTRAINT "fk_tenant_members_user"',
            ),
        ],
    )

    manager.create_table(
        "TenantTable",
        "tenants",
        columns={
            "id": UUID(primary_key=True, help_text="Key."),
            "name": Varchar(default=None, help_text="Name of the organisation."),
            "slug": Varchar(
                length=63, default=None, help_text="Unique lower-case DNS label."
            ),
            "status": Varchar(
                length=20,
                default="active",
                choices=Enum(
                    "TenantStatus",
                    {
                        "trial": "trial",
                        "active": "active",
                        "suspended": "suspended",
                    },
                ),
                help_text="Status of the tenant.",
            ),
            "settings": JSONB(help_text="Settings of the tenant."),
            "created_at": Timestamptz(
                default=Now(), help_text="Time of the insert, set by the database."
            ),
            "updated_at": Timestamptz(
                default=Now(), help_text="Time of the last change, set by the database."
            ),
        },
        objects=[
            Unique(columns=["slug"]).stored(
                "tenants_slug_key@unique.2852ae983390",
                create='ALTER TABLE {table} ADD CONSTRAINT "tenants_slug_key" UNIQUE ("slug")',
                drop='ALTER TABLE {table} DROP CONSTRAINT "tenants_slug_key"',
            ),
            Check(condition="slug ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'").stored(
                "tenants_slug_check@check.0b99bc0c7480",
                create="ALTER TABLE {table} ADD CONSTRAINT \"tenants_slug_check\" CHECK (slug ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",
                drop='ALTER TABLE {table} DROP CONSTRAINT "tenants_slug_check"',
            ),
            OneOf(
                column="status", values=["trial", "active", "suspended"]
            ).stored(
                "tenants_status_check@oneof.37e9166098be",
                create="ALTER TABLE {table} ADD CONSTRAINT \"tenants_status_check\" CHECK (\"status\" IN ('trial', 'active', 'suspended'))",
                drop='ALTER TABLE {table} DROP CONSTRAINT "tenants_status_check"',
            ),
            RowLevelSecurity().stored(
                "tenants_row_level_security@rls.605adc1e48e6",
                create=[
                    "ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
                    "ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
                ],
                drop=[
                    "ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
                    "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
                ],
            ),
            Policy(
                using="id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid",
                with_check="id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid",
            ).stored(
                "tenants_isolation@policy.8ad1996fc924",
                create="CREATE POLICY \"tenants_isolation\" ON {table} FOR ALL TO PUBLIC USING (id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid) WITH CHECK (id = NULLIF(current_setting('app.current_tenant_id', true), '')::uuid)",
                drop='DROP POLICY "tenants_isolation" ON {table}',
            ),
            UpdatedAtTrigger(column="updated_at").stored(
                "tenants_touch_updated_at@touch.7910de5b38ae",
                create=[
                    'CREATE OR REPLACE FUNCTION "touch_updated_at"() RETURNS trigger LANGUAGE plpgsql AS \'BEGIN NEW."updated_at" := clock_timestamp(); RETURN NEW; END\'',
                    'CREATE TRIGGER "tenants_touch_updated_at" BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION "touch_updated_at"()',
                ],
                drop=[
                    'DROP TRIGGER "tenants_touch_updated_at" ON {table}',
                    'DO $$BEGIN DROP FUNCTION "touch_updated_at"(); EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END$$',
                ],
            ),
        ],
    )

    return manager
