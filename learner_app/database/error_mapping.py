"""From the driver's errors to ours, decided by SQLSTATE, class and constraint, never by text."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
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
from learner_app.schema.constraints import constraint_fields

DRIVER_ERRORS = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    asyncio.TimeoutError,
)
"""What a statement can raise; the loss of a connection has several of these faces."""


DELETES_ROWS = re.compile(
    r"\s*(DELETE\b|WITH\b(?!.*\bINSERT\s+INTO\b).*\bDELETE\s+FROM\b)", re.IGNORECASE | re.DOTALL
)
"""Statement whose violated foreign key is one of rows that refer to the deleted row."""


class ErrorRule(NamedTuple):
    """The error that an SQLSTATE stands for, and what it says."""

    error: type[DatabaseError]
    says: str


SQLSTATE_ERRORS = {
    "23505": ErrorRule(Conflict, "another row has the same {fields}"),
    "23P01": ErrorRule(Conflict, "another row excludes this {fields}"),
    "23503": ErrorRule(MissingReference, "the row that {fields} points to does not exist"),
    "23001": ErrorRule(StillReferenced, "other rows still point to the row"),
    "23502": ErrorRule(InvalidValue, "{fields} must have a value"),
    "23514": ErrorRule(InvalidValue, "{fields} has a value that is not allowed"),
    "22001": ErrorRule(InvalidValue, "a text is longer than its column takes"),
    "22003": ErrorRule(InvalidValue, "a number is out of the range of its column"),
    "22021": ErrorRule(InvalidValue, "a text holds a NUL or is not valid UTF-8"),
    "22P05": ErrorRule(InvalidValue, "a text holds a character that cannot be stored"),
    "40001": ErrorRule(SerializationFailure, "concurrent transactions could not be ordered"),
    "40P01": ErrorRule(DeadlockDetected, "a deadlock with another transaction"),
    "55P03": ErrorRule(LockTimeout, "a lock was not free in time"),
    "57014": ErrorRule(StatementTimeout, "the statement was cancelled or took too long"),
    "25006": ErrorRule(DatabaseReadOnly, "the server or the transaction is read only"),
    "25P02": ErrorRule(TransactionAborted, "an earlier statement of the transaction failed"),
    "25P03": ErrorRule(ConnectionLost, "the transaction stood idle for too long"),
    "25P04": ErrorRule(ConnectionLost, "the transaction took too long"),
    "57P01": ErrorRule(ConnectionLost, "the server ended the connection"),
    "57P02": ErrorRule(ConnectionLost, "the server crashed"),
    "57P03": ErrorRule(DatabaseUnavailable, "the server is starting or stopping"),
    "57P05": ErrorRule(ConnectionLost, "the session stood idle for too long"),
    "42501": ErrorRule(AccessDenied, "the role may not do that"),
    "28P01": ErrorRule(DatabaseRefused, "the server refused the password"),
    "28000": ErrorRule(DatabaseRefused, "the server refused the user"),
    "3D000": ErrorRule(DatabaseRefused, "there is no such database"),
    "08P01": ErrorRule(ConnectionLost, "the connection broke"),
    "08": ErrorRule(ConnectionLost, "the connection broke"),
    "25P01": ErrorRule(TransactionRequired, "the statement needs a transaction"),
    "0A": ErrorRule(StatementRefused, "the server does not support that"),
    "22": ErrorRule(InvalidValue, "a value is malformed or out of range"),
    "23": ErrorRule(InvalidValue, "a constraint refuses the row"),
    "25": ErrorRule(StatementRefused, "the statement does not fit the transaction's state"),
    "42704": ErrorRule(StatementRefused, "something that the statement names does not exist"),
    "22023": ErrorRule(InvalidValue, "an argument or a setting has a value that is not allowed"),
    "42": ErrorRule(StatementRefused, "the statement is wrong"),
    "53": ErrorRule(DatabaseUnavailable, "the server has no room: connections, memory or disk"),
}
"""By SQLSTATE, else by its first two characters."""

DEFAULT_RULE = ErrorRule(DatabaseError, "the server could not do it")
LOST = ErrorRule(ConnectionLost, "the connection broke")
REJECTED_BY_DRIVER = ErrorRule(StatementRefused, "the driver refused the statement")
NO_ANSWER = ErrorRule(StatementTimeout, "no answer within DB_COMMAND_TIMEOUT")

VALUES_IN_MESSAGE = ("22", "42601", "42704", "P0")
"""Whose messages quote values: malformed data, what a function raises, parts of the statement."""


def translate(error: BaseException, statement: str = "", *, lost: bool = False) -> DatabaseError:
    """The error of the package for one of the driver's; raise it ``from`` that.

    Row values are taken out of the driver's error, since tracebacks show causes as well. An error
    about a constraint or a value is also an instance of the driver's class.

    Args:
        error: what asyncpg or the event loop raised.
        statement: the SQL that was sent, to tell a refused DELETE from a missing reference.
        lost: whether the connection is closed now, for errors that do not say it themselves.
    """
    _forget_values(error)
    if isinstance(error, asyncpg.InvalidCachedStatementError | asyncpg.OutdatedSchemaCacheError):
        return SchemaChanged("a table or type was altered since the statement was prepared")
    if _is_about_an_argument(error):
        kind = with_driver_class(InvalidValue, type(error))
        return kind("an argument does not fit its column or is of a wrong type")
    server: Any = error
    if isinstance(error, asyncpg.ConnectionDoesNotExistError):
        server = error.__cause__
    if isinstance(server, asyncpg.PostgresError):
        return _from_server(server, statement)
    meaning = NO_ANSWER if isinstance(error, TimeoutError | asyncio.TimeoutError) else LOST
    if isinstance(error, asyncpg.InterfaceError) and not lost:
        meaning = REJECTED_BY_DRIVER
    return meaning.error(f"{meaning.says} ({type(error).__name__})")


def _from_server(error: Any, statement: str) -> DatabaseError:
    sqlstate = error.sqlstate or ""
    meaning = SQLSTATE_ERRORS.get(sqlstate) or SQLSTATE_ERRORS.get(sqlstate[:2]) or DEFAULT_RULE
    table, constraint = error.table_name, error.constraint_name
    fields = constraint_fields(table or "", constraint or "")
    if error.column_name:
        fields = (error.column_name,)
    if sqlstate == "23503" and DELETES_ROWS.match(statement):
        meaning = SQLSTATE_ERRORS["23001"]
    says = meaning.says.format(fields=", ".join(fields) or "value")
    place = f"{table}: " if table else ""
    rule = f"{constraint}, " if constraint else ""
    is_about_values = sqlstate.startswith(("22", "23"))
    kind = with_driver_class(meaning.error, type(error)) if is_about_values else meaning.error
    failure = kind(
        f"{place}{says} ({rule}{sqlstate} {type(error).__name__})",
        sqlstate=sqlstate,
        table=table,
        constraint=constraint,
        fields=fields,
    )
    if is_about_values:
        copy_attributes(failure, error)
    return failure


def _is_about_an_argument(error: Any) -> TypeGuard[Exception]:
    """Return whether the driver could not encode an argument, so that nothing was sent."""
    if isinstance(error, asyncpg.DataError):  # asyncpg raises the server's class, without severity
        return error.severity is None
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)


def _forget_values(error: BaseException | None) -> None:
    if isinstance(error, asyncpg.PostgresError):
        error.__dict__.update(detail=None, context=None, internal_query=None)
        is_raised = getattr(error, "server_source_function", "") == "exec_stmt_raise"
        if is_raised or (error.sqlstate or "").startswith(VALUES_IN_MESSAGE):
            withheld = "message withheld, it may quote a value"
            error.args = (withheld,)
            error.__dict__.update(message=withheld, hint=None)
        _forget_values(error.__cause__)
    elif isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):
        error.args = ("invalid input for a query argument, withheld",)
        error.__cause__ = None
        error.__suppress_context__ = True


def outcome_is_unknown(error: BaseException) -> bool:
    """Whether the server may have done what it was sent although it did not say so."""
    if not was_sent(error):
        return False
    if isinstance(error, asyncpg.ConnectionDoesNotExistError):
        return True
    if isinstance(error, asyncpg.PostgresError):
        severity = getattr(error, "severity_en", None)
        return severity in ("FATAL", "PANIC") or (error.sqlstate or "").startswith(("08", "57P"))
    return isinstance(error, OSError | asyncio.TimeoutError | asyncpg.InternalClientError)


def was_sent(error: BaseException) -> bool:
    """Whether anything reached the connection before the error."""
    if isinstance(error, asyncpg.InternalClientError):
        # after the server's farewell; asyncpg, whose version is pinned, has no class for it
        return "cannot switch to state" not in str(error)
    return not isinstance(error, asyncpg.InterfaceError)


CONNECT_FAILURES = (
    OSError,
    UnicodeError,  # a host name that is none
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
"""What ``asyncpg.connect`` raises; time-outs, name resolution and TLS are OSErrors."""

ADVICE = {
    "28P01": "the server refused the password: check user and password",
    "28000": "the server refused the user: check the user, TLS and the server's pg_hba.conf",
    "3D000": "there is no such database: create it, or check its name",
    "42501": "the user may not connect to this database: GRANT CONNECT",
    "42704": "the server does not know {settings}: remove it from the URL",
    "22023": "the server refuses the value of a setting: check those of the URL and DB_*_TIMEOUT",
    "08P01": "no understanding: check that it is PostgreSQL, and user and password",
}
"""What to do where trying again does not help."""


def explain(error: BaseException, target: DatabaseUrl) -> LearnerError:
    """The error of the package for a failed attempt to connect: one line that names the target.

    :class:`DatabaseUnavailable` may pass, :class:`DatabaseRefused` will not.
    """
    if target.is_development and isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return DatabaseNotConfigured(
            "the database of `learner up` does not run: start it again, or set DATABASE_URL"
        )
    sqlstate = getattr(error, "sqlstate", None)
    if sqlstate in ADVICE:
        advice = ADVICE[sqlstate].format(settings=_settings_in(error, target))
        return DatabaseRefused(f"{target}: {advice} ({sqlstate})", sqlstate=sqlstate)
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return DatabaseReadOnly(f"{target}: no host is {target.session_attributes}")
    # a socket that is missing in its folder is of a server that is stopped, or just starting
    is_stopped = isinstance(error, FileNotFoundError) and Path(target.hosts[0]).is_dir()
    refusal = None if is_stopped else _refusal(error)
    if refusal:
        return DatabaseRefused(f"{target}: {refusal}")
    return DatabaseUnavailable(f"{target}: {_passing_cause(error, sqlstate)}", sqlstate=sqlstate)


def _settings_in(error: BaseException, target: DatabaseUrl) -> str:
    """Return the names of the URL's session settings that the server's message contains."""
    names = [name for name in target.server_settings if name in str(error)]
    return ", ".join(names) or "a setting of the URL"


def _refusal(error: BaseException) -> str | None:
    if isinstance(error, UnicodeError):
        return "that is no host name"
    if isinstance(error, asyncpg.ClientConfigurationError):
        return f"the driver refuses the settings ({type(error).__name__})"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not trusted ({error.verify_message}): "
            "name its authority with DB_SSL_ROOT_CERT"
        )
    if isinstance(error, ConnectionError) and "SSL upgrade" in str(error):
        return (
            "the server offers no TLS: turn it on there, or outside production use sslmode=disable"
        )
    if isinstance(error, ssl.SSLError | PermissionError | FileNotFoundError):
        return f"{_passing_cause(error)}: check host and TLS settings"
    return None


def _passing_cause(error: BaseException, sqlstate: str | None = None) -> str:
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "no answer within the connect time-out"
    if isinstance(error, socket.gaierror):
        return "the host name is not known"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: is PostgreSQL running there?"
    if isinstance(error, FileNotFoundError):
        return "there is no unix socket in that folder"
    return f"cannot connect ({sqlstate or type(error).__name__})"
