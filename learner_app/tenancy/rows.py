"""Rows, inputs and filters of tenants and their members."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias
from uuid import UUID

from pydantic import Field
from typing_extensions import TypedDict

from learner_app.repository.inputs import UNSET, Input
from learner_app.repository.rows import Row
from learner_app.repository.values import JsonObject, Text, Text255, new_uuid
from learner_app.tenancy.tables import TenantMemberTable, TenantTable

__all__ = [
    "MemberRole",
    "Tenant",
    "TenantCreate",
    "TenantFilters",
    "TenantMember",
    "TenantMemberCreate",
    "TenantMemberFilters",
    "TenantMemberKey",
    "TenantMemberUpdate",
    "TenantStatus",
    "TenantUpdate",
]

TenantStatus: TypeAlias = Literal["trial", "active", "suspended"]
MemberRole: TypeAlias = Literal["owner", "admin", "member"]

Name = Annotated[Text255, Field(min_length=1)]
Slug = Annotated[Text, Field(max_length=63, pattern=r"\A[a-z0-9]([a-z0-9-]*[a-z0-9])?\z")]
"""Lower-case DNS label."""


class Tenant(Row, frozen=True):
    """Organisation whose rows no other tenant sees."""

    id: UUID
    name: str
    slug: str
    """Lower-case DNS label, unique over all tenants."""
    status: TenantStatus
    settings: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class TenantCreate(Input, table=TenantTable):
    """New tenant."""

    id: UUID = Field(default_factory=new_uuid)
    name: Name
    slug: Slug
    status: TenantStatus = "active"
    settings: JsonObject = Field(default_factory=dict)


class TenantUpdate(Input, table=TenantTable):
    """Changes of a tenant."""

    name: Name = UNSET
    slug: Slug = UNSET
    status: TenantStatus = UNSET
    settings: JsonObject = UNSET


class TenantFilters(TypedDict, total=False):
    """Filters of tenants, combined with AND."""

    slug: str
    status: TenantStatus


class TenantMemberKey(NamedTuple):
    """Key of a membership."""

    tenant_id: UUID
    user_id: UUID


class TenantMember(Row, frozen=True):
    """Membership of a user in a tenant."""

    tenant_id: UUID
    user_id: UUID
    role: MemberRole
    created_at: datetime
    updated_at: datetime


class TenantMemberCreate(Input, table=TenantMemberTable):
    """New membership."""

    tenant_id: UUID
    user_id: UUID
    role: MemberRole = "member"


class TenantMemberUpdate(Input, table=TenantMemberTable):
    """Changes of a membership."""

    role: MemberRole = UNSET


class TenantMemberFilters(TypedDict, total=False):
    """Filters of memberships, combined with AND."""

    tenant_id: UUID
    user_id: UUID
    role: MemberRole
