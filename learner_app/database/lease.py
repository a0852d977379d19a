"""Lease of a connection, which is valid until the block that created it ends.

After the block the connection returns to the pool and is used by other callers. A caller that kept
a reference to it could send statements into their transactions. Therefore a caller never gets the
connection itself but a lease. After its block the lease raises LeaseEnded, and so do the cursors,
prepared statements and transactions that were made through it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Never, TypeVar

import asyncpg
import asyncpg.connection

from learner_app.database.connection import Connection
from learner_app.database.error_mapping import (
    DRIVER_ERRORS,
    is_error_of_caller,
    outcome_is_unknown,
)
from learner_app.database.sql_inspection import controls_transaction
from learner_app.database.sql_inspection import is_read as is_read_statement
from learner_app.errors import ConnectionLost, DatabaseError, LeaseEnded

T = TypeVar("T")

# Any, as asyncpg's stubs omit the private attributes used here
_Driver: Any = asyncpg.connection.Connection
_Proxy: Any = asyncpg.connection._ConnectionProxy

STATEMENT_METHODS = {
    "copy_from_query",
    "execute",
    "executemany",
    "fetch",
    "fetchmany",
    "fetchrow",
    "fetchval",
}
"""Methods whose first argument is a statement, which decides whether they may write."""

READ_METHODS = {"copy_from_table", "add_listener", "remove_listener", "ping"}
"""Methods that never write a row."""

PROTOCOL_OPERATIONS = {
    "bind",
    "bind_execute",
    "bind_execute_many",
    "close_portal",
    "execute",
    "query",
}
"""Methods of asyncpg's protocol that cursors and prepared statements await."""


class Lease(_Proxy):  # type: ignore[misc]  # see above
    """Lease with all methods of ``asyncpg.Connection``."""

    __slots__ = (
        "_before_operation",
        "_connection",
        "_is_ended",
        "_is_repeatable",
        "_is_transaction_open",
        "_outer",
        "last_error",
        "lost_write",
    )

    def __init__(
        self,
        connection: Connection,
        is_transaction_open: Callable[[], bool] | None = None,
        *,
        before_operation: Callable[[str | None], Awaitable[None]] | None = None,
        is_repeatable: bool = False,
    ) -> None:
        """
        Args:
            connection: the leased connection.
            is_transaction_open: returns True while the transaction of the lease is open; None if
                there is no transaction.
            before_operation: called before each operation with its SQL, or None if unknown.
            is_repeatable: True if the caller retries the work on another connection.
        """
        self._connection = connection
        self._before_operation = before_operation
        self._is_transaction_open = is_transaction_open
        self._is_repeatable = is_repeatable
        self._is_ended = False
        self._outer: Lease | None = connection.lease
        """Enclosing lease of the same connection, which is restored at the end of this one."""
        self.last_error: BaseException | None = None
        """Last error of the driver or the network that an operation raised."""
        self.lost_write: BaseException | None = None
        """Error of the last statement whose answer was lost and that may have been committed."""
        connection.lease = self

    def end(self) -> None:
        """Invalidate the lease, and remove listeners unless they may belong to an outer lease."""
        self._is_ended = True
        outer = self._outer
        if outer is not None and not outer._is_usable():
            outer = None
        if self._connection.lease is self:
            self._connection.lease = outer
        if outer is None:
            self._connection.remove_callbacks()

    def is_to_be_translated(self, error: BaseException) -> bool:
        """Return True for an error of the driver, False for one of the block's own code."""
        if isinstance(error, DatabaseError):  # it may be an instance of asyncpg's class as well
            return False
        is_of_driver = isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError)
        return is_of_driver or error is self.last_error

    def is_closed(self) -> bool:
        return not self._is_usable() or bool(self._connection.is_closed())

    def cursor(self, query: str, *args: Any, **kwargs: Any) -> Any:
        return _Driver.cursor(self, query, *args, **kwargs)  # so that the cursor uses the lease

    async def prepare(self, query: str, **kwargs: Any) -> Any:
        return await _Driver._prepare(self, query, **kwargs)

    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False, deferrable: bool = False
    ) -> Any:
        options = {"isolation": isolation, "readonly": readonly, "deferrable": deferrable}
        return self._usable().transaction_on(self, options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._usable(), name)

    def __repr__(self) -> str:
        state = "of" if self._is_usable() else "ended, of"
        return f"<Lease {state} {self._connection!r}>"

    @property
    def _protocol(self) -> Any:
        self._usable()
        return _LeasedProtocol(self)

    @property
    def _top_xact(self) -> Any:
        return self._usable()._top_xact

    @_top_xact.setter
    def _top_xact(self, transaction: Any) -> None:
        self._usable()._top_xact = transaction  # type: ignore[misc]  # an attribute of asyncpg

    async def _get_statement(self, query: str, *args: Any, **kwargs: Any) -> Any:
        return await self._operate(
            lambda connection: connection._get_statement(query, *args, **kwargs), None, is_read=True
        )

    def _maybe_gc_stmt(self, statement: Any) -> None:
        # not checked: asyncpg calls it when a prepared statement is garbage-collected
        self._connection._maybe_gc_stmt(statement)

    def _is_usable(self) -> bool:
        return not self._is_ended and (
            self._is_transaction_open is None or self._is_transaction_open()
        )

    def _usable(self) -> Connection:
        if not self._is_usable():
            self._refuse()
        return self._connection

    def _refuse(self) -> Never:
        raise LeaseEnded(
            "the block that this connection belongs to has ended: "
            "use connections, cursors and prepared statements only inside it"
        )

    async def _operate(
        self, start: Callable[[Connection], Awaitable[T]], sql: str | None, *, is_read: bool = False
    ) -> T:
        """Execute an operation on the connection.

        Args:
            start: returns the coroutine of the operation.
            sql: the statement that it executes, None if unknown.
            is_read: True if the operation writes no row, whatever the statement is.

        Raises:
            ConnectionLost: the server had closed the connection before anything was sent.
        """
        connection = self._usable()
        if self._before_operation is not None:
            await self._before_operation(sql)
        is_closed = connection.is_closed()
        if not (is_closed or self._is_repeatable) and connection.is_closed_by_server():
            connection.terminate()
            raise ConnectionLost("the server had closed the connection, nothing was sent")
        in_transaction = not is_closed and connection.is_in_transaction()
        try:
            return await connection.tracked(start(connection))
        except DRIVER_ERRORS as error:
            if is_error_of_caller(error, is_closed=connection.is_closed()):
                raise
            self.last_error = error
            can_write = not is_read and (sql is None or not is_read_statement(sql))
            if in_transaction:  # nothing is committed before COMMIT
                can_write = can_write and sql is not None and controls_transaction(sql)
            if can_write and outcome_is_unknown(error):
                self.lost_write = error
            raise


class _LeasedProtocol:
    """Protocol of asyncpg for the cursors and prepared statements of a lease."""

    __slots__ = ("_lease",)

    def __init__(self, lease: Lease) -> None:
        self._lease = lease

    def __getattr__(self, name: str) -> Any:
        lease = self._lease
        if name not in PROTOCOL_OPERATIONS:
            return getattr(lease._usable()._protocol, name)

        async def operate(*args: Any, **kwargs: Any) -> Any:
            return await lease._operate(
                lambda connection: getattr(connection._protocol, name)(*args, **kwargs),
                getattr(args[0], "query", None),
            )

        return operate


def _delegating_method(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of the lease that checks it and calls a method of the connection.

    For an async method the check is made when the coroutine is awaited, which may be after the end
    of the block.
    """
    sends_statement = name in STATEMENT_METHODS
    is_read = name in READ_METHODS

    async def operate(self: Lease, *args: Any, **kwargs: Any) -> Any:
        sql = None
        if sends_statement:
            sql = args[0] if args else kwargs.get("query", kwargs.get("command"))
        return await self._operate(
            lambda connection: method(connection, *args, **kwargs),
            sql if isinstance(sql, str) else None,
            is_read=is_read,
        )

    def call(self: Lease, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._usable(), name)(*args, **kwargs)

    return functools.wraps(method)(operate if inspect.iscoroutinefunction(method) else call)


for _name, _method in inspect.getmembers(Connection, inspect.isfunction):
    if not _name.startswith("_") and _name not in vars(Lease):
        setattr(Lease, _name, _delegating_method(_name, _method))
