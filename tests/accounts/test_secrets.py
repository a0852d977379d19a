"""Secrets are missing from rows, reprs, logs, errors and local variables of tracebacks."""

import inspect
import io
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from rich.console import Console
from rich.pretty import pretty_repr
from rich.traceback import Traceback

from learner_app.accounts.redacted import RedactedStr
from learner_app.accounts.rows import (
    UserCreate,
)
from learner_app.database.engine import DatabaseEngine
from learner_app.database.executor import StatementExecutor
from learner_app.errors import DatabaseError, InvalidValue
from tests.accounts.error_chains import chained
from tests.accounts.factories import HOUR
from tests.accounts.operations import (
    ADDRESS,
    GENERAL,
    OTHER,
    READERS,
    REPOSITORIES,
    SECRET_COLUMNS,
    World,
    make_world,
    operations,
    outcome,
    sessions,
    users,
)


@pytest.fixture
async def world(clone: DatabaseEngine) -> World:
    return await make_world(clone)


def without_frames_of_tests(error: BaseException) -> BaseException:
    for one in chained(error):
        found = one.__traceback__
        while found is not None and found.tb_frame.f_code.co_filename == __file__:
            found = found.tb_next
        one.__traceback__ = found
    return error


def rendered(error: BaseException) -> Iterator[str]:
    """Yield the error as error reporters render it."""
    without_frames_of_tests(error)
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    yield "".join(told.format())
    out = io.StringIO()
    shown = Traceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, locals_max_length=3
    )
    Console(file=out, width=200).print(shown)
    yield out.getvalue()
    for one in chained(error):
        yield f"{one!s} {one!r} {one.__dict__}"
        for frame, _ in traceback.walk_tb(one.__traceback__):
            for value in frame.f_locals.values():
                yield repr(value)
                if isinstance(value, str):
                    yield f"{value[:64]!r} {value} {value!s} %s" % value


def test_every_secret_column_is_declared_and_missing_from_rows():
    assert {name for _, name in SECRET_COLUMNS} == {
        *("hashed_password", "access_token", "refresh_token", "id_token"),
        *("token_hash", "value_hash"),
    }
    for repository in REPOSITORIES:
        secret = {name for table, name in SECRET_COLUMNS if table is repository.table}
        shown = set(repository.row.__struct_fields__)
        assert secret
        assert shown | secret == {column._meta.name for column in repository.table._meta.columns}
        assert not shown & secret


def is_own(method: Any) -> bool:
    """Return whether the method is not one of the base classes, which build operations."""
    return not method.__module__.startswith("learner_app.repository.")


@pytest.mark.slow
async def test_results_show_no_secret_and_only_four_operations_read_one(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    calls = operations(world)
    public = {
        f"{type(one).__name__}.{name}"
        for one in REPOSITORIES
        for name, method in inspect.getmembers(type(one), inspect.isfunction)
        if not name.startswith("_") and (name in GENERAL or is_own(method))
    }
    assert set(calls) == public
    read: list[str] = []
    methods = {name: getattr(StatementExecutor, name) for name in ("fetch", "run")}

    def spy_on(method: Any) -> Any:
        async def spied(self: StatementExecutor, *args: Any, **kwargs: Any) -> Any:
            result = await method(self, *args, **kwargs)
            read.append(repr(result))
            return result

        return spied

    for name, method in methods.items():
        monkeypatch.setattr(StatementExecutor, name, spy_on(method))
    readers = set()
    for name, call in calls.items():
        read.clear()
        result = await outcome(call)
        results = "".join(read)
        if world.seen_in(results):
            readers.add(name.partition(".")[2])
        await world.note()
        assert world.seen_in(f"{result!r} {result} {pretty_repr(result)}") == [], name
        if name != "AccountRepository.tokens":
            with suppress(TypeError):  # not everything can be encoded
                assert world.seen_in(msgspec.json.encode(result).decode()) == [], name
    assert readers == READERS
    assert world.seen_in(caplog.text) == []


HARM = {
    "missing": "ALTER TABLE {0} RENAME TO {0}_gone",
    "raising": "CREATE FUNCTION harm_{0}() RETURNS trigger LANGUAGE plpgsql AS "
    "$$BEGIN RAISE EXCEPTION 'harm'; END$$; CREATE TRIGGER harm BEFORE INSERT OR UPDATE OR DELETE "
    "ON {0} FOR EACH STATEMENT EXECUTE FUNCTION harm_{0}()",
    "killed": "CREATE FUNCTION harm_{0}() RETURNS trigger LANGUAGE plpgsql AS "
    "$$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END$$; CREATE TRIGGER "
    "harm BEFORE INSERT OR UPDATE OR DELETE ON {0} FOR EACH STATEMENT "
    "EXECUTE FUNCTION harm_{0}()",
}
TABLES = ("users", "accounts", "auth_sessions", "verifications")


@pytest.mark.slow
@pytest.mark.parametrize("harm", HARM)
@pytest.mark.long
async def test_tracebacks_show_no_secret(world: World, harm: str, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    calls = operations(world)
    for table in TABLES:
        async with world.db.connection() as connection:
            await connection.execute(HARM[harm].format(table))
    failed = set()
    for name, call in calls.items():
        if name.partition(".")[2] in GENERAL:
            continue
        try:
            await outcome(call)
        except DatabaseError as error:
            failed.add(name)
            for text in rendered(error):
                assert world.seen_in(text) == [], (name, text)
    writers = {"register", "check_password", "sign_in", "set_password", "open", "close", "consume"}
    assert {name.partition(".")[2] for name in failed} >= {*writers, "update_tokens", "link"}
    assert world.seen_in(caplog.text) == []


async def test_conflicts_show_no_secret(world: World):
    new = UserCreate(email=ADDRESS, password=OTHER)
    for call in (
        lambda: users.register(new),
        lambda: users.set_password(world.user.id, "short-1"),
        lambda: sessions.open("x", HOUR),  # type: ignore[arg-type]
    ):
        with pytest.raises(DatabaseError) as caught:
            await call()
        for text in rendered(caught.value):
            assert world.seen_in(text) == [], text
            assert "short-1" not in text


WRONG = "p-canary"
BODY = {"email": "nonsense", "password": WRONG, "name": ""}


@pytest.mark.parametrize(
    "make",
    [
        lambda: UserCreate(**BODY),
        lambda: UserCreate.model_validate(BODY),
        lambda: UserCreate.model_validate_json(json.dumps(BODY)),
        lambda: UserCreate.model_validate_json(json.dumps(BODY)[:-1]),
        lambda: UserCreate(**BODY, hashed_password=1),
    ],
)
def test_rejected_input_shows_no_secret(make: Callable[[], UserCreate]):
    with pytest.raises((InvalidValue, ValueError)) as caught:
        make()
    error = without_frames_of_tests(caught.value)
    assert WRONG not in "".join(
        traceback.TracebackException.from_exception(error, capture_locals=True).format()
    )
    out = io.StringIO()
    shown = Traceback.from_exception(type(error), error, error.__traceback__, show_locals=True)
    Console(file=out, width=200).print(shown)
    assert WRONG not in out.getvalue()


async def test_a_memory_error_while_hashing_shows_no_secret(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(world.db.settings, "password_memory_kib", 2**31)
    new = UserCreate(email="b@example.com", password=OTHER)
    with pytest.raises(MemoryError) as caught:
        await users.register(new)
    for text in rendered(caught.value):
        assert world.seen_in(text) == [], text


def test_redacted_text_is_readable_for_the_driver_only():
    redacted = RedactedStr("canary")
    assert redacted == "canary"
    assert redacted.encode() == b"canary"
    shown = f"{redacted} {redacted!r} {redacted!s} {redacted[:3]!r} {redacted[0]} {[redacted]}"
    assert "can" not in f"{shown} {(redacted,)}"
