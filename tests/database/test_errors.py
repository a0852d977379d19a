"""Error mapping: class, fields and message by SQLSTATE and constraint, without row values."""

import asyncio
import copy
import logging
import pickle
import re
import traceback
from contextvars import Context
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from piccolo.table import create_table_class

from learner_app import errors
from learner_app.accounts.tables import UserTable
from learner_app.database.engine import DatabaseEngine
from learner_app.database.error_mapping import ADVICE, SQLSTATE_ERRORS
from learner_app.errors import DatabaseError
from learner_app.listening.tables import ListeningSessionTable
from learner_app.schema.constraints import MIGRATION_MODULE, constraint_columns

CANARY = "hunter2-canary"
USER = "INSERT INTO users (email, hashed_password{}) VALUES ('{}', 'x'{})"


def user(columns: str = "", values: str = "", email: str = CANARY) -> str:
    return USER.format(columns, email, values)


@pytest.fixture
async def filled(clone: DatabaseEngine) -> DatabaseEngine:
    await clone.execute(user())
    await clone.execute(f"INSERT INTO sessions (id) VALUES ('{CANARY}')")
    await clone.execute("CREATE TABLE part (whole text REFERENCES sessions (id), span int4range)")
    await clone.execute("ALTER TABLE part ADD EXCLUDE USING gist (span WITH &&)")
    await clone.execute(f"INSERT INTO part VALUES ('{CANARY}', '[1,5)')")
    return clone


CASES = [
    (user(), "Conflict", "users", "idx_users_email", ("email",)),
    ("INSERT INTO part (span) VALUES ('[2,3)')", "Conflict", "part", "part_span_excl", ()),
    ("INSERT INTO part VALUES ('nobody')", "MissingReference", "part", "part_whole_fkey", ()),
    ("DELETE FROM sessions", "StillReferenced", "part", "part_whole_fkey", ()),
    (
        "WITH gone AS (DELETE FROM sessions RETURNING 1) SELECT count(*) FROM gone",
        *("StillReferenced", "part", "part_whole_fkey", ()),
    ),
    (
        "INSERT INTO users (email) VALUES ('a@b')",
        "InvalidValue",
        "users",
        None,
        ("hashed_password",),
    ),
    (
        user(", target_score", ", 101", "a@b"),
        "InvalidValue",
        "users",
        "check_target_score_range",
        ("target_score",),
    ),
    (user(email=CANARY.upper()), "InvalidValue", "users", "check_email_lower", ("email",)),
    (user(email="x" * 400), "InvalidValue", None, None, ()),
    (user(", daily_study_time", ", 99999999999", "a@b"), "InvalidValue", None, None, ()),
    (f"SELECT '{CANARY}'::uuid", "InvalidValue", None, None, ()),
    (f"SELECT '{CANARY}'::int", "InvalidValue", None, None, ()),
    ("SELECT 1 / 0", "InvalidValue", None, None, ()),
    (
        "SELECT E'a\\\\000b'::bytea::text || convert_from('\\x00', 'UTF8')",
        "InvalidValue",
        None,
        None,
        (),
    ),
    (f"SELECT to_tsquery('{CANARY} &')", "StatementRefused", None, None, ()),
    (f"SELECT 'a''{CANARY}", "StatementRefused", None, None, ()),
    (f"SELECT current_setting('{CANARY}')", "StatementRefused", None, None, ()),
    ("SELEC", "StatementRefused", None, None, ()),
    ("SELECT * FROM nowhere", "StatementRefused", None, None, ()),
    ("SELECT pg_read_file('/etc/passwd')", "AccessDenied", None, None, ()),
    ("SELECT * FROM pg_authid", "AccessDenied", None, None, ()),
    (f"DO $$ BEGIN RAISE '{CANARY}'; END $$", "DatabaseError", None, None, ()),
    (
        "DO $$ BEGIN RAISE 'x' USING ERRCODE = '40001'; END $$",
        "SerializationFailure",
        None,
        None,
        (),
    ),
    (
        "DO $$ BEGIN RAISE 'x' USING ERRCODE = '53100'; END $$",
        "DatabaseUnavailable",
        None,
        None,
        (),
    ),
]


@pytest.mark.parametrize(("sql", "name", "table", "constraint", "fields"), CASES)
async def test_failed_statements_raise_the_mapped_error_without_row_values(
    filled: DatabaseEngine,
    sql: str,
    name: str,
    table: str | None,
    constraint: str | None,
    fields: tuple[str, ...],
):
    with pytest.raises(DatabaseError) as caught:
        await filled.execute(sql)
    error = caught.value
    assert type(error).__name__ == name
    assert (error.table, error.constraint, error.fields) == (table, constraint, fields)
    assert isinstance(error.__cause__, asyncpg.PostgresError)
    assert error.sqlstate == error.__cause__.sqlstate
    assert "\n" not in str(error)
    rendered = "".join(traceback.format_exception(error))
    shown = [line for line in rendered.splitlines() if "errors." in line or "exceptions." in line]
    assert not [line for line in shown if CANARY in line.lower()]
    assert CANARY not in f"{error.__cause__} {error.__cause__!r} {error.__cause__.as_dict()}"


@pytest.mark.parametrize("value", [CANARY, object(), [CANARY]])
async def test_arguments_of_a_wrong_type_are_invalid_values(
    clone: DatabaseEngine, value: object, caplog
):
    with pytest.raises(errors.InvalidValue) as caught:
        await clone.fetch("SELECT $1::int", value)
    logging.getLogger("test").error("failed", exc_info=caught.value)
    assert CANARY not in caplog.text


@pytest.mark.parametrize("text", ["nul \0 nul", "lone \ud800 surrogate"])
async def test_text_that_cannot_be_stored_is_an_invalid_value(clone: DatabaseEngine, text: str):
    with pytest.raises(errors.InvalidValue):
        await clone.execute("INSERT INTO sessions (id) VALUES ($1)", text)
    with pytest.raises(errors.InvalidValue):
        await ListeningSessionTable.insert(ListeningSessionTable(id=text))


async def test_piccolo_queries_raise_errors_of_the_package(clone: DatabaseEngine):
    row = {"email": CANARY, "hashed_password": "x"}
    await UserTable.insert(UserTable(**row))
    with pytest.raises(errors.Conflict) as caught:
        await UserTable.insert(UserTable(**row))
    assert caught.value.fields == ("email",)
    assert not caught.value.retry
    seen = []
    with pytest.raises(errors.TransactionRolledBack) as rolled_back:
        async with clone.transaction():
            for query in (UserTable.insert(UserTable(**row)), UserTable.count()):
                try:
                    await query
                except DatabaseError as error:
                    seen.append(error)
    assert [type(error) for error in seen] == [errors.Conflict, errors.TransactionAborted]
    assert rolled_back.value.__cause__ is seen[0], "the first error"


async def test_an_unavailable_lock_is_a_lock_timeout(clone: DatabaseEngine):
    async with clone.transaction():
        await clone.execute("LOCK TABLE sessions")
        other = DatabaseEngine(clone.url, needs_pool=False)
        with pytest.raises(errors.LockTimeout) as caught:
            await other.execute("BEGIN; LOCK TABLE sessions NOWAIT")
    assert caught.value.retry


def page_rows() -> list[str]:
    """Rows of the two tables of docs/errors.md that are made from the rules."""
    rules = SQLSTATE_ERRORS.items()
    rows = [
        f"| `{state}` | `{rule.error.__name__}` | {'yes' if rule.error.retry else 'no'} "
        f"| {rule.message} |"
        for state, rule in rules
    ]
    columns = (["email"], ["content_id", "session_id"])
    return rows + [
        f"| `{state}` | {' | '.join(rule.describe(fields) for fields in columns)} |"
        for state, rule in rules
        if rule.with_fields
    ]


def test_the_page_lists_every_sqlstate_with_class_retry_and_message(checkout: Path):
    page = (checkout / "docs/errors.md").read_text()
    listed = re.findall(r"^\| `\w{2}(?:\w{3})?` .*$", page, re.MULTILINE)
    assert listed == page_rows(), "expected:\n" + "\n".join(page_rows())


def test_the_page_names_every_error(checkout: Path):
    page = (checkout / "docs/errors.md").read_text()
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, DatabaseError):
            assert f"`{name}`" in page, name


def test_advice_exists_only_for_mapped_sqlstates():
    assert set(ADVICE) <= set(SQLSTATE_ERRORS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((), "another row has the same values"),
        (("email",), "another row has the same email"),
        (("content_id", "session_id"), "another row has the same content_id and session_id"),
        (("a", "b", "c"), "another row has the same a, b and c"),
    ],
)
def test_messages_name_no_field_one_field_or_several(fields: tuple[str, ...], message: str):
    assert SQLSTATE_ERRORS["23505"].describe(fields) == message


async def test_messages_name_table_fields_and_constraint(filled: DatabaseEngine):
    with pytest.raises(errors.Conflict) as one:
        await filled.execute(user())
    assert str(one.value) == (
        "users: another row has the same email (idx_users_email, 23505 UniqueViolationError)"
    )
    await filled.execute("CREATE TABLE pair (a int, b int, CHECK (a < b))")
    with pytest.raises(errors.InvalidValue) as unknown:
        await filled.execute("INSERT INTO pair VALUES (2, 1)")
    assert str(unknown.value) == ("pair: value not allowed (pair_check, 23514 CheckViolationError)")
    with pytest.raises(errors.InvalidValue) as column:
        await filled.execute("INSERT INTO users (email) VALUES ('a@b')")
    assert str(column.value) == (
        "users: hashed_password must not be null (23502 NotNullViolationError)"
    )


def test_fields_come_from_the_declared_tables():
    """Migrations create classes of the same tables that lack columns."""
    assert constraint_columns("users", "idx_users_email") == ("email",)
    bare = create_table_class("UserTable", class_kwargs={"tablename": "users"})
    assert bare.__module__ == MIGRATION_MODULE
    assert constraint_columns("users", "idx_users_email") == ("email",)
    assert constraint_columns("like_engagement", "like_engagement_pkey") == (
        "content_id",
        "session_id",
    )
    assert constraint_columns("users", "nobody_knows") == ()


DRIVER_CLASSES = [
    (user(), "Conflict", asyncpg.UniqueViolationError),
    ("INSERT INTO part (span) VALUES ('[2,3)')", "Conflict", asyncpg.ExclusionViolationError),
    ("INSERT INTO part VALUES ('nobody')", "MissingReference", asyncpg.ForeignKeyViolationError),
    ("DELETE FROM sessions", "StillReferenced", asyncpg.ForeignKeyViolationError),
    (
        "INSERT INTO users (email) VALUES ('a@b')",
        "InvalidValue",
        asyncpg.NotNullViolationError,
    ),
    (user(email=CANARY.upper()), "InvalidValue", asyncpg.CheckViolationError),
    (user(email="x" * 400), "InvalidValue", asyncpg.StringDataRightTruncationError),
    (f"SELECT '{CANARY}'::int", "InvalidValue", asyncpg.InvalidTextRepresentationError),
    ("SELECT 1 / 0", "InvalidValue", asyncpg.DivisionByZeroError),
]


@pytest.mark.parametrize(("sql", "name", "driver"), DRIVER_CLASSES)
async def test_errors_about_values_are_instances_of_asyncpg_classes(
    filled: DatabaseEngine, sql: str, name: str, driver: type[asyncpg.PostgresError]
):
    with pytest.raises(driver) as caught:
        await filled.execute(sql)
    error: Any = caught.value
    assert isinstance(error, getattr(errors, name))
    assert type(error.__cause__) is driver
    others = {kind for *_, kind in DRIVER_CLASSES} - set(driver.__mro__)
    if driver is asyncpg.ExclusionViolationError:
        others.remove(asyncpg.UniqueViolationError)  # every Conflict is one
    assert not isinstance(error, tuple(others))
    assert error.message == error.__cause__.message
    assert error.constraint_name == error.constraint
    assert error.table_name == error.table
    assert error.detail is None
    shown = f"{error} {error!r} {error.message} {error.args} {error.as_dict()} {vars(error)}"
    assert CANARY not in shown.lower()


async def test_errors_about_arguments_are_instances_of_asyncpg_classes(
    clone: DatabaseEngine,
):
    plain = await asyncpg.connect(clone.url)
    with pytest.raises(asyncpg.DataError) as drivers:
        await plain.fetch("SELECT $1::int", "x")
    await plain.close()
    with pytest.raises(errors.InvalidValue) as caught:
        await clone.fetch("SELECT $1::int", CANARY)
    assert isinstance(caught.value, type(drivers.value))
    assert caught.value.sqlstate is None
    assert CANARY not in f"{caught.value} {vars(caught.value)}"


def _sent(error: DatabaseError) -> DatabaseError:
    """Pickle an error as a worker process does for its parent."""
    sent: DatabaseError = pickle.loads(pickle.dumps(error))  # noqa: S301  # it is our own
    return sent


@pytest.mark.parametrize("sql", [case[0] for case in DRIVER_CLASSES])
async def test_errors_can_be_copied_and_pickled(filled: DatabaseEngine, sql: str):
    with pytest.raises(DatabaseError) as caught:
        await filled.execute(sql)
    error = caught.value
    for twin in (copy.copy(error), copy.deepcopy(error), _sent(error)):
        assert type(twin) is type(error)
        assert (str(twin), vars(twin)) == (str(error), vars(error))


async def test_an_error_of_another_connection_passes_through_a_block_unchanged(
    filled: DatabaseEngine,
):
    for block in (filled.connection(), filled.transaction()):
        with pytest.raises(errors.Conflict) as caught:
            async with block:
                await asyncio.create_task(filled.execute(user()), context=Context())
        assert type(caught.value.__cause__) is asyncpg.UniqueViolationError
    with pytest.raises(errors.Conflict) as caught:
        await filled.perform(lambda _: filled.execute(user()))
    assert type(caught.value.__cause__) is asyncpg.UniqueViolationError
