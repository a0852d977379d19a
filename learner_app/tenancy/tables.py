"""Tables of tenants and their members."""

from enum import Enum

from piccolo.columns import JSONB, UUID, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.columns.defaults.uuid import UUID4
from piccolo.table import Table

from learner_app.accounts.tables import UserTable
from learner_app.schema.columns import Now, Reference
from learner_app.schema.objects import (
    Check,
    Index,
    OneOf,
    Policy,
    PrimaryKey,
    RowLevelSecurity,
    Unique,
    UpdatedAtTrigger,
)
from learner_app.schema.tables import SchemaTable
from learner_app.schema.tenant_fields import CURRENT_TENANT, TenantFields

__all__ = ["MemberRole", "TenantMemberTable", "TenantStatus", "TenantTable"]


class TenantStatus(str, Enum):
    trial = "trial"
    active = "active"
    suspended = "suspended"


class MemberRole(str, Enum):
    owner = "owner"
    admin = "admin"
    member = "member"


class TenantTable(
    SchemaTable, Table, tablename="tenants", help_text="Organisations. Each sees only its own row."
):
    id = UUID(primary_key=True, default=UUID4(), help_text="Key.")
    name = Varchar(255, default=None, help_text="Name of the organisation.")
    slug = Varchar(63, default=None, help_text="Unique lower-case DNS label.")
    status = Varchar(20, default="active", choices=TenantStatus, help_text="Status of the tenant.")
    settings = JSONB(default={}, help_text="Settings of the tenant.")
    created_at = Timestamptz(default=Now(), help_text="Time of the insert, set by the database.")
    updated_at = Timestamptz(
        default=Now(), help_text="Time of the last change, set by the database."
    )

    tenants_slug_key = Unique([slug])
    tenants_slug_check = Check("slug ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'")
    tenants_status_check = OneOf(status, TenantStatus)
    tenants_row_level_security = RowLevelSecurity()
    tenants_isolation = Policy(using=f"id = {CURRENT_TENANT}", with_check=f"id = {CURRENT_TENANT}")
    tenants_touch_updated_at = UpdatedAtTrigger(updated_at)


class TenantMemberTable(
    TenantFields, Table, tablename="tenant_members", help_text="Members of tenants."
):
    tenant_id = Reference(
        TenantTable, "fk_tenant_members_tenant", OnDelete.cascade, help_text="Tenant."
    )
    user_id = Reference(UserTable, "fk_tenant_members_user", OnDelete.cascade, help_text="Member.")
    role = Varchar(20, default=None, choices=MemberRole, help_text="Role of the member.")

    tenant_members_pkey = PrimaryKey([tenant_id, user_id])
    tenant_members_role_check = OneOf(role, MemberRole)
    idx_tenant_members_user_id = Index(user_id)
