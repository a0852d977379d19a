"""Parts of one engine, for the classes that execute its statements and transactions."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from piccolo.engine.postgres import PostgresEngine

from learner_app.database.connections import Connections
from learner_app.database.instrumentation import Observers
from learner_app.database.scope import ScopeStack

CurrentTransaction = ContextVar[Any]
"""Variable of Piccolo's engine with the innermost transaction of the context, or None."""


@dataclass(frozen=True, slots=True)
class EngineParts:
    """Parts of one engine, for the classes that execute its statements and transactions."""

    engine: PostgresEngine
    connections: Connections
    current: CurrentTransaction
    """Context variable with the innermost transaction."""
    scopes: ScopeStack
    observers: Observers
