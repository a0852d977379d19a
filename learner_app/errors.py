"""The errors of the package. They state a fact, know no HTTP and carry no secret and no row value.

:mod:`learner_app.database.error_mapping` makes those of the database from the SQLSTATE and the
constraint name; ``docs/errors.md`` has the table.
"""

from collections.abc import Sequence
from typing import ClassVar

from asyncpg import ForeignKeyViolationError, InterfaceError, UniqueViolationError


class LearnerError(Exception):
    """Base class of all errors of this package, with a message of one line."""


class SettingsError(LearnerError):
    """A setting is missing or invalid. The message names it, never its value."""


class DatabaseNotConfigured(SettingsError):
    """No database is named by a setting and none was started by ``learner up``."""


class DatabaseError(LearnerError):
    """The database could not do what it was asked; the driver's error is the ``__cause__``.

    An error about a constraint or a value is also an instance of the asyncpg class of its SQLSTATE:
    ``except asyncpg.UniqueViolationError`` catches :class:`Conflict` and nothing else.
    """

    retry: ClassVar[bool] = False
    """Whether doing the whole unit of work again, as it is, makes sense and doubles nothing."""

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
            message: one line without any value of a row.
            sqlstate: PostgreSQL's five characters, None when no server said anything.
            table: the table that a constraint or a column belongs to.
            constraint: its name in the database.
            fields: the columns it is about.
        """
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate
        self.table = table
        self.constraint = constraint
        self.fields = tuple(fields)


class DatabaseUnavailable(DatabaseError):
    """The server is unreachable, or out of connections, memory or disk. Nothing was done."""

    retry = True


class ConnectionLost(DatabaseUnavailable):
    """The connection broke, and no work of the statement or transaction was committed.

    Raised for statements that only read, for statements that were not sent, and inside a
    transaction before COMMIT. A write whose outcome is not known is :class:`CommitUnknown`.
    """


class PoolExhausted(DatabaseUnavailable):
    """No pooled connection became free within DB_ACQUIRE_TIMEOUT."""


class DatabaseReadOnly(DatabaseUnavailable):
    """A write reached a read-only server, as after a failover. The pool leaves that server."""


class DatabaseRefused(DatabaseError):
    """The server refused the connection or is not trusted. A retry does not help."""


class PoolNotStarted(DatabaseError):
    """A statement without a pool, which would open a connection of its own each time."""


class NotFound(DatabaseError):
    """The row that was asked for by its key does not exist, or is locked and was to be skipped."""


class StaleVersion(DatabaseError):
    """The row was changed since the caller read it. The operation changed nothing."""


class StaleClaim(StaleVersion):
    """The caller's claim on a job has ended: the job was requeued or another worker claimed it."""


class InvalidTransition(DatabaseError):
    """The row's state does not allow that step. Nothing was changed."""


class Conflict(DatabaseError, UniqueViolationError):  # type: ignore[misc]  # sqlstate
    """Another row has the values already (unique or exclusion constraint)."""


class MissingReference(DatabaseError, ForeignKeyViolationError):  # type: ignore[misc]  # sqlstate
    """The row that ``fields`` point to does not exist (foreign key)."""


class StillReferenced(DatabaseError, ForeignKeyViolationError):  # type: ignore[misc]  # sqlstate
    """The row cannot be deleted while rows of ``table`` point to it (foreign key)."""


class InvalidValue(DatabaseError):
    """A value that the column does not take: check, not null, too long, out of range, malformed."""


class SerializationFailure(DatabaseError):
    """Concurrent transactions could not be serialized. This one was rolled back."""

    retry = True


class DeadlockDetected(DatabaseError):
    """Two transactions waited for each other and this one was chosen to give way, all undone."""

    retry = True


class SchemaChanged(DatabaseError):
    """A migration altered the table meanwhile, so that the prepared statement no longer fits."""

    retry = True


class LockTimeout(DatabaseError):
    """A lock was not free: within DB_LOCK_TIMEOUT, or at once where that was asked for."""

    retry = True


class StatementTimeout(DatabaseError):
    """The statement took longer than DB_STATEMENT_TIMEOUT, or was cancelled by an operator."""


class AccessDenied(DatabaseError):
    """The role may not do that, or row security hides or refuses the row."""


class StatementRefused(DatabaseError):
    """The statement itself is wrong: its syntax, a name that does not exist, a wrong type."""


class CommitUnknown(DatabaseError):
    """COMMIT, or a write outside a transaction, was sent and its answer lost: done or not.

    Never repeated automatically, except for a write that is declared idempotent. Such a write
    raises this error when the repeated attempt does not succeed either. ``transaction_id`` is
    None unless the transaction was track_commit, else ask ``DatabaseEngine.was_committed``.
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
            transaction_id: names it for ``was_committed``.
            unconfirmed: it was done on the primary, but its synchronous standby did not confirm.
        """
        super().__init__(message)
        self.transaction_id = transaction_id
        self.unconfirmed = unconfirmed


class TransactionId(str):
    """Names a transaction for :meth:`DatabaseEngine.was_committed`; safe to log and to store."""

    __slots__ = ()


class TransactionError(DatabaseError):
    """A transaction was used in a way that cannot work."""


class TransactionRolledBack(TransactionError):
    """COMMIT was answered with ROLLBACK: an error inside the block had been caught."""


class TransactionAborted(TransactionError):
    """An earlier statement of the transaction failed: nothing more can be done in it."""


class TransactionFinished(TransactionError):
    """A task outlived the transaction block that it was started in."""


class LeaseEnded(DatabaseError, InterfaceError):
    """A connection, cursor or prepared statement was used after the block that it belongs to.

    Nothing was sent, since another caller may use the connection. Also raised for a statement that
    was still running at the end of the block and was cancelled.
    """


class TransactionBusy(TransactionError):
    """Another task kept the transaction's connection for longer than DB_COMMAND_TIMEOUT."""


class TransactionRequired(TransactionError):
    """The operation makes sense inside a transaction only."""


class ScopeError(TransactionError):
    """A scope was nested in the scope of another tenant, or cannot apply to a leased connection."""


class SessionStateRefused(TransactionError):
    """Through PgBouncer a SET, LISTEN or session lock would leak to other clients."""


class SchemaError(LearnerError):
    """A table declaration cannot be turned into the wanted schema."""


class ResetRefused(LearnerError):
    """The database has objects that ``learner reset`` does not know. Nothing was deleted."""


class MigrationError(LearnerError):
    """A migration could not be applied; the database is as it was before it."""


class MigrationsPending(MigrationError):
    """The database lacks migrations that an operation needs. Nothing was done."""


class RolesError(LearnerError):
    """The owner and the application role cannot be set up as requested."""


class BackupError(LearnerError):
    """A backup or restore was refused or failed.

    An incomplete backup file is never left.
    """


class ServerError(LearnerError):
    """The embedded PostgreSQL could not be prepared, started or stopped."""


class StaffError(LearnerError):
    """A staff account cannot be made or changed as asked."""
