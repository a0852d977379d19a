"""Execution of a prepared statement by one function, directly on asyncpg's protocol.

asyncpg passes a statement through five functions of Python and sets a timer of the event loop for
it, which together takes longer than sending it. Almost all statements of a program are prepared on
their connection already. Then binding the parameters and executing is all that has to be done.

All other cases take asyncpg's own way: a statement that is not in the cache of the connection yet,
PgBouncer (where nothing is cached), a time limit or record class of the caller, loggers, and a
connection on which another operation is running.
"""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
from asyncpg.protocol import NO_TIMEOUT

from learner_app.database.shared_timer import SharedTimer

# Any, as asyncpg's stubs omit the private attributes that this module uses
_Driver: Any = asyncpg.Connection


async def execute_prepared(
    connection: Any,
    query: str,
    args: Any,
    limit: int,
    timeout: float | None = None,  # noqa: ASYNC109  # asyncpg's signature
    *,
    return_status: bool = False,
    ignore_custom_codec: bool = False,
    record_class: Any = None,
) -> Any:
    """Execute a statement with the arguments of asyncpg's ``Connection._execute``.

    DB_COMMAND_TIMEOUT is enforced by the timer of the pool (``Connection.command_timer``).

    Args:
        connection: the :class:`~learner_app.database.connection.Connection`.
        query: the statement.
        args: values of its parameters.
        limit: maximum number of rows, 0 for all.
        timeout: time limit of the caller in seconds, None for DB_COMMAND_TIMEOUT.
        return_status: return a tuple of rows, command tag and completion instead of the rows.
        ignore_custom_codec: decode by asyncpg's own codecs.
        record_class: class of the records, None for the one of the connection.
    """
    is_plain = timeout is None and record_class is None and not ignore_custom_codec
    state = _prepared_state(connection, query) if is_plain else None
    if state is None:
        options = {"ignore_custom_codec": ignore_custom_codec, "record_class": record_class}
        return await _execute_by_driver(
            connection, query, args, limit, timeout, return_status=return_status, **options
        )
    protocol, operations = connection._protocol, connection.operations
    connection.check_statement(query)
    task = asyncio.current_task()
    started = connection._loop.time()
    if not operations.tasks:
        connection.replies.start()
    operations.tasks.append(task)
    connection.sent_at = connection.last_sent_at = started
    seconds: Any = None
    timer: SharedTimer | None = connection.command_timer
    if timer is not None:  # it enforces DB_COMMAND_TIMEOUT instead of a timer of asyncpg
        operations.limited, operations.limited_since = task, started
        seconds = NO_TIMEOUT
        if not timer.is_set:
            timer.set(started)
    try:
        result = await protocol.bind_execute(state, args, "", limit, return_status, seconds)
    except asyncio.CancelledError:
        operations.translate_cancellation(task)
        raise
    except asyncpg.OutdatedSchemaCacheError:  # a type was altered, the rows cannot be decoded
        await connection.reload_schema_state()
        raise
    except asyncpg.InvalidCachedStatementError:  # a table was altered, nothing was executed
        connection._drop_local_statement_cache()
        if protocol.is_in_transaction():
            raise
    else:
        connection.completed_operations += 1
        connection.answered_at = connection._loop.time()
        return result
    finally:
        operations.limited = None
        connection.operation_ended(task)
    return await _execute_by_driver(
        connection, query, args, limit, None, return_status=return_status
    )


def _prepared_state(connection: Any, query: str) -> Any | None:
    """Return asyncpg's state of the prepared statement, None if it has to execute the statement."""
    if (
        connection.operations.limited is not None
        or connection.statement_log.is_on
        or connection._query_loggers
        or connection._stmt_exclusive_section._acquired
        or connection._protocol._is_cancelling()
    ):
        return None
    return connection._stmt_cache.get((query, connection._protocol.get_record_class(), False))


async def _execute_by_driver(connection: Any, query: str, *args: Any, **options: Any) -> Any:
    """Execute a statement by asyncpg's method, which prepares it if it has to."""
    work = _Driver._execute(connection, query, *args, **options)
    return await connection.timed(work, query, is_bound=True)
