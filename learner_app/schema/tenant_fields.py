"""Columns and row-level security of tables whose rows belong to one tenant."""

from piccolo.columns import UUID, Timestamptz

from learner_app.schema.columns import Now
from learner_app.schema.objects import Index, Policy, RowLevelSecurity, UpdatedAtTrigger
from learner_app.schema.schema_object import literal
from learner_app.schema.session_settings import TENANT_SETTING
from learner_app.schema.tables import SchemaTable

# NULLIF, because a setting that SET LOCAL once set on a connection is '' afterwards, not NULL.
CURRENT_TENANT = f"NULLIF(current_setting({literal(TENANT_SETTING)}, true), '')::uuid"
"""SQL of the current tenant's id, NULL outside a tenant's transaction."""


class TenantFields(SchemaTable):
    """Mixin of tables whose rows are visible and writable in transactions of their tenant only.

    ``tenant_id`` has no default: an insert without a tenant is rejected.
    """

    tenant_id = UUID(default=None, help_text="Tenant of the row.")
    created_at = Timestamptz(default=Now(), help_text="Time of the insert, set by the database.")
    updated_at = Timestamptz(
        default=Now(), help_text="Time of the last change, set by the database."
    )

    tenant_index = Index(tenant_id, name="idx_{table}_tenant_id")
    tenant_row_level_security = RowLevelSecurity(name="{table}_row_level_security")
    tenant_isolation = Policy(
        using=f"tenant_id = {CURRENT_TENANT}",
        with_check=f"tenant_id = {CURRENT_TENANT}",
        name="{table}_isolation",
    )
    tenant_touch = UpdatedAtTrigger(updated_at, name="{table}_touch_updated_at")
