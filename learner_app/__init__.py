"""Data foundation of adaptive-learning applications on PostgreSQL.

The names that services import most are available here, such as ``from learner_app import DB,
ContentRepository``. Each is imported on first use: ``import learner_app`` alone imports nothing,
reads no setting and opens no connection.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from learner_app.accounts.repositories import (
        AccountRepository,
        AuthSessionRepository,
        UserRepository,
        VerificationRepository,
    )
    from learner_app.accounts.rows import (
        Account,
        AuthSession,
        ProviderUserCreate,
        User,
        UserCreate,
        UserUpdate,
    )
    from learner_app.conf import DB
    from learner_app.content.repositories import ContentRepository
    from learner_app.content.rows import Content, ContentCreate, ContentUpdate
    from learner_app.database.engine import DatabaseEngine
    from learner_app.errors import (
        CommitUnknown,
        Conflict,
        DatabaseError,
        DatabaseUnavailable,
        InvalidTransition,
        InvalidValue,
        LearnerError,
        LockTimeout,
        MissingReference,
        NotFound,
        SerializationFailure,
        StaleClaim,
        StaleVersion,
        StillReferenced,
        TransactionRequired,
    )
    from learner_app.generation.repositories import GenerationRepository
    from learner_app.generation.rows import Generation, GenerationCreate, GenerationUpdate
    from learner_app.learner.repositories import (
        LearnerModelStateRepository,
        UserPreferencesRepository,
    )
    from learner_app.learner.rows import (
        LearnerModelState,
        LearnerModelStateUpdate,
        UserPreferences,
        UserPreferencesUpdate,
    )
    from learner_app.listening.repositories import (
        BehavioralEventRepository,
        LikeRepository,
        ListeningSessionRepository,
    )
    from learner_app.listening.rows import (
        BehavioralEvent,
        BehavioralEventCreate,
        Engagement,
        Like,
        LikeKey,
        ListeningSession,
        ListeningSessionCreate,
        ListeningSessionUpdate,
    )
    from learner_app.repository.paging import Page
    from learner_app.repository.rows import StoredRow, to_json
    from learner_app.tenancy.context import tenant_context
    from learner_app.tenancy.repositories import TenantMemberRepository, TenantRepository
    from learner_app.tenancy.rows import Tenant, TenantCreate, TenantMember

_MODULES = {
    "accounts.repositories": (
        "AccountRepository",
        "AuthSessionRepository",
        "UserRepository",
        "VerificationRepository",
    ),
    "accounts.rows": (
        "Account",
        "AuthSession",
        "ProviderUserCreate",
        "User",
        "UserCreate",
        "UserUpdate",
    ),
    "conf": ("DB",),
    "content.repositories": ("ContentRepository",),
    "content.rows": ("Content", "ContentCreate", "ContentUpdate"),
    "database.engine": ("DatabaseEngine",),
    "errors": (
        "CommitUnknown",
        "Conflict",
        "DatabaseError",
        "DatabaseUnavailable",
        "InvalidTransition",
        "InvalidValue",
        "LearnerError",
        "LockTimeout",
        "MissingReference",
        "NotFound",
        "SerializationFailure",
        "StaleClaim",
        "StaleVersion",
        "StillReferenced",
        "TransactionRequired",
    ),
    "generation.repositories": ("GenerationRepository",),
    "generation.rows": ("Generation", "GenerationCreate", "GenerationUpdate"),
    "learner.repositories": ("LearnerModelStateRepository", "UserPreferencesRepository"),
    "learner.rows": (
        "LearnerModelState",
        "LearnerModelStateUpdate",
        "UserPreferences",
        "UserPreferencesUpdate",
    ),
    "listening.repositories": (
        "BehavioralEventRepository",
        "LikeRepository",
        "ListeningSessionRepository",
    ),
    "listening.rows": (
        "BehavioralEvent",
        "BehavioralEventCreate",
        "Engagement",
        "Like",
        "LikeKey",
        "ListeningSession",
        "ListeningSessionCreate",
        "ListeningSessionUpdate",
    ),
    "repository.paging": ("Page",),
    "repository.rows": ("StoredRow", "to_json"),
    "tenancy.context": ("tenant_context",),
    "tenancy.repositories": ("TenantMemberRepository", "TenantRepository"),
    "tenancy.rows": ("Tenant", "TenantCreate", "TenantMember"),
}
"""Module of each name. A test checks that the imports above and ``__all__`` are the same names."""

__all__ = [
    "DB",
    "Account",
    "AccountRepository",
    "AuthSession",
    "AuthSessionRepository",
    "BehavioralEvent",
    "BehavioralEventCreate",
    "BehavioralEventRepository",
    "CommitUnknown",
    "Conflict",
    "Content",
    "ContentCreate",
    "ContentRepository",
    "ContentUpdate",
    "DatabaseEngine",
    "DatabaseError",
    "DatabaseUnavailable",
    "Engagement",
    "Generation",
    "GenerationCreate",
    "GenerationRepository",
    "GenerationUpdate",
    "InvalidTransition",
    "InvalidValue",
    "LearnerError",
    "LearnerModelState",
    "LearnerModelStateRepository",
    "LearnerModelStateUpdate",
    "Like",
    "LikeKey",
    "LikeRepository",
    "ListeningSession",
    "ListeningSessionCreate",
    "ListeningSessionRepository",
    "ListeningSessionUpdate",
    "LockTimeout",
    "MissingReference",
    "NotFound",
    "Page",
    "ProviderUserCreate",
    "SerializationFailure",
    "StaleClaim",
    "StaleVersion",
    "StillReferenced",
    "StoredRow",
    "Tenant",
    "TenantCreate",
    "TenantMember",
    "TenantMemberRepository",
    "TenantRepository",
    "TransactionRequired",
    "User",
    "UserCreate",
    "UserPreferences",
    "UserPreferencesRepository",
    "UserPreferencesUpdate",
    "UserRepository",
    "UserUpdate",
    "VerificationRepository",
    "tenant_context",
    "to_json",
]

_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value  # the next access does not call this function
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
