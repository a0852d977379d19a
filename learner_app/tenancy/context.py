"""Context manager without which row-level security hides the rows of all tenants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from learner_app.database.engine import DatabaseEngine
from learner_app.repository.inputs import validate
from learner_app.repository.values import DEFERRED
from learner_app.tenancy.tables import TenantTable

__all__ = ["tenant_context"]

TENANT_ID: TypeAdapter[UUID] = TypeAdapter(UUID, config=DEFERRED)


@contextmanager
def tenant_context(
    tenant_id: UUID | str, *, engine: DatabaseEngine | None = None
) -> Iterator[UUID]:
    """Make the rows of one tenant visible and writable inside the ``with`` block.

    It applies to the statements and transactions of the block and of the tasks started inside, as
    ``DB.scope(tenant=…)`` does, and validates the id. It does not check that the tenant exists: no
    row is visible in the context of an unknown tenant.

    Args:
        tenant_id: id of the tenant, a ``UUID`` or its text.
        engine: engine of the statements, ``learner_app.conf.DB`` if omitted.

    Raises:
        InvalidValue: the id is not a UUID.
        ScopeError: the block is nested in the context of another tenant.
    """
    tenant = validate(TENANT_ID, tenant_id, "tenant_id", TenantTable)
    database: Any = engine or TenantTable._meta.db
    with database.scope(tenant=tenant):
        yield tenant
