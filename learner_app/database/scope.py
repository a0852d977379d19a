"""Scope of statements: tenant, actor and request id as settings of their transaction.

A scope is a value of the current context (``contextvars``), so that it covers a block and the tasks
started inside. PostgreSQL receives it as settings that end with the transaction (``SET LOCAL``):
another user of the same server connection, also behind PgBouncer, never sees them.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, NamedTuple
from uuid import UUID

from learner_app.database.connection import Connection
from learner_app.errors import InvalidValue, ScopeError
from learner_app.schema.session_settings import ACTOR_SETTING, REQUEST_ID_SETTING, TENANT_SETTING

LOG_TEXT = "SET LOCAL (scope)"
"""Text in the statement log instead of the settings, which contain values."""

_PROPAGATES_SETTINGS = (
    "SELECT coalesce(current_setting('citus.propagate_set_commands', true) = 'local', false)"
)

MAX_LENGTH = 200
"""Longest value in characters."""


class Scope(NamedTuple):
    """Values that the statements of a block carry, None for a value that is not set."""

    tenant: str | None = None
    actor: str | None = None
    request_id: str | None = None


NO_SCOPE = Scope()
"""Scope outside of any block; compared by identity where speed matters."""

SETTINGS = Scope(tenant=TENANT_SETTING, actor=ACTOR_SETTING, request_id=REQUEST_ID_SETTING)


class ScopeStack:
    """Nested scopes of one engine and its replicas."""

    __slots__ = ("_entry",)

    def __init__(self) -> None:
        self._entry: ContextVar[_Entry | None] = ContextVar("scope", default=None)

    def current(self) -> Scope:
        """Return the scope of this context, :data:`NO_SCOPE` outside of any."""
        entry = self._entry.get()
        if entry is None:
            return NO_SCOPE
        while entry is not None and entry.is_abandoned:
            entry = entry.outer
            self._entry.set(entry)  # also for tasks that this task starts from now on
        return NO_SCOPE if entry is None else entry.scope

    @contextmanager
    def enter(
        self,
        tenant: str | UUID | None = None,
        actor: str | UUID | None = None,
        request_id: str | UUID | None = None,
    ) -> Iterator[Scope]:
        """Enter a scope that inherits the values it does not set, see ``DatabaseEngine.scope``."""
        outer = self.current()
        inner = Scope(
            _text("tenant", tenant), _text("actor", actor), _text("request_id", request_id)
        )
        if None not in (outer.tenant, inner.tenant) and outer.tenant != inner.tenant:
            raise ScopeError(
                "a scope cannot be nested in the scope of another tenant: leave that scope first"
            )
        scope = Scope(*(new or old for new, old in zip(inner, outer, strict=True)))
        with self.entered(scope if any(scope) else NO_SCOPE):
            yield scope

    @contextmanager
    def entered(self, scope: Scope) -> Iterator[None]:
        """Use exactly this scope inside the block."""
        entry = _Entry(scope, self._entry.get())
        token = self._entry.set(entry)
        try:
            yield
        finally:
            entry.is_left = True
            with suppress(ValueError):  # left in another context, see is_abandoned
                self._entry.reset(token)


class _Entry:
    """One entered scope."""

    __slots__ = ("_owner", "is_left", "outer", "scope")

    def __init__(self, scope: Scope, outer: _Entry | None) -> None:
        self.scope = scope
        self.outer = outer
        self.is_left = False
        task = _current_task()
        self._owner = None if task is None else weakref.ref(task)

    @property
    def is_abandoned(self) -> bool:
        """True if the block ended in another context, which could not reset the variable.

        That happens to an async generator which the garbage collector closes in another task. A
        task started inside the block is different: it keeps its scope after the end of the block.
        """
        if not self.is_left:
            return False
        return self._owner is None or self._owner() is _current_task()


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no event loop is running
        return None


class ScopeSettings:
    """Settings of one transaction that correspond to a scope.

    They are sent before a statement, not when a scope is entered or left: that happens in
    synchronous code, and concurrent tasks of one transaction can have different scopes.
    """

    __slots__ = ("_is_used", "_next", "_scopes", "_sent")

    def __init__(self, scopes: ScopeStack) -> None:
        self._scopes = scopes
        self._sent: Scope | None = NO_SCOPE
        """Scope whose settings the server has, None if that is unknown."""
        self._next = NO_SCOPE
        self._is_used = False

    def may_differ(self) -> bool:
        """Return False if the transaction and the current context have no scope."""
        return self._is_used or self._scopes.current() is not NO_SCOPE

    def at_begin(self) -> str:
        """Return the SQL to send with BEGIN, empty without a scope."""
        scope = self._scopes.current()
        if scope is NO_SCOPE:
            return ""
        self._is_used = True
        self._sent = scope
        return _set_local(scope, NO_SCOPE)

    def before(self, statement: str | None) -> str:
        """Return the SQL to send before a statement, empty if the settings are correct.

        Call :meth:`sent` after it was executed.
        """
        text = (statement or "").lower()
        if text.lstrip().startswith("rollback"):
            # The transaction may be aborted, and then it refuses every other statement.
            self.rolled_back()
            return ""
        scope, before = self._scopes.current(), self._sent
        if "rollback" in text:
            self.rolled_back()
        if scope == before:
            return ""
        self._is_used = True
        self._sent, self._next = None, scope
        return _set_local(scope, before)

    def sent(self) -> None:
        """Note that the SQL of :meth:`before` was executed."""
        self._sent = self._next

    def rolled_back(self) -> None:
        """Note that ROLLBACK TO SAVEPOINT restored earlier settings, which are not known here."""
        if self._is_used:
            self._sent = None


async def send_begin(connection: Connection, begin: str, settings: str) -> None:
    """Send BEGIN and the settings of a scope, in one message where that is possible.

    Citus with ``citus.propagate_set_commands`` sends the text of the message that contains a SET
    to its workers. There a BEGIN in it would be a second one, and a warning in the log.

    Args:
        connection: connection without a transaction.
        begin: the BEGIN statement.
        settings: SQL of :meth:`ScopeSettings.at_begin`.
    """
    if connection.propagates_settings is None:
        connection.propagates_settings = await connection.fetchval(_PROPAGATES_SETTINGS)
    if connection.propagates_settings:
        await connection.control(begin)
        await connection.control(settings, log_text=LOG_TEXT)
    else:
        await connection.control(f"{begin}; {settings}", log_text=f"{begin}; {LOG_TEXT}")


def _set_local(scope: Scope, before: Scope | None) -> str:
    """Return the SQL that changes the settings of a transaction to those of a scope.

    ``SET LOCAL`` instead of ``set_config(…, true)``: Citus propagates only the former to its
    workers, where policies are evaluated, and it takes no snapshot, which would be too early for
    ``SET TRANSACTION`` and ``LOCK TABLE``. It has no parameters, hence the literals.

    Args:
        scope: the scope from now on.
        before: the scope of the settings until now; None if it is unknown.
    """
    old: Scope | tuple[object, ...] = before if before is not None else (object(),) * len(scope)
    return "; ".join(
        f"SET LOCAL {setting} = {'DEFAULT' if value is None else _literal(value)}"
        for setting, value, value_before in zip(SETTINGS, scope, old, strict=True)
        if value != value_before
    )


def _literal(text: str) -> str:
    """Return the text as a string literal that is valid with any standard_conforming_strings."""
    quoted = "'" + text.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in quoted else quoted


def _text(field: str, value: str | UUID | None) -> str | None:
    """Return a valid value of a scope as text."""
    if value is None:
        return None
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, str):
        raise _invalid(field, "must be text or a UUID")
    if not 0 < len(value) <= MAX_LENGTH:
        raise _invalid(field, f"must have 1 to {MAX_LENGTH} characters")
    if "\0" in value:
        raise _invalid(field, "must not contain a NUL character")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _invalid(field, "must be valid Unicode text") from None
    return value


def _invalid(field: str, rule: str) -> InvalidValue:
    return InvalidValue(f"scope: {field} {rule}", fields=(field,))
