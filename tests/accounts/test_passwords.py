"""Passwords: rules, hashes of our own, hashes brought along, and work beside the event loop."""

import asyncio
import hashlib
import os
import secrets
import threading
import time
from typing import Any

import bcrypt
import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type, hash_secret
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from learner_app.accounts import passwords
from learner_app.accounts.passwords import (
    OWASP,
    Cost,
    apart,
    check_hash,
    hash_password,
    policy_violation,
    unusable_hash,
)
from learner_app.accounts.redacted import RedactedStr
from learner_app.accounts.repositories import UserRepository
from learner_app.database.engine import DatabaseEngine
from learner_app.settings import Settings
from tests.accounts.factories import PASSWORD, registered
from tests.examples import examples

COMPOSED, DECOMPOSED = "caff\u00e8-1234", "caffe\u0300-1234"
CHEAP = Cost(64, 1, 1)
LATE_MS = 100


def matches(password: str, stored: str) -> bool:
    verdict = check_hash(password, RedactedStr(stored), CHEAP)
    assert not verdict.matches or verdict.is_outdated, "it is of other parameters"
    return verdict.matches


def test_two_spellings_of_one_password_are_one():
    stored = hash_password(DECOMPOSED)
    assert PasswordHasher().verify(str.__str__(stored.encode().decode()), COMPOSED)
    assert check_hash(COMPOSED, stored) == check_hash(DECOMPOSED, stored) == (True, False)
    assert check_hash("\uff43aff\u00e8-1234", stored).matches


def test_hashes_are_argon2id_as_owasp_wants_them_and_salted():
    one, other = hash_password("learner-1"), hash_password("learner-1")
    assert one != other
    found = extract_parameters(one)
    assert (found.type, found.memory_cost, found.time_cost) == (Type.ID, 19_456, 2)
    assert Cost.of(Settings()) == OWASP == (19_456, 2, 1)


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("abcdef1", "8 to 128"),
        ("a1" * 64 + "b", "8 to 128"),
        ("", "8 to 128"),
        ("a1" * 5000, "8 to 128"),
        ("abcdefgh", "a letter and a digit"),
        ("12345678", "a letter and a digit"),
        ("!!!!!!!1", "a letter and a digit"),
        ("abcdefg1\0", "NUL"),
        ("abcdefg1\ud800", "surrogates"),
        ("e\u0301" * 6 + "1", "8 to 128"),
        ("\ufdfa1" * 10, "8 to 128"),
    ],
)
def test_passwords_that_break_a_rule(password: str, says: str):
    assert says in str(policy_violation(SecretStr(password)))


@pytest.mark.parametrize(
    "password",
    [
        "abcdefg1",
        "a1" * 64,
        "\u0661\u0662\u0663\u0664abcd",
        "\u043f\u0430\u0440\u043e\u043b\u044c12",
        "\ufb001abcde",
    ],
)
def test_passwords_by_the_rules(password: str):
    assert policy_violation(SecretStr(password)) is None


@pytest.mark.parametrize("version", ["2a", "2b", "2y"])
def test_bcrypt_is_accepted(version: str):
    stored = bcrypt.hashpw(b"learner-1", bcrypt.gensalt(4)).decode()
    stored = stored.replace("$2b$", f"${version}$")
    assert matches("learner-1", stored)
    assert not matches("learner-2", stored)


def test_bcrypt_of_long_passwords_and_of_what_was_typed():
    long = "x1" * 40
    stored = bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode()
    assert matches(long, stored)
    assert not matches(long[:71], stored)
    for typed in (COMPOSED, DECOMPOSED):
        stored = bcrypt.hashpw(typed.encode(), bcrypt.gensalt(4)).decode()
        assert matches(typed, stored)


@pytest.mark.parametrize("is_text", [True, False])
@pytest.mark.parametrize("is_upper", [True, False])
def test_scrypt_is_accepted(is_text: bool, is_upper: bool):
    salt = secrets.token_bytes(16).hex()
    key = hashlib.scrypt(
        b"learner-1",
        salt=salt.encode() if is_text else bytes.fromhex(salt),
        n=16384,
        r=16,
        p=1,
        maxmem=2**27,
        dklen=64,
    ).hex()
    stored = f"{salt}:{key.upper() if is_upper else key}"
    assert matches("learner-1", stored)
    assert not matches("learner-2", stored)
    assert len(stored) <= 255


@pytest.mark.parametrize("kind", [Type.I, Type.D, Type.ID])
def test_other_kinds_and_parameters_of_argon2_are_outdated(kind: Type):
    stored = hash_secret(b"learner-1", b"saltsalt", 1, 64, 1, 32, kind).decode()
    assert check_hash("learner-1", RedactedStr(stored)) == (True, True)
    assert check_hash("learner-2", RedactedStr(stored)) == (False, False)


GOOD = hash_secret(b"learner-1", b"salt" * 4, 1, 64, 1, 32, Type.ID).decode()
MALFORMED = [
    "",
    "!",
    "plain",
    "learner-1",
    "$argon2id$",
    GOOD[:-1],
    GOOD + "x",
    GOOD.replace("m=64", "m=99999999"),
    GOOD.replace("t=1", "t=999999999"),
    GOOD.replace("p=1", "p=9999"),
    GOOD.replace("m=64", "m=" + "9" * 200),
    GOOD.replace("v=19", "v=99"),
    GOOD.replace("argon2id", "argon2x"),
    GOOD.replace("$", "\u0130"),
    "$2b$31$" + "a" * 53,
    "$2b$03$" + "a" * 53,
    "$2b$12$" + "a" * 52,
    "$2b$12$" + "\u00e9" * 53,
    "ab:cd",
    "ab:" + "0" * 127,
    ":" + "0" * 128,
    "zz:" + "0" * 128,
    "pbkdf2_sha256$1$a$b",
    "\0",
    "\ud800",
]


@pytest.mark.parametrize("stored", MALFORMED)
def test_malformed_hashes_are_of_no_password(stored: str):
    begin = time.perf_counter()
    for password in ("learner-1", stored[:128], ""):
        assert not check_hash(password, RedactedStr(stored), CHEAP).matches
    assert time.perf_counter() - begin < 5


@settings(max_examples=examples(200), deadline=None)
@given(st.text(max_size=40), st.integers(0, len(GOOD)), st.text(max_size=5))
def test_no_hash_is_an_error(password: str, at: int, put: str):
    for stored in (GOOD[:at] + put + GOOD[at + 1 :], put):
        if stored != GOOD:
            check_hash(password, RedactedStr(stored), CHEAP)


def test_no_password_has_an_unusable_hash():
    stored = unusable_hash()
    assert stored != unusable_hash()
    for password in ("!", stored.encode().decode(), stored.encode().decode()[1:]):
        assert not check_hash(password, stored, CHEAP).matches


def test_what_cannot_be_hashed_says_so():
    for password in ("", "\0", "x" * 4097):
        with pytest.raises(ValueError, match="cannot be a password") as caught:
            hash_password(password)
        assert caught.value.__context__ is None


@pytest.mark.parametrize("stored", [None, "!", "plain", "usable"])
@pytest.mark.parametrize("password", ["learner-2", "x" * 10_000, "\0", ""])
def test_the_work_is_the_same_for_all(monkeypatch, stored: str | None, password: str):
    sealed = None if stored is None else RedactedStr(stored)
    if stored == "usable":
        sealed = hash_password("learner-1")
    done: list[str] = []
    real = passwords._matches
    check_hash(password, None)

    def counted(hasher: PasswordHasher, stored: RedactedStr, text: RedactedStr) -> bool:
        done.append(str(extract_parameters(stored)))
        return real(hasher, stored, text)

    monkeypatch.setattr(passwords, "_matches", counted)
    assert check_hash(password, sealed) == (False, False)
    assert done == [str(extract_parameters(hash_password("learner-1")))]


async def test_time_tells_nothing_of_an_address(db: DatabaseEngine):
    user = await registered()
    users = UserRepository()
    await users.check_password(user.email, PASSWORD)
    took: dict[str, list[float]] = {user.email: [], "nobody@example.com": []}
    for _ in range(15):
        for email, times in took.items():
            begin = time.perf_counter()
            assert await users.check_password(email, "wrong-pass-1") is None
            times.append(time.perf_counter() - begin)
    known, unknown = (min(times) for times in took.values())
    assert 0.5 < known / unknown < 2


async def lateness(work: Any) -> float:
    """Of a timer of 5 ms, in milliseconds, at most, while the work is done."""
    late, done = 0.0, asyncio.ensure_future(work)
    while not done.done():
        begin = time.perf_counter()
        await asyncio.sleep(0.005)
        late = max(late, time.perf_counter() - begin - 0.005)
    await done
    return late * 1000


async def test_the_loop_is_never_late(clone: DatabaseEngine):
    user = await registered()
    users = UserRepository()

    async def ten() -> None:
        found = await asyncio.gather(
            *(users.check_password(user.email, PASSWORD) for _ in range(10))
        )
        assert found == [user] * 10

    await ten()
    assert min([await lateness(ten()) for _ in range(3)]) < LATE_MS


@pytest.mark.parametrize("kind", ["bcrypt", "scrypt"])
async def test_the_loop_is_not_late_for_hashes_brought_along(kind: str):
    stored = bcrypt.hashpw(b"learner-1", bcrypt.gensalt(10)).decode()
    if kind == "scrypt":
        stored = "ab" * 16 + ":" + "0" * 128

    async def ten() -> None:
        await asyncio.gather(
            *(apart(check_hash, "learner-1", RedactedStr(stored), OWASP) for _ in range(10))
        )

    assert min([await lateness(ten()) for _ in range(3)]) < LATE_MS


async def test_as_many_at_once_as_there_are_cores():
    now, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1

    await asyncio.gather(*(apart(work) for _ in range(20)))
    assert most == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("brought", ["bcrypt", "scrypt", "argon2"])
def test_rules_of_length_are_for_new_passwords(brought: str):
    password = "long-1 " * 30
    salt = "ab" * 16
    key = hashlib.scrypt(
        password.encode(), salt=salt.encode(), n=16_384, r=16, p=1, maxmem=2**26, dklen=64
    )
    stored = {
        "bcrypt": bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode(),
        "scrypt": f"{salt}:{key.hex()}",
        "argon2": PasswordHasher(time_cost=1, memory_cost=7168).hash(password),
    }[brought]
    assert check_hash(password, RedactedStr(stored)).matches


@pytest.mark.parametrize(
    "stored",
    [
        "$argon2id$v=19$m=1048576,t=64,p=1$c29tZXNhbHQ$" + "A" * 43,
        "$argon2id$v=19$m=4096,t=3,p=64$c29tZXNhbHQ$" + "A" * 43,
        "$2b$31$" + "A" * 53,
        "$2b$16$" + "A" * 53,
    ],
)
def test_hashes_that_would_take_a_minute_take_no_longer_than_others(stored: str):
    began = time.process_time()
    assert not check_hash("learner-1", RedactedStr(stored)).matches
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "stored",
    [
        bcrypt.hashpw(b"other-1", bcrypt.gensalt(4)).decode(),
        "$argon2id$v=19$m=0,t=0,p=0$c29tZXNhbHQ$" + "A" * 43,
        "$2b$\u0661\u0662$" + "A" * 53,
        None,
    ],
    ids=["bcrypt", "argon2", "digits of another script", "none"],
)
def test_a_wrong_password_costs_a_check_whatever_is_stored(stored: str | None):
    def cost(of: str | None) -> float:
        began = time.process_time()
        for _ in range(5):
            assert not check_hash("learner-1", of and RedactedStr(of)).matches
        return time.process_time() - began

    assert cost(stored) > 0.5 * cost(hash_password("learner-2"))
