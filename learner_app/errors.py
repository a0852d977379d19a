"""Errors of the package, without secrets, row values and HTTP status codes.

:mod:`learner_app.database.error_mapping` creates those of the database by SQLSTATE and constraint.
``docs/errors.md`` lists them, with the advice whether to retry.
"""

from collections.abc import Sequence
from typing import ClassVar

from asyncpg import ForeignKeyViolationError, InterfaceError, UniqueViolationError

__all__ = [
    "AccessDenied",
    "BackupError",
    "CommitUnknown",
    "Conflict",
    "ConnectionLost",
    "DatabaseError",
    "DatabaseNotConfigured",
    "DatabaseReadOnly",
    "DatabaseRefused",
    "DatabaseUnavailable",
    "DeadlockDetected",
    "InvalidTransition",
    "InvalidValue",
    "LearnerError",
    "LeaseEnded",
    "LockTimeout",
    "MigrationError",
    "MigrationsPending",
    "MissingReference",
    "NotFound",
    "PoolExhausted",
    "PoolNotStarted",
    "ResetRefused",
    "RolesError",
    "SchemaChanged",
    "SchemaError",
    "ScopeError",
    "SerializationFailure",
    "ServerError",
    "SessionStateRefused",
    "SettingsError",
    "StaffError",
    "StaleClaim",
    "StaleVersion",
    "StatementRefused",
    "StatementTimeout",
    "StillReferenced",
    "TransactionAborted",
    "TransactionBusy",
    "TransactionError",
    "TransactionFinished",
    "TransactionId",
    "TransactionRequired",
    "TransactionRolledBack",
]


class LearnerError(Exception):
    """Base class of all errors of this package, whose messages are one line."""


class SettingsError(LearnerError):
    """A setting is missing or invalid.

    The message contains the name of the setting, never its value.
    """


class DatabaseNotConfigured(SettingsError):
    """No setting names a database, and no ``learner up`` is running."""


class DatabaseError(LearnerError):
    """Failure of a database operation, with asyncpg's error as ``__cause__``.

    An error about a constraint or a value is also an instance of asyncpg's class for its SQLSTATE:
    ``except asyncpg.UniqueViolationError`` catches :class:`Conflict` and nothing else.
    """

    retry: ClassVar[bool] = False
    """True if repeating the whole unit of work may succeed and cannot do it twice."""

    def __init__(
        self,
        message: str,
        *,
        sqlstate: str | None = None,
        table: str | None = None,
        constraint: str | None = None,
        fields: Sequence[str] = (),
    ) -> None:
        """
        Args:
            message: one line without row values.
            sqlstate: PostgreSQL's error code, or None if the error is not the server's.
            table: the table of the constraint or column.
            constraint: the name of the violated constraint.
            fields: the columns of the constraint, or the column that the server names.
        """
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate
        self.table = table
        self.constraint = constraint
        self.fields = tuple(fields)


class DatabaseUnavailable(DatabaseError):
    """The server is unreachable, or out of connections, memory or disk.

    Nothing was committed, so the unit of work can be retried.
    """

    retry = True


class ConnectionLost(DatabaseUnavailable):
    """The connection was lost, and nothing of the statement or transaction was committed.

    Raised for statements that only read, for statements that were not executed, and inside a
    transaction before COMMIT. A write with an unknown outcome raises :class:`CommitUnknown`.
    """


class PoolExhausted(DatabaseUnavailable):
    """All connections of the pool were in use for DB_ACQUIRE_TIMEOUT.

    A retry may succeed. If it happens often, shorten the checkouts or raise DB_POOL_MAX.
    """


class DatabaseReadOnly(DatabaseUnavailable):
    """A write reached a read-only server, as after a failover.

    The pool leaves that server, so the unit of work can be retried.
    """


class DatabaseRefused(DatabaseError):
    """The server refused the connection or is not trusted, so a retry does not help."""


class PoolNotStarted(DatabaseError):
    """A statement was sent before the pool was started or after it was closed.

    Without a pool each statement would open a connection.
    """


class NotFound(DatabaseError):
    """No row has the given key, or it is locked and the caller skips locked rows."""


class StaleVersion(DatabaseError):
    """The row was changed after the caller had read it, and the operation changed nothing.

    Read the row again before a retry.
    """


class StaleClaim(StaleVersion):
    """The job was requeued or claimed by another worker after the caller had claimed it."""


class InvalidTransition(DatabaseError):
    """The row's state does not allow the operation, which changed nothing."""


class Conflict(DatabaseError, UniqueViolationError):  # type: ignore[misc]  # sqlstate
    """Another row has the same or conflicting values (unique or exclusion constraint).

    A retry with the same values fails again.
    """


class MissingReference(DatabaseError, ForeignKeyViolationError):  # type: ignore[misc]  # sqlstate
    """The row that ``fields`` reference does not exist (foreign key)."""


class StillReferenced(DatabaseError, ForeignKeyViolationError):  # type: ignore[misc]  # sqlstate
    """The row cannot be deleted while rows of ``table`` reference it (foreign key)."""


class InvalidValue(DatabaseError):
    """A value is null, too long, out of range, malformed, or violates a check constraint."""


class SerializationFailure(DatabaseError):
    """The transaction was rolled back because of a concurrent one.

    Retry the whole transaction, as ``DB.run_transaction`` does.
    """

    retry = True


class DeadlockDetected(DatabaseError):
    """Transactions waited for each other, and the server rolled this one back.

    Retry the whole transaction, as ``DB.run_transaction`` does.
    """

    retry = True


class SchemaChanged(DatabaseError):
    """A migration changed the table after the statement had been prepared.

    A retry prepares the statement again.
    """

    retry = True


class LockTimeout(DatabaseError):
    """A lock was not available within DB_LOCK_TIMEOUT, or immediately with NOWAIT.

    Nothing was committed, and a retry succeeds when the other transaction has ended.
    """

    retry = True


class StatementTimeout(DatabaseError):
    """The statement exceeded DB_STATEMENT_TIMEOUT or DB_COMMAND_TIMEOUT, or was cancelled.

    A retry would probably take as long, so it is not advised.
    """


class AccessDenied(DatabaseError):
    """The role lacks the privilege, or a policy of row-level security rejects the row."""


class StatementRefused(DatabaseError):
    """The statement is invalid: syntax, a name that does not exist, a wrong type."""


class CommitUnknown(DatabaseError):
    """The answer to COMMIT, or to a write outside a transaction, was lost: done or not.

    Not retried automatically, except for a write that is declared idempotent, which raises this
    error if the retry fails as well. With ``track_commit`` the transaction has an id, and
    ``DatabaseEngine.was_committed`` looks up what happened.
    """

    def __init__(
        self,
        message: str,
        transaction_id: "TransactionId | None" = None,
        *,
        unconfirmed: bool = False,
    ) -> None:
        """
        Args:
            message: what happened.
            transaction_id: for ``was_committed``, or None without ``track_commit``.
            unconfirmed: committed on the primary, but not confirmed by its synchronous standby.
        """
        super().__init__(message)
        self.transaction_id = transaction_id
        self.unconfirmed = unconfirmed


class TransactionId(str):
    """Identifier of a transaction for ``DatabaseEngine.was_committed``, safe to log and store."""

    __slots__ = ()


class TransactionError(DatabaseError):
    """A transaction was used incorrectly, which is an error in the calling code."""


class TransactionRolledBack(TransactionError):
    """The server answered COMMIT with ROLLBACK, as an error in the block had been caught."""


class TransactionAborted(TransactionError):
    """An earlier statement of the transaction failed, so it accepts no further statements."""


class TransactionFinished(TransactionError):
    """A task used the transaction block that it was started in after the end of the block."""


class LeaseEnded(DatabaseError, InterfaceError):
    """A connection, cursor or prepared statement was used after the end of its block.

    Nothing was sent, since another caller may use the connection. Also raised by a statement that
    was still running at the end of the block and was cancelled.
    """


class TransactionBusy(TransactionError):
    """Another task used the transaction's connection for longer than DB_COMMAND_TIMEOUT."""


class TransactionRequired(TransactionError):
    """The operation requires a transaction."""


class ScopeError(TransactionError):
    """A scope was nested in the scope of another tenant, or cannot apply to a leased connection."""


class SessionStateRefused(TransactionError):
    """SET, LISTEN or a session lock would affect other clients of PgBouncer."""


class SchemaError(LearnerError):
    """A table declaration cannot be converted to SQL."""


class ResetRefused(LearnerError):
    """The database has objects that ``learner reset`` does not know, so nothing was deleted."""


class MigrationError(LearnerError):
    """A migration failed, and the message states whether anything of it remains applied."""


class MigrationsPending(LearnerError):
    """The database lacks migrations that the operation requires, which changed nothing."""


class RolesError(LearnerError):
    """The owner role and the application role cannot be created as requested."""


class BackupError(LearnerError):
    """A backup or restore was refused or failed, and no incomplete backup file is left."""


class ServerError(LearnerError):
    """The embedded PostgreSQL could not be prepared, started or stopped."""


class StaffError(LearnerError):
    """A staff account cannot be created or changed as requested."""
