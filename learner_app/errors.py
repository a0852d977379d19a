"""The errors of the package. They state a fact, know no HTTP and carry no secret."""


class LearnerError(Exception):
    """Everything this package raises on purpose; the text fits on one line of a log."""


class SettingsError(LearnerError):
    """A setting is missing or wrong; the message names it, never its value."""


class DatabaseNotConfigured(SettingsError):
    """No database is named by a setting and none was started by ``learner up``."""


class DatabaseUnavailable(LearnerError):
    """The server could not be reached or ended the connection; worth retrying."""


class DatabaseRefused(LearnerError):
    """The server is there and says no, or is not trusted; trying again does not help."""


class PoolExhausted(DatabaseUnavailable):
    """No pooled connection became free within the acquire timeout; worth retrying."""


class TransactionRolledBack(LearnerError):
    """COMMIT was answered with ROLLBACK: an error inside the block had been caught."""


class SchemaError(LearnerError):
    """A table declaration cannot be turned into the wanted schema."""


class ResetRefused(LearnerError):
    """The database holds what ``learner reset`` does not know; nothing was deleted."""


class MigrationError(LearnerError):
    """A migration could not be applied; the database is as it was before it."""


class ServerError(LearnerError):
    """The embedded PostgreSQL could not be prepared, started or stopped."""


class StaffError(LearnerError):
    """A staff account cannot be made or changed as asked."""
