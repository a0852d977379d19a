"""Nothing secret in a row, repr, log or error, nor in the locals that reporters render."""

import inspect
import io
import json
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr
from rich.console import Console
from rich.pretty import pretty_repr
from rich.traceback import Traceback

from learner_app.accounts.passwords import Cost, hash_password
from learner_app.accounts.redacted import RedactedStr
from learner_app.accounts.repositories import (
    AccountRepository,
    AuthSessionRepository,
    UserRepository,
    VerificationRepository,
)
from learner_app.accounts.rows import (
    AccountUpdate,
    OpenedSession,
    ProviderUserCreate,
    User,
    UserCreate,
    UserUpdate,
)
from learner_app.accounts.tables import (
    AccountTable,
    AuthSessionTable,
    UserTable,
    VerificationTable,
)
from learner_app.database.engine import DatabaseEngine
from learner_app.database.executor import StatementExecutor
from learner_app.errors import DatabaseError, InvalidValue
from tests.accounts.error_chains import chained
from tests.accounts.factories import HOUR

users, accounts = UserRepository(), AccountRepository()
sessions, codes = AuthSessionRepository(), VerificationRepository()
REPOSITORIES = (users, accounts, sessions, codes)

PASSWORD, OTHER = "pass-canary-1", "pass-canary-2"
ACCESS, REFRESH = "access-canary", "refresh-canary"
ADDRESS, CODE_OF = "anna@example.com", "reset-password:anna@example.com"
SECRET_COLUMNS = {
    (table, column._meta.name)
    for table in (UserTable, AccountTable, AuthSessionTable, VerificationTable)
    for column in table._meta.columns
    if column._meta.secret
}
GENERAL = {"get", "find", "get_many", "exists", "count", "page", "stream"}
READERS = {"check_password", "change_password", "sign_in", "tokens"}
"""The operations made for reading a hash or a token."""


@dataclass
class World:
    """A user with everything, and what nobody may see of it."""

    db: DatabaseEngine
    user: User
    opened: OpenedSession
    code: SecretStr
    account_id: Any
    code_id: Any
    secrets: set[str] = field(default_factory=set)

    async def note(self) -> None:
        """Whatever is stored in the secret columns now, and what stands for it."""
        for table, column in SECRET_COLUMNS:
            sql = f"SELECT {column} FROM {table._meta.tablename} WHERE {column} IS NOT NULL"
            self.secrets |= {row[0] for row in await self.db.fetch(sql)}
        self.secrets |= {self.opened.token.get_secret_value(), self.code.get_secret_value()}
        self.secrets |= {PASSWORD, OTHER, ACCESS, REFRESH}

    def seen_in(self, text: str) -> list[str]:
        """Those of which a telling part stands in the text."""
        return [one for one in self.secrets if one in text or one[-20:] in text or one[:70] in text]


@pytest.fixture
async def world(clone: DatabaseEngine) -> World:
    return await make_world(clone)


async def make_world(engine: DatabaseEngine) -> World:
    """Insert a user with an account, a session and a code; return them with their secrets."""
    user = await users.register(UserCreate(email=ADDRESS, password=PASSWORD))
    tokens = AccountUpdate(access_token=ACCESS, refresh_token=REFRESH)
    account = await accounts.link(user.id, "google", "g1", tokens)
    opened = await sessions.open(user.id, HOUR)
    code = await codes.issue(CODE_OF, HOUR)
    (row,) = (await codes.page()).rows
    world = World(engine, user, opened, code, account.id, row.id)
    await world.note()
    # of parameters that are outdated, so that a check stores another one
    await engine.execute("UPDATE users SET hashed_password = $1", hash_password(PASSWORD, CHEAP))
    await world.note()
    assert len(world.secrets) == 10
    return world


CHEAP = Cost(7168, 1, 1)


def operations(it: World) -> dict[str, Callable[[], Any]]:
    """A call of every public method, with plain text where a caller may give it."""
    user, token, code = it.user, it.opened.token, it.code
    of_all = {
        f"{name}.{general}": call
        for name, repository, key in (
            ("UserRepository", users, user.id),
            ("AccountRepository", accounts, it.account_id),
            ("AuthSessionRepository", sessions, it.opened.session.id),
            ("VerificationRepository", codes, it.code_id),
        )
        for general, call in {
            "get": lambda it=repository, key=key: it.get(key),
            "find": lambda it=repository, key=key: it.find(key),
            "get_many": lambda it=repository, key=key: it.get_many([key]),
            "exists": lambda it=repository, key=key: it.exists(key),
            "count": lambda it=repository: it.count(),
            "page": lambda it=repository: it.page(total="exact"),
            "stream": lambda it=repository: it.stream(),
        }.items()
    }
    new = UserCreate(email="b@example.com", password=OTHER)
    provider = ProviderUserCreate(email="c@example.com")
    tokens = AccountUpdate(access_token=ACCESS, id_token=REFRESH)
    plain = token.get_secret_value()
    return of_all | {
        "UserRepository.search": lambda: users.search(text="a"),
        "UserRepository.find_by_email": lambda: users.find_by_email(ADDRESS),
        "UserRepository.register": lambda: users.register(new),
        "UserRepository.register_with_provider": lambda: users.register_with_provider(
            provider, "google", "g3", tokens
        ),
        "UserRepository.check_password": lambda: users.check_password(ADDRESS, PASSWORD),
        "UserRepository.update": lambda: users.update(user.id, UserUpdate(name="A")),
        "UserRepository.update_profile": lambda: users.update_profile(
            user.id, UserUpdate(name="B")
        ),
        "UserRepository.verify_email": lambda: users.verify_email(user.id, ADDRESS),
        "UserRepository.set_admin": lambda: users.set_admin(user.id, True),
        "UserRepository.export": lambda: users.export(user.id),
        "AccountRepository.link": lambda: accounts.link(user.id, "github", "h1", tokens),
        "AccountRepository.find_by_provider": lambda: accounts.find_by_provider("google", "g1"),
        "AccountRepository.list_for_user": lambda: accounts.list_for_user(user.id),
        "AccountRepository.update_tokens": lambda: accounts.update_tokens(it.account_id, tokens),
        "AccountRepository.tokens": lambda: accounts.tokens(it.account_id),
        "AccountRepository.unlink": lambda: accounts.unlink(it.account_id),
        "AuthSessionRepository.open": lambda: sessions.open(user.id, HOUR),
        "AuthSessionRepository.sign_in": lambda: sessions.sign_in(ADDRESS, PASSWORD, HOUR),
        "AuthSessionRepository.resolve": lambda: sessions.resolve(plain),
        "AuthSessionRepository.extend": lambda: sessions.extend(plain, timedelta(days=3)),
        "AuthSessionRepository.list_for_user": lambda: sessions.list_for_user(user.id),
        "AuthSessionRepository.close_device": lambda: sessions.close_device(user.id, user.id),
        "AuthSessionRepository.purge_expired": lambda: sessions.purge_expired(),
        "VerificationRepository.issue": lambda: codes.issue("verify-email:x@example.com", HOUR),
        "UserRepository.reset_password": lambda: users.reset_password(
            ADDRESS, code.get_secret_value(), OTHER
        ),
        "UserRepository.issue_reset": lambda: users.issue_reset(ADDRESS, HOUR),
        "UserRepository.change_password": lambda: users.change_password(
            user.id, PASSWORD, OTHER, keep_token=plain
        ),
        "VerificationRepository.consume": lambda: codes.consume(CODE_OF, code.get_secret_value()),
        "VerificationRepository.invalidate": lambda: codes.invalidate(CODE_OF),
        "VerificationRepository.purge_expired": lambda: codes.purge_expired(),
        "UserRepository.change_email": lambda: users.change_email(user.id, "d@example.com"),
        "UserRepository.set_password": lambda: users.set_password(user.id, OTHER, keep_token=plain),
        "AuthSessionRepository.close": lambda: sessions.close(plain),
        "AuthSessionRepository.close_all": lambda: sessions.close_all(user.id, except_token=plain),
        "UserRepository.delete": lambda: users.delete(user.id),
    }


async def outcome(call: Callable[[], Any]) -> Any:
    result = call()
    if inspect.isasyncgen(result):
        return [row async for row in result]
    return await result


def without_frames_of_tests(error: BaseException) -> BaseException:
    for one in chained(error):
        found = one.__traceback__
        while found is not None and found.tb_frame.f_code.co_filename == __file__:
            found = found.tb_next
        one.__traceback__ = found
    return error


def rendered(error: BaseException) -> Iterator[str]:
    """As reporters do it."""
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


def test_every_secret_column_is_declared_so_and_in_no_row():
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


async def test_no_result_shows_a_secret_and_few_operations_read_one(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    calls = operations(world)
    public = {
        f"{type(one).__name__}.{name}"
        for one in REPOSITORIES
        for name, _ in inspect.getmembers(type(one), inspect.isfunction)
        if not name.startswith("_")
    }
    assert set(calls) == public
    read: list[str] = []
    real = StatementExecutor.run

    async def spied(self: StatementExecutor, *args: Any, **kwargs: Any) -> Any:
        result = await real(self, *args, **kwargs)
        read.append(repr(result))
        return result

    monkeypatch.setattr(StatementExecutor, "run", spied)
    readers = set()
    for name, call in calls.items():
        read.clear()
        result = await outcome(call)
        if world.seen_in("".join(read)):
            readers.add(name.partition(".")[2])
        monkeypatch.setattr(StatementExecutor, "run", real)
        await world.note()
        monkeypatch.setattr(StatementExecutor, "run", spied)
        assert world.seen_in(f"{result!r} {result} {pretty_repr(result)}") == [], name
        if name != "AccountRepository.tokens":
            with suppress(TypeError):  # of what is no document
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


@pytest.mark.parametrize("harm", HARM)
async def test_no_traceback_shows_a_secret(
    world: World, harm: str, caplog: pytest.LogCaptureFixture
):
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


async def test_no_conflict_shows_a_secret(world: World):
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
def test_refused_input_shows_no_secret(make: Callable[[], UserCreate]):
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


async def test_no_memory_for_a_hash_shows_no_secret(world: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(world.db.settings, "password_memory_kib", 2**31)
    new = UserCreate(email="b@example.com", password=OTHER)
    with pytest.raises(MemoryError) as caught:
        await users.register(new)
    for text in rendered(caught.value):
        assert world.seen_in(text) == [], text


def test_sealed_text_is_text_to_the_driver_only():
    sealed = RedactedStr("canary")
    assert sealed == "canary"
    assert sealed.encode() == b"canary"
    shown = f"{sealed} {sealed!r} {sealed!s} {sealed[:3]!r} {sealed[0]} {[sealed]} {(sealed,)}"
    assert "can" not in shown
