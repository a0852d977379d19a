"""What a failed connection means: one line that names the target and what to do, and no secret."""

import asyncio
import socket
import ssl

import asyncpg

from learner_app.database.target import Target
from learner_app.errors import (
    DatabaseNotConfigured,
    DatabaseRefused,
    DatabaseUnavailable,
    LearnerError,
)

CONNECT_FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What ``asyncpg.connect`` raises; time-outs, name resolution and TLS are OSErrors."""

REFUSALS = {
    "28P01": "the server refused the password: check user and password",
    "28000": "the server refused the user: check the user, TLS and the server's pg_hba.conf",
    "3D000": "there is no such database: create it, or check its name",
    "42501": "the user may not connect to this database: GRANT CONNECT",
    "08P01": "the server did not understand us: check that it is PostgreSQL",
}


def explain(error: BaseException, target: Target) -> LearnerError:
    """The error of the package for a failed attempt to connect.

    :class:`DatabaseUnavailable` may pass, :class:`DatabaseRefused` will not.
    """
    if target.is_development and isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return DatabaseNotConfigured(
            "the database of `learner up` does not run: start it again, or set DATABASE_URL"
        )
    sqlstate = getattr(error, "sqlstate", None)
    if sqlstate in REFUSALS:
        return DatabaseRefused(f"{target}: {REFUSALS[sqlstate]} ({sqlstate})")
    if isinstance(error, ssl.SSLCertVerificationError):
        return DatabaseRefused(
            f"{target}: the server's certificate is not trusted ({error.verify_message}): "
            "name its authority with DB_SSL_ROOT_CERT"
        )
    if isinstance(error, ConnectionError) and "SSL upgrade" in str(error):
        return DatabaseRefused(
            f"{target}: the server offers no TLS: turn it on there, or outside production "
            "use sslmode=disable"
        )
    if isinstance(error, ssl.SSLError | FileNotFoundError | PermissionError):
        return DatabaseRefused(f"{target}: {_cause(error)}: check host and TLS settings")
    return DatabaseUnavailable(f"{target}: {_cause(error, sqlstate)}")


def _cause(error: BaseException, sqlstate: str | None = None) -> str:
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "no answer within the connect time-out"
    if isinstance(error, socket.gaierror):
        return "the host name is not known"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: is PostgreSQL running there?"
    if isinstance(error, FileNotFoundError):
        return "there is no unix socket in that folder"
    return f"cannot connect ({sqlstate or type(error).__name__})"
