"""Errors of the package, without secrets, row values and HTTP status codes.

:mod:`learner_app.database.error_mapping` creates those of the database, by SQLSTATE and constraint.
``docs/errors.md`` lists them and states which ones can be retried.
"""

from collections.abc import Sequence
from typing import ClassVar

from asyncpg import ForeignKeyViolationError, InterfaceError, UniqueViolationError

__all__ = [
    "AccessDenied",
    "AddressUnavailable",
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
    "EmbeddedServerError",
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
    """Base class of all errors of this package, with a message of one line."""


class SettingsError(LearnerError):
    """A setting is missing or invalid.

    The message contains the name of the setting, never its value.
    """


class DatabaseNotConfigured(SettingsError):
    """No setting names a database, and no ``learner up`` is running."""


class DatabaseError(LearnerError):
    """Failure of a database operation, whose ``__cause__`` is asyncpg's error if there is one.

    An error about a constraint or a value is also an instance of asyncpg's class for its SQLSTATE:
    ``except asyncpg.UniqueViolationError`` catches :class:`Conflict` and nothing else.
    """

    retry: ClassVar[bool] = False
    """True if a retry of the whole unit of work may succeed and cannot apply it twice."""

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
            sqlstate: PostgreSQL's error code, None if the server did not send the error.
            table: table of the constraint or column.
            constraint: name of the violated constraint.
            fields: columns of the constraint, or the column that the server names.
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

    Raised for a statement that only reads or was not executed, and inside a transaction before
    COMMIT. If the outcome of a write is unknown, :class:`CommitUnknown` is raised instead.
    """


class PoolExhausted(DatabaseUnavailable):
    """All connections of the pool were in use for DB_ACQUIRE_TIMEOUT.

    A retry may succeed. If the error is frequent, shorten the checkouts or increase DB_POOL_MAX.
    """


class DatabaseReadOnly(DatabaseUnavailable):
    """A write reached a read-only server, or no host has the requested attributes.

    That happens after a failover. The pool closes its connections to that server and connects
    again, so the unit of work can be retried.
    """


class DatabaseRefused(DatabaseError):
    """The server refused the connection, or its certificate is not trusted.

    A retry does not help: user, password, database or TLS have to be corrected.
    """


class PoolNotStarted(DatabaseError):
    """A statement was sent without an open pool, or in another event loop than the pool's.

    Such a statement is refused, since each one would open a connection of its own.
    """


class NotFound(DatabaseError):
    """No row has the given key, or the row is locked and the caller skips locked rows."""


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
    """The answer to COMMIT, or to a write outside a transaction, was lost.

    The write may be committed or not. It is not retried automatically, unless it is declared
    idempotent; then this error means that the retry failed as well. For a transaction with
    ``track_commit``, ``DatabaseEngine.was_committed`` returns the outcome.
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
            message: one line without row values.
            transaction_id: argument for ``was_committed``, None without ``track_commit``.
            unconfirmed: True if the write is committed on the primary, but its synchronous standby
                did not confirm it.
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
    """The transaction was rolled back instead of committed, as its block had caught an error."""


class TransactionAborted(TransactionError):
    """An earlier statement of the transaction failed, so it accepts no further statements."""


class TransactionFinished(TransactionError):
    """A task that was started in a transaction block used the transaction after its end."""


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
    """A scope was nested in the scope of another tenant, or entered after leasing a connection."""


class SessionStateRefused(TransactionError):
    """A statement such as SET or LISTEN would leave session state that PgBouncer shares."""


class SchemaError(LearnerError):
    """A table declaration cannot be converted to SQL."""


class ResetRefused(LearnerError):
    """The database contains objects that ``learner reset`` does not know.

    Nothing was deleted.
    """


class MigrationError(LearnerError):
    """A migration failed, and the message states whether anything of it remains applied."""


class MigrationsPending(LearnerError):
    """The database lacks migrations that the operation requires.

    The operation changed nothing.
    """


class RolesError(LearnerError):
    """The owner role or the application role cannot be created or changed as requested."""


class BackupError(LearnerError):
    """A backup or restore was refused or failed.

    No incomplete backup file is left.
    """


class EmbeddedServerError(LearnerError):
    """The embedded PostgreSQL could not be prepared, started or stopped."""


class AddressUnavailable(LearnerError):
    """The web server cannot listen on the address."""


class StaffError(LearnerError):
    """A staff account cannot be created or changed as requested."""
