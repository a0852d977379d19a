"""Repositories of tenants and their members, for use inside a ``tenant_context``."""

import builtins
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Unpack, overload
from uuid import UUID

from learner_app.repository.base import DeletingRepository
from learner_app.repository.filters import Filters
from learner_app.repository.inputs import require_instance
from learner_app.repository.paging import Order, Page, Total
from learner_app.tenancy.context import tenant_context
from learner_app.tenancy.rows import (
    Tenant,
    TenantCreate,
    TenantFilters,
    TenantMember,
    TenantMemberCreate,
    TenantMemberFilters,
    TenantMemberKey,
    TenantMemberUpdate,
    TenantUpdate,
)
from learner_app.tenancy.tables import TenantMemberTable, TenantTable

__all__ = ["TenantMemberRepository", "TenantRepository", "TenantWithOwner"]


class TenantWithOwner(NamedTuple):
    """New tenant and the membership of its owner."""

    tenant: Tenant
    owner: TenantMember


class TenantMemberRepository(
    DeletingRepository[TenantMember, TenantMemberKey, TenantMemberCreate, TenantMemberUpdate]
):
    """Repository of the members of a tenant.

    Inside ``tenant_context(tenant_id)`` it sees and writes the members of that tenant. Outside, no
    row is visible, and an insert raises ``AccessDenied``.
    """

    table = TenantMemberTable
    row = TenantMember
    filters = Filters(TenantMemberTable, TenantMemberFilters)
    orders = {  # noqa: RUF012  # typed in the base class
        "key": Order(TenantMemberTable.tenant_id, TenantMemberTable.user_id),
        "oldest": Order(
            TenantMemberTable.created_at, TenantMemberTable.tenant_id, TenantMemberTable.user_id
        ),
    }

    # typed methods: written by `python -m learner_app.repository.typed_methods`
    if TYPE_CHECKING:

        async def list(
            self,
            *,
            limit: int = 100,
            order: Literal["key", "oldest"] = "key",
            **filters: Unpack[TenantMemberFilters],
        ) -> builtins.list[TenantMember]: ...

        async def page(
            self,
            *,
            limit: int = 100,
            after: str | None = None,
            total: Total | None = None,
            order: Literal["key", "oldest"] = "key",
            **filters: Unpack[TenantMemberFilters],
        ) -> Page[TenantMember]: ...

        def stream(
            self,
            *,
            order: Literal["key", "oldest"] = "key",
            **filters: Unpack[TenantMemberFilters],
        ) -> AsyncGenerator[TenantMember, None]: ...

        async def count(self, **filters: Unpack[TenantMemberFilters]) -> int: ...

        @overload
        async def exists(self, key: TenantMemberKey) -> bool: ...

        @overload
        async def exists(self, **filters: Unpack[TenantMemberFilters]) -> bool: ...

        async def exists(self, *args: Any, **kwargs: Any) -> bool: ...

        async def update_where(
            self,
            changes: TenantMemberUpdate,
            *,
            all_rows: bool = False,
            batch: int = 1000,
            **filters: Unpack[TenantMemberFilters],
        ) -> int: ...

        async def delete_where(
            self,
            *,
            all_rows: bool = False,
            batch: int = 1000,
            **filters: Unpack[TenantMemberFilters],
        ) -> int: ...
    # end of typed methods


class TenantRepository(DeletingRepository[Tenant, UUID, TenantCreate, TenantUpdate]):
    """Repository of tenants.

    Inside ``tenant_context(tenant_id)`` it sees and writes that tenant's row only. Outside, no row
    is visible, and an insert raises ``AccessDenied``. To find a tenant by its slug before the
    context is known, use the owner role (``DB.as_owner()``).
    """

    table = TenantTable
    row = Tenant
    filters = Filters(TenantTable, TenantFilters)

    # typed methods: written by `python -m learner_app.repository.typed_methods`
    if TYPE_CHECKING:

        async def list(
            self,
            *,
            limit: int = 100,
            **filters: Unpack[TenantFilters],
        ) -> builtins.list[Tenant]: ...

        async def page(
            self,
            *,
            limit: int = 100,
            after: str | None = None,
            total: Total | None = None,
            **filters: Unpack[TenantFilters],
        ) -> Page[Tenant]: ...

        def stream(
            self,
            **filters: Unpack[TenantFilters],
        ) -> AsyncGenerator[Tenant, None]: ...

        async def count(self, **filters: Unpack[TenantFilters]) -> int: ...

        @overload
        async def exists(self, key: UUID) -> bool: ...

        @overload
        async def exists(self, **filters: Unpack[TenantFilters]) -> bool: ...

        async def exists(self, *args: Any, **kwargs: Any) -> bool: ...

        async def update_where(
            self,
            changes: TenantUpdate,
            *,
            all_rows: bool = False,
            batch: int = 1000,
            **filters: Unpack[TenantFilters],
        ) -> int: ...

        async def delete_where(
            self,
            *,
            all_rows: bool = False,
            batch: int = 1000,
            **filters: Unpack[TenantFilters],
        ) -> int: ...
    # end of typed methods

    async def create_with_owner(self, new: TenantCreate, *, owner_id: UUID) -> TenantWithOwner:
        """Insert a tenant and its first member with the role ``owner``, both or neither.

        Call it outside any tenant's context: it enters that of the new tenant.

        Raises:
            Conflict: another tenant has the id or the slug.
            MissingReference: the user does not exist.
            ScopeError: the call is inside the context of another tenant.
        """
        require_instance(TenantCreate, new, "new", self.table)
        member = TenantMemberCreate(tenant_id=new.id, user_id=owner_id, role="owner")
        members = TenantMemberRepository(self.engine)
        with tenant_context(new.id, engine=self.engine):
            async with self.engine.transaction():
                return TenantWithOwner(await self.add(new), await members.add(member))
