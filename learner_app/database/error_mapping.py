"""Mapping of asyncpg's errors to those of the package, by SQLSTATE, class and constraint.

The text of a server's message is not used: its language varies, and it may quote row values.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import asyncpg

from learner_app.database.driver_classes import copy_attributes, with_driver_class
from learner_app.database.dsn import DatabaseUrl
from learner_app.errors import (
    AccessDenied,
    Conflict,
    ConnectionLost,
    DatabaseError,
    DatabaseNotConfigured,
    DatabaseReadOnly,
    DatabaseRefused,
    DatabaseUnavailable,
    DeadlockDetected,
    InvalidValue,
    LearnerError,
    LockTimeout,
    MissingReference,
    SchemaChanged,
    SerializationFailure,
    StatementRefused,
    StatementTimeout,
    StillReferenced,
    TransactionAborted,
    TransactionRequired,
)
from learner_app.schema.constraints import constraint_columns

DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    asyncio.TimeoutError,
)
"""Base classes of what asyncpg raises for a statement; any of them may mean a lost connection."""

DELETES_ROWS = re.compile(
    r"\s*(DELETE\b|WITH\b(?!.*\bINSERT\s+INTO\b).*\bDELETE\s+FROM\b)", re.IGNORECASE | re.DOTALL
)
"""Statements whose violation of a foreign key (23503) means that a deleted row is referenced."""


class ErrorRule(NamedTuple):
    """Error class and message of an SQLSTATE."""

    error: type[DatabaseError]
    message: str
    with_fields: str = ""
    """Message for known columns, whose names replace ``{fields}``."""

    def describe(self, fields: Sequence[str]) -> str:
        """Return the message, with the names of the columns if they are known."""
        if self.with_fields and fields:
            return self.with_fields.format(fields=_enumerate(fields))
        return self.message


SQLSTATE_ERRORS = {
    "23505": ErrorRule(
        Conflict, "another row has the same values", "another row has the same {fields}"
    ),
    "23P01": ErrorRule(
        Conflict,
        "conflicts with another row",
        "conflicts with another row in {fields}",
    ),
    "23503": ErrorRule(
        MissingReference,
        "the referenced row does not exist",
        "the row referenced by {fields} does not exist",
    ),
    "23001": ErrorRule(StillReferenced, "rows of this table still reference the row"),
    "23502": ErrorRule(InvalidValue, "value must not be null", "{fields} must not be null"),
    "23514": ErrorRule(InvalidValue, "value not allowed", "value not allowed for {fields}"),
    "22001": ErrorRule(InvalidValue, "value too long for the column"),
    "22003": ErrorRule(InvalidValue, "number out of range for the column"),
    "22021": ErrorRule(InvalidValue, "text contains a NUL character or is not valid UTF-8"),
    "22P05": ErrorRule(InvalidValue, "text contains a character that cannot be stored"),
    "40001": ErrorRule(SerializationFailure, "concurrent transactions could not be serialized"),
    "40P01": ErrorRule(DeadlockDetected, "deadlock with another transaction"),
    "55P03": ErrorRule(LockTimeout, "the lock was not available in time"),
    "57014": ErrorRule(StatementTimeout, "the statement was cancelled or exceeded its timeout"),
    "25006": ErrorRule(DatabaseReadOnly, "the server or the transaction is read-only"),
    "25P02": ErrorRule(TransactionAborted, "an earlier statement of the transaction failed"),
    "25P03": ErrorRule(ConnectionLost, "idle-in-transaction timeout"),
    "25P04": ErrorRule(ConnectionLost, "transaction timeout"),
    "57P01": ErrorRule(ConnectionLost, "the server ended the session"),
    "57P02": ErrorRule(ConnectionLost, "the server crashed"),
    "57P03": ErrorRule(DatabaseUnavailable, "the server is starting or stopping"),
    "57P05": ErrorRule(ConnectionLost, "idle session timeout"),
    "42501": ErrorRule(AccessDenied, "permission denied"),
    "28P01": ErrorRule(DatabaseRefused, "password authentication failed"),
    "28000": ErrorRule(DatabaseRefused, "the server rejected the user"),
    "3D000": ErrorRule(DatabaseRefused, "the database does not exist"),
    "08P01": ErrorRule(ConnectionLost, "the connection was lost"),
    "08": ErrorRule(ConnectionLost, "the connection was lost"),
    "25P01": ErrorRule(TransactionRequired, "the statement requires a transaction"),
    "0A": ErrorRule(StatementRefused, "the server does not support the statement"),
    "22": ErrorRule(InvalidValue, "value malformed or out of range"),
    "23": ErrorRule(InvalidValue, "the row violates a constraint"),
    "25": ErrorRule(StatementRefused, "the state of the transaction does not allow the statement"),
    "42704": ErrorRule(StatementRefused, "the statement names an object that does not exist"),
    "22023": ErrorRule(InvalidValue, "value not allowed for an argument or a setting"),
    "42": ErrorRule(StatementRefused, "the statement is invalid"),
    "53": ErrorRule(DatabaseUnavailable, "the server is out of connections, memory or disk"),
}
"""Rules by SQLSTATE, or by its class (the first two characters) for all others of that class."""

DEFAULT = ErrorRule(DatabaseError, "the server could not execute the statement")
LOST = ErrorRule(ConnectionLost, "the connection was lost")
REJECTED_BY_DRIVER = ErrorRule(StatementRefused, "the driver rejected the statement")
NO_ANSWER = ErrorRule(StatementTimeout, "no answer within DB_COMMAND_TIMEOUT")
NO_ANSWER_FOR_CALLER = ErrorRule(StatementTimeout, "no answer within the caller's own time limit")

VALUES_IN_MESSAGE = ("22", "42601", "42704", "P0")
"""Prefixes of SQLSTATEs whose messages may quote values: malformed data, RAISE, syntax errors."""


def translate(
    error: BaseException,
    statement: str = "",
    *,
    lost: bool = False,
    is_limit_of_caller: bool = False,
) -> DatabaseError:
    """Return the error of the package for an error of asyncpg or the network.

    The caller raises it ``from`` the original. Row values are removed from the original, since
    tracebacks show causes as well. An error about a constraint or a value is also an instance of
    asyncpg's class.

    Args:
        error: error that asyncpg or the event loop raised.
        statement: the SQL that was sent. It distinguishes a rejected DELETE from a missing
            reference, which both have the SQLSTATE 23503.
        lost: True if the connection is closed, which the error itself may not show.
        is_limit_of_caller: True if a TimeoutError is due to a time limit that the caller passed.
    """
    _remove_values(error)
    if isinstance(error, asyncpg.InvalidCachedStatementError | asyncpg.OutdatedSchemaCacheError):
        return SchemaChanged("a table or type was altered since the statement was prepared")
    if _is_about_an_argument(error):
        kind = with_driver_class(InvalidValue, type(error))
        return kind("an argument does not fit its column or has a wrong type")
    server: Any = error
    if isinstance(error, asyncpg.ConnectionDoesNotExistError):
        server = error.__cause__
    if isinstance(server, asyncpg.PostgresError):
        return _from_server(server, statement)
    rule = LOST
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        rule = NO_ANSWER_FOR_CALLER if is_limit_of_caller else NO_ANSWER
    if isinstance(error, asyncpg.InterfaceError) and not lost:
        rule = REJECTED_BY_DRIVER
    return rule.error(f"{rule.message} ({type(error).__name__})")


def _from_server(error: Any, statement: str) -> DatabaseError:
    sqlstate = error.sqlstate or ""
    rule = SQLSTATE_ERRORS.get(sqlstate) or SQLSTATE_ERRORS.get(sqlstate[:2]) or DEFAULT
    table, constraint = error.table_name, error.constraint_name
    fields = constraint_columns(table or "", constraint or "")
    if error.column_name:
        fields = (error.column_name,)
    if sqlstate == "23503" and DELETES_ROWS.match(statement):
        rule = SQLSTATE_ERRORS["23001"]
    prefix = f"{table}: " if table else ""
    constraint_name = f"{constraint}, " if constraint else ""
    is_about_values = sqlstate.startswith(("22", "23"))
    kind = with_driver_class(rule.error, type(error)) if is_about_values else rule.error
    failure = kind(
        f"{prefix}{rule.describe(fields)} ({constraint_name}{sqlstate} {type(error).__name__})",
        sqlstate=sqlstate,
        table=table,
        constraint=constraint,
        fields=fields,
    )
    if is_about_values:
        copy_attributes(failure, error)
    return failure


def _enumerate(fields: Sequence[str]) -> str:
    """Join names as ``a``, ``a and b`` or ``a, b and c``."""
    *others, last = fields
    return f"{', '.join(others)} and {last}" if others else last


def _is_about_an_argument(error: Any) -> TypeGuard[Exception]:
    """Return True if the driver could not encode an argument, so that nothing was sent."""
    # asyncpg also raises DataError for errors of the server, but those have a severity
    if isinstance(error, asyncpg.DataError):
        return error.severity is None
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)


def _remove_values(error: BaseException | None) -> None:
    """Remove everything that may quote a row value from asyncpg's error and its causes."""
    if isinstance(error, asyncpg.PostgresError):
        error.__dict__.update(detail=None, context=None, internal_query=None)
        is_raised = getattr(error, "server_source_function", "") == "exec_stmt_raise"
        if is_raised or (error.sqlstate or "").startswith(VALUES_IN_MESSAGE):
            withheld = "message withheld, it may quote a value"
            error.args = (withheld,)
            error.__dict__.update(message=withheld, hint=None)
        _remove_values(error.__cause__)
    elif isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
        error.args = ("invalid input for a query argument, value withheld",)
        error.__cause__ = None
        error.__suppress_context__ = True


def is_error_of_caller(error: BaseException, *, is_closed: bool) -> bool:
    """Return True for an OSError of the caller's code, such as that of a COPY's source file.

    An OSError of the network closes the connection. A timeout may be either and counts as the
    network's.

    Args:
        error: error that was raised during an operation.
        is_closed: True if the connection is closed now.
    """
    return isinstance(error, OSError) and not isinstance(error, TimeoutError) and not is_closed


def outcome_is_unknown(error: BaseException) -> bool:
    """Return True if the server may have executed the statement although its answer is missing."""
    if not was_sent(error):
        return False
    if isinstance(error, asyncpg.ConnectionDoesNotExistError):
        return True
    if isinstance(error, asyncpg.PostgresError):
        severity = getattr(error, "severity_en", None)
        return severity in ("FATAL", "PANIC") or (error.sqlstate or "").startswith(("08", "57P"))
    return isinstance(error, OSError | asyncio.TimeoutError | asyncpg.InternalClientError)


def was_sent(error: BaseException) -> bool:
    """Return True unless the error was raised before anything was sent."""
    if isinstance(error, asyncpg.InternalClientError):
        # asyncpg had read FATAL before it could send. Only the text shows that, which cannot change
        # unnoticed, as the version of asyncpg is pinned.
        return "cannot switch to state" not in str(error)
    return not isinstance(error, asyncpg.InterfaceError)


CONNECT_ERRORS = (
    OSError,
    UnicodeError,  # an invalid host name
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""Errors of ``asyncpg.connect``; those of timeouts, name resolution and TLS are OSErrors."""

ADVICE = {
    "28P01": "password authentication failed: check user and password",
    "28000": "the server rejected the user: check the user, TLS and the server's pg_hba.conf",
    "3D000": "the database does not exist: create it, or check its name",
    "42501": "the user may not connect to this database: GRANT CONNECT",
    "42704": "the server does not know {settings}: remove it from the URL",
    "22023": "the server rejects the value of a setting: check those of the URL and DB_*_TIMEOUT",
    "08P01": "protocol error: check that this is a PostgreSQL server, and user and password",
}
"""Messages for refused connections by SQLSTATE, with what to do, as a retry does not help."""


def translate_connect_error(error: BaseException, target: DatabaseUrl) -> LearnerError:
    """Return the error of the package for a failed attempt to connect, with a one-line message.

    It is :class:`DatabaseUnavailable` if a retry may succeed, else :class:`DatabaseRefused` or
    :class:`DatabaseNotConfigured`.
    """
    if target.is_development and isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return DatabaseNotConfigured(
            "the database of `learner up` is not running: start it again, or set DATABASE_URL"
        )
    sqlstate = getattr(error, "sqlstate", None)
    if sqlstate in ADVICE:
        advice = ADVICE[sqlstate].format(settings=_settings_in(error, target))
        return DatabaseRefused(f"{target}: {advice} ({sqlstate})", sqlstate=sqlstate)
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return DatabaseReadOnly(
            f"{target}: no host is {target.session_attributes} (target_session_attrs)"
        )
    # the directory exists without a socket: the server is stopped or just starting
    is_stopped = isinstance(error, FileNotFoundError) and Path(target.hosts[0]).is_dir()
    permanent = None if is_stopped else _describe_permanent_error(error)
    if permanent:
        return DatabaseRefused(f"{target}: {permanent}")
    return DatabaseUnavailable(
        f"{target}: {_describe_connect_error(error, sqlstate)}", sqlstate=sqlstate
    )


def _settings_in(error: BaseException, target: DatabaseUrl) -> str:
    """Return the names of the URL's session settings that occur in the server's message."""
    names = [name for name in target.server_settings if name in str(error)]
    return ", ".join(names) or "a setting of the URL"


def _describe_permanent_error(error: BaseException) -> str | None:
    """Return the message for an error that a retry cannot repair, None for any other."""
    if isinstance(error, UnicodeError):
        return "the host name is not valid: correct it"
    if isinstance(error, asyncpg.ClientConfigurationError):
        return f"the driver rejects the settings ({type(error).__name__})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not trusted ({error.verify_message}): "
            "set DB_SSL_ROOT_CERT to the certificate of its authority"
        )
    if isinstance(error, ConnectionError) and "SSL upgrade" in str(error):  # text of asyncpg
        return (
            "the server does not support TLS: enable it there, or use sslmode=disable outside "
            "production"
        )
    if isinstance(error, ssl.SSLError | PermissionError | FileNotFoundError):
        return f"{_describe_connect_error(error)}: check host and TLS settings"
    return None


def _describe_connect_error(error: BaseException, sqlstate: str | None = None) -> str:
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "no answer within the connect timeout"
    if isinstance(error, socket.gaierror):
        return "unknown host name"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: is PostgreSQL running there?"
    if isinstance(error, FileNotFoundError):
        return "the directory contains no unix socket of PostgreSQL: is it running?"
    return f"cannot connect ({sqlstate or type(error).__name__})"
