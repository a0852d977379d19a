"""Error messages of failed migrations: statement and server message, without row values."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from traceback import extract_tb
from typing import Any

import asyncpg

from learner_app.errors import (
    CommitUnknown,
    DatabaseError,
    LearnerError,
    LockTimeout,
    MigrationError,
)

MAX_TEXT = 300
"""Maximum length of a statement or message in an error."""

CLASSES_ABOUT_OBJECTS = ("0A", "2B", "3D", "3F", "42", "55")
"""SQLSTATE classes whose DETAIL and HINT name schema objects; other classes quote row values."""

DATA_EXCEPTION = "22"
RAISED_BY_A_FUNCTION = "P0"


async def run_statement(engine: Any, statement: str) -> None:
    """Execute one statement of a migration on the engine's current transaction.

    Raises:
        MigrationError: the server rejected the statement; the message contains the statement and
            the server's message.
        LockTimeout: a table is locked; the caller runs the whole migration again.
        CommitUnknown: outside a transaction, the response of the server was lost.
    """
    reported = ""

    async def send(connection: Any) -> None:
        nonlocal reported
        try:
            await connection.fetch(statement)
        except asyncpg.PostgresError as error:
            # Read the message here: the engine removes it from the error, as it may quote a row.
            reported = _server_text(error)
            raise

    try:
        await engine.perform(send, statement)
    except (LockTimeout, CommitUnknown):
        raise
    except DatabaseError as error:
        raise MigrationError(f"{reported or error}; statement: {shortened(statement)}") from error


@asynccontextmanager
async def as_migration_errors(
    app: str, migration_id: str, *, in_transaction: bool
) -> AsyncIterator[None]:
    """Convert exceptions of a migration to a :class:`MigrationError` that names the migration.

    ``CommitUnknown`` and errors of a wrong declaration, such as ``SchemaError``, are raised
    unchanged.
    """
    outcome = "nothing was changed" if in_transaction else "earlier statements of it remain applied"
    try:
        yield
    except CommitUnknown:
        raise
    except MigrationError as error:
        text, cause = str(error), error.__cause__ or error
    except DatabaseError as error:
        text, cause = _database_text(error), error
    except LearnerError:
        raise
    except Exception as error:  # noqa: BLE001  # a function of a migration may raise anything
        text, cause = _python_text(error), error
    else:
        return
    raise MigrationError(f"migration {app} {migration_id} failed, {outcome}: {text}") from cause


def shortened(text: str) -> str:
    """Return the text on one line, truncated to ``MAX_TEXT`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_TEXT else f"{line[: MAX_TEXT - 1]}…"


def _server_text(error: Any) -> str:
    """Return the SQLSTATE with message, DETAIL and HINT as far as they quote no row."""
    sqlstate = error.sqlstate or ""
    message = error.message or type(error).__name__
    if sqlstate.startswith(DATA_EXCEPTION):
        message = re.sub(r'".*"', '"…"', message, flags=re.DOTALL)
    elif sqlstate.startswith(RAISED_BY_A_FUNCTION):
        message = "an exception was raised by a function of the database"
    texts = [message]
    if sqlstate.startswith(CLASSES_ABOUT_OBJECTS):
        texts += [text for text in (error.detail, error.hint) if text]
    return f"{shortened('; '.join(text.rstrip('.') for text in texts))} ({sqlstate})"


def _database_text(error: DatabaseError) -> str:
    """Return the message for a statement that a function of the migration executed."""
    cause: Any = error.__cause__
    statement = getattr(cause, "query", None)
    if not isinstance(cause, asyncpg.PostgresError) or not statement:
        return str(error)
    withheld = not cause.message or "withheld" in cause.message
    message = str(error) if withheld else f"{cause.message} ({cause.sqlstate})"
    return f"{message}; statement: {shortened(statement)}"


def _python_text(error: Exception) -> str:
    """Return type, message and line of an error in a function of the migration."""
    place = extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}, line {place.lineno}, in {place.name}"
    message = shortened(str(error))
    return f"{type(error).__name__}{': ' if message else ''}{message} ({where})"
