"""Private parts of asyncpg: they exist in the pinned version and behave as the package expects.

``docs/private-parts.md`` lists all of them. A failure here after an upgrade of asyncpg names the
part that has changed.
"""

import inspect
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from learner_app.database.connection import Connection
from learner_app.database.engine import DatabaseEngine
from learner_app.database.error_mapping import outcome_is_unknown, was_sent
from learner_app.database.known_types import ARRAYS, KNOWN_TYPES
from learner_app.database.lease import PROTOCOL_OPERATIONS

METHODS = {
    "_abort": "self",
    "_check_open": "self",
    "_copy_in": "self, copy_stmt, source, timeout",
    "_copy_out": "self, copy_stmt, output, timeout",
    "_drop_local_statement_cache": "self",
    "_drop_local_type_cache": "self",
    "_execute": "self, query, args, limit, timeout, *, return_status=False, "
    "ignore_custom_codec=False, record_class=None",
    "_executemany": "self, query, args, timeout, return_rows=False, record_class=None",
    "_get_statement": "self, query, timeout, *, named=False, "
    "use_cache=True, ignore_custom_codec=False, record_class=None",
    "_introspect_types": "self, typeoids, timeout",
    "_maybe_gc_stmt": "self, stmt",
    "_prepare": "self, query, *, name=None, timeout=None, use_cache=False, record_class=None",
    "_process_log_message": "self, fields, last_query",
    "_unwrap": "self",
    "_Connection__execute": "self, query, args, limit, timeout, *, return_status=False, "
    "ignore_custom_codec=False, record_class=None",
}
ATTRIBUTES = (
    "_aborted",
    "_addr",
    "_intro_query",
    "_listeners",
    "_log_listeners",
    "_loop",
    "_protocol",
    "_query_loggers",
    "_server_caps",
    "_stmt_cache",
    "_stmt_exclusive_section",
    "_termination_listeners",
    "_top_xact",
    "_transport",
)


@pytest.fixture
async def connection(clone: DatabaseEngine) -> AsyncIterator[Connection]:
    connection = await clone.get_new_connection()
    yield connection
    connection.terminate()


def test_version_is_the_one_that_was_checked():
    assert asyncpg.__version__ == "0.32.0"


@pytest.mark.parametrize("name", METHODS)
def test_private_method_has_the_expected_parameters(name: str):
    parameters = inspect.signature(getattr(asyncpg.Connection, name)).parameters.values()
    plain = [one.replace(annotation=inspect.Parameter.empty) for one in parameters]
    assert str(inspect.Signature(plain)) == f"({METHODS[name]})"


def test_every_overridden_private_method_is_listed():
    driver = set(dir(asyncpg.Connection))
    overridden = {name for name in vars(Connection) if name.startswith("_") and name in driver}
    assert {name for name in overridden if not name.startswith("__")} <= set(METHODS)


@pytest.mark.parametrize("name", ATTRIBUTES)
async def test_private_attribute_exists(connection: Connection, name: str):
    assert hasattr(connection, name)


async def test_private_protocol_has_the_used_operations(connection: Connection):
    operations = {"abort", "data_received", "eof_received", "_is_cancelling", "query"}
    for name in PROTOCOL_OPERATIONS | operations | {"is_in_transaction", "get_settings"}:
        assert callable(getattr(connection._protocol, name)), name
    assert callable(connection._protocol.get_settings().register_data_types)
    assert isinstance(connection._server_caps.jit, bool)


async def queries_of(connection: Connection, sql: str, *args: Any) -> list[str]:
    """Return the queries that asyncpg sends for one statement, those for types included."""
    sent: list[str] = []
    with connection.query_logger(lambda record: sent.append(record.query)):
        await connection.fetchval(sql, *args)
        await connection.fetchval("SELECT 1")  # loggers are called in the next step of the loop
    return [query for query in sent if query != "SELECT 1"]


@pytest.mark.parametrize("name", ["int4", "uuid", "timestamptz", "jsonb"])
async def test_registered_array_types_need_no_query(connection: Connection, name: str):
    sql = f"SELECT $1::{name}[]"
    assert await queries_of(connection, sql, []) == [sql]


async def test_a_type_that_is_not_registered_is_looked_up(
    clone: DatabaseEngine, connection: Connection
):
    await clone.execute("CREATE TYPE colour AS ENUM ('red', 'blue')")
    assert len(await queries_of(connection, "SELECT $1::colour[]", ["red"])) == 2


async def test_registered_array_types_are_those_of_the_server(connection: Connection):
    rows = await connection.fetch(
        "SELECT typname, oid, typelem FROM pg_type WHERE oid = ANY($1)",
        [row["oid"] for row in KNOWN_TYPES],
    )
    found = {row["typname"].removeprefix("_"): (row["oid"], row["typelem"]) for row in rows}
    assert found == dict(ARRAYS)


async def test_an_unnamed_statement_is_parsed_again_after_a_type_lookup(
    clone: DatabaseEngine, connection: Connection
):
    """The lookup sends BEGIN, and a simple query destroys the unnamed statement."""
    await clone.execute("CREATE TYPE colour AS ENUM ('red', 'blue')")
    too_long_for_the_cache = f"SELECT $1::colour -- {'x' * 20_000}"
    assert await connection.fetchval(too_long_for_the_cache, "red") == "red"


async def test_cursors_in_a_shared_session_have_unique_names_and_are_deallocated(
    connection: Connection,
):
    connection.is_transaction_pooled = True
    names = "SELECT name FROM pg_prepared_statements WHERE name LIKE 'cursor%'"
    async with connection.transaction():
        cursor = await connection.cursor("SELECT generate_series(1, 3)")
        assert [row[0] for row in await cursor.fetch(2)] == [1, 2]
        (row,) = await connection.fetch(names)
        assert len(row["name"]) == len("cursor_") + 32
        await connection.close_cursor(cursor)
        assert await connection.fetch(names) == []


async def test_a_transaction_of_asyncpg_is_a_savepoint_below_a_known_one(connection: Connection):
    await connection.execute("CREATE TEMP TABLE noted (a int)")
    await connection.execute("BEGIN")
    connection.is_managed = True
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with connection.transaction():
            await connection.execute("INSERT INTO noted VALUES (1); SELECT 1 / 0")
    assert await connection.fetchval("SELECT count(*) FROM noted") == 0
    connection.leave_block()
    assert connection.is_in_transaction()
    await connection.reset()
    assert not connection.is_in_transaction()


async def test_an_operation_after_fatal_was_not_sent(connection: Connection):
    """The server ended the idle session, and asyncpg has read its error but not the end yet."""
    fields = b"".join(
        code + text + b"\0"
        for code, text in ((b"S", b"FATAL"), (b"V", b"FATAL"), (b"C", b"57P01"), (b"M", b"ended"))
    )
    connection._protocol.data_received(b"E" + (len(fields) + 5).to_bytes(4, "big") + fields + b"\0")
    with pytest.raises(asyncpg.InternalClientError) as caught:
        await connection.fetchval("SELECT 1")
    assert not was_sent(caught.value)
    assert not outcome_is_unknown(caught.value)
