"""Scope of statements: tenant, actor and request id as settings of their transaction.

A scope is stored in a context variable, so that it covers a block and the tasks started inside. The
server receives it as settings that end with the transaction (``SET LOCAL``), so that no other user
of the same session sees them, even if PgBouncer shares it.
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
"""Text for the statement log instead of the SQL of the settings, which contains values."""

_PROPAGATES_SETTINGS = (
    "SELECT coalesce(current_setting('citus.propagate_set_commands', true) = 'local', false)"
)

MAX_LENGTH = 200
"""Maximum length of a value in characters."""


class Scope(NamedTuple):
    """Values for the statements of a block, None for a value that is not set."""

    tenant: str | None = None
    actor: str | None = None
    request_id: str | None = None


NO_SCOPE = Scope()
"""Scope without values, the only such object, so that it can be compared by identity."""

SETTINGS = Scope(tenant=TENANT_SETTING, actor=ACTOR_SETTING, request_id=REQUEST_ID_SETTING)
"""Names of PostgreSQL's settings for the values of a scope."""


class ScopeStack:
    """Nested scopes of one engine and its replicas."""

    __slots__ = ("_entry",)

    def __init__(self) -> None:
        self._entry: ContextVar[_Entry | None] = ContextVar("scope", default=None)

    def current(self) -> Scope:
        """Return the scope of this context, :data:`NO_SCOPE` if there is none."""
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
            _checked_text("tenant", tenant),
            _checked_text("actor", actor),
            _checked_text("request_id", request_id),
        )
        if None not in (outer.tenant, inner.tenant) and outer.tenant != inner.tenant:
            raise ScopeError(
                "a scope cannot be nested in the scope of another tenant: leave that scope first"
            )
        scope = Scope(*(new or old for new, old in zip(inner, outer, strict=True)))
        with self.use(scope if any(scope) else NO_SCOPE):
            yield scope

    @contextmanager
    def use(self, scope: Scope) -> Iterator[None]:
        """Enter a scope without inheriting values from the present one."""
        entry = _Entry(scope, self._entry.get())
        token = self._entry.set(entry)
        try:
            yield
        finally:
            entry.is_left = True
            with suppress(ValueError):  # left in another context, see is_abandoned
                self._entry.reset(token)


class _Entry:
    """Scope that a block has entered, with the task that entered it."""

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

        That happens if an async generator is not closed: the event loop closes it in a new task. A
        task that was started inside the block, in contrast, keeps the scope after the block.
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
    """Settings of a scope in one transaction: what the server has, and what to send.

    They are sent before a statement and not when a scope is entered or left, because that happens
    in synchronous code, and because concurrent tasks of one transaction can have different scopes.
    """

    __slots__ = ("_is_used", "_next", "_scopes", "_sent")

    def __init__(self, scopes: ScopeStack) -> None:
        self._scopes = scopes
        self._sent: Scope | None = NO_SCOPE
        """Scope whose settings the server has, None if that is unknown."""
        self._next = NO_SCOPE
        """Scope of the SQL that :meth:`sql_before` returned last."""
        self._is_used = False
        """True if settings were sent in this transaction."""

    def may_differ(self) -> bool:
        """Return False if neither the transaction nor the current context has a scope."""
        return self._is_used or self._scopes.current() is not NO_SCOPE

    def sql_with_begin(self) -> str:
        """Return the SQL to send with BEGIN, empty without a scope."""
        scope = self._scopes.current()
        if scope is NO_SCOPE:
            return ""
        self._is_used = True
        self._sent = scope
        return _set_local_sql(scope, NO_SCOPE)

    def sql_before(self, statement: str | None) -> str:
        """Return the SQL to send before a statement, empty if the server has the right settings.

        Call :meth:`mark_sent` after the SQL was executed.
        """
        text = (statement or "").lower()
        if text.lstrip().startswith("rollback"):
            # An aborted transaction accepts no other statement, so nothing is sent before.
            self.mark_rolled_back()
            return ""
        scope, before = self._scopes.current(), self._sent
        if "rollback" in text:
            self.mark_rolled_back()
        if scope == before:
            return ""
        self._is_used = True
        self._sent, self._next = None, scope
        return _set_local_sql(scope, before)

    def mark_sent(self) -> None:
        """Record that the SQL of :meth:`sql_before` was executed."""
        self._sent = self._next

    def mark_rolled_back(self) -> None:
        """Record that ROLLBACK TO SAVEPOINT restored earlier settings, which are unknown."""
        if self._is_used:
            self._sent = None


async def send_begin(connection: Connection, begin: str, settings: str) -> None:
    """Send BEGIN and the settings of a scope, in one message if that is possible.

    With ``citus.propagate_set_commands`` Citus sends the whole message that contains a SET to its
    workers. They have begun a transaction already, and would log a warning about the second BEGIN.

    Args:
        connection: connection without a transaction.
        begin: the BEGIN statement.
        settings: SQL of :meth:`ScopeSettings.sql_with_begin`.
    """
    if connection.propagates_settings is None:
        connection.propagates_settings = await connection.fetchval(_PROPAGATES_SETTINGS)
    if connection.propagates_settings:
        await connection.control(begin)
        await connection.control(settings, log_text=LOG_TEXT)
    else:
        await connection.control(f"{begin}; {settings}", log_text=f"{begin}; {LOG_TEXT}")


def _set_local_sql(scope: Scope, before: Scope | None) -> str:
    """Return the SQL that changes the settings of a transaction to those of a scope.

    Why ``SET LOCAL`` and not ``set_config(…, true)``: Citus propagates only the former to its
    workers, where policies are evaluated. And a SELECT would take a snapshot, after which
    ``SET TRANSACTION`` is refused and ``LOCK TABLE`` comes too late. ``SET LOCAL`` accepts no
    parameters, hence the literals.

    Args:
        scope: scope whose settings the server shall have.
        before: scope whose settings the server has, None if that is unknown.
    """
    old: Scope | tuple[object, ...] = before if before is not None else (object(),) * len(scope)
    return "; ".join(
        f"SET LOCAL {setting} = {'DEFAULT' if value is None else _literal(value)}"
        for setting, value, value_before in zip(SETTINGS, scope, old, strict=True)
        if value != value_before
    )


def _literal(text: str) -> str:
    """Return the text as a literal that is valid for both values of standard_conforming_strings."""
    quoted = "'" + text.replace("'", "''") + "'"
    return "E" + quoted.replace("\\", "\\\\") if "\\" in quoted else quoted


def _checked_text(field: str, value: str | UUID | None) -> str | None:
    """Return a value of a scope as text.

    Raises:
        InvalidValue: the value is no text or UUID, is empty or too long, or cannot be stored.
    """
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
