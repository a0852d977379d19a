"""Password policy, own and imported hashes, and hashing outside the event loop."""

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
    check_hash,
    hash_password,
    in_thread,
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
    check = check_hash(password, RedactedStr(stored), CHEAP)
    assert not check.matches or check.needs_rehash, "its parameters are not the current ones"
    return check.matches


def test_unicode_forms_of_a_password_match_the_same_hash():
    stored = hash_password(DECOMPOSED)
    assert PasswordHasher().verify(str.__str__(stored.encode().decode()), COMPOSED)
    assert check_hash(COMPOSED, stored) == check_hash(DECOMPOSED, stored) == (True, False)
    assert check_hash("\uff43aff\u00e8-1234", stored).matches


def test_hashes_are_salted_argon2id_with_the_parameters_of_owasp():
    one, other = hash_password("learner-1"), hash_password("learner-1")
    assert one != other
    found = extract_parameters(one)
    assert (found.type, found.memory_cost, found.time_cost) == (Type.ID, 19_456, 2)
    assert Cost.of(Settings()) == OWASP == (19_456, 2, 1)


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("abcdef1", "8 to 128"),
        ("a1" * 64 + "b", "8 to 128"),
        ("", "8 to 128"),
        ("a1" * 5000, "8 to 128"),
        ("abcdefgh", "at least one letter and one digit"),
        ("12345678", "at least one letter and one digit"),
        ("!!!!!!!1", "at least one letter and one digit"),
        ("abcdefg1\0", "NUL"),
        ("abcdefg1\ud800", "surrogates"),
        ("e\u0301" * 6 + "1", "8 to 128"),
        ("\ufdfa1" * 10, "8 to 128"),
    ],
)
def test_passwords_that_break_a_rule_are_reported(password: str, message: str):
    assert message in str(policy_violation(SecretStr(password)))


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
def test_passwords_that_keep_the_rules_are_accepted(password: str):
    assert policy_violation(SecretStr(password)) is None


@pytest.mark.parametrize("version", ["2a", "2b", "2y"])
def test_imported_bcrypt_hashes_match(version: str):
    stored = bcrypt.hashpw(b"learner-1", bcrypt.gensalt(4)).decode()
    stored = stored.replace("$2b$", f"${version}$")
    assert matches("learner-1", stored)
    assert not matches("learner-2", stored)


def test_bcrypt_matches_truncated_passwords_and_the_raw_input():
    long = "x1" * 40
    stored = bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode()
    assert matches(long, stored)
    assert not matches(long[:71], stored)
    for typed in (COMPOSED, DECOMPOSED):
        stored = bcrypt.hashpw(typed.encode(), bcrypt.gensalt(4)).decode()
        assert matches(typed, stored)


@pytest.mark.slow
@pytest.mark.parametrize("is_text", [True, False])
@pytest.mark.parametrize("is_upper", [True, False])
def test_imported_scrypt_hashes_match(is_text: bool, is_upper: bool):
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
def test_other_kinds_and_parameters_of_argon2_need_a_rehash(kind: Type):
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
def test_malformed_hashes_match_no_password(stored: str):
    begin = time.perf_counter()
    for password in ("learner-1", stored[:128], ""):
        assert not check_hash(password, RedactedStr(stored), CHEAP).matches
    assert time.perf_counter() - begin < 5


@settings(max_examples=examples(200), deadline=None)
@given(st.text(max_size=40), st.integers(0, len(GOOD)), st.text(max_size=5))
@pytest.mark.slow
def test_checking_any_hash_raises_no_error(password: str, at: int, put: str):
    for stored in (GOOD[:at] + put + GOOD[at + 1 :], put):
        if stored != GOOD:
            check_hash(password, RedactedStr(stored), CHEAP)


def test_the_placeholder_matches_no_password():
    stored = unusable_hash()
    assert stored != unusable_hash()
    for password in ("!", stored.encode().decode(), stored.encode().decode()[1:]):
        assert not check_hash(password, stored, CHEAP).matches


def test_hashing_an_impossible_password_raises_value_error():
    for password in ("", "\0", "x" * 4097):
        with pytest.raises(ValueError, match="1 to 4096 storable characters") as caught:
            hash_password(password)
        assert caught.value.__context__ is None


@pytest.mark.parametrize("stored", [None, "!", "plain", "usable"])
@pytest.mark.parametrize("password", ["learner-2", "x" * 10_000, "\0", ""])
def test_every_failed_check_verifies_one_hash_with_current_parameters(
    monkeypatch, stored: str | None, password: str
):
    redacted = None if stored is None else RedactedStr(stored)
    if stored == "usable":
        redacted = hash_password("learner-1")
    done: list[str] = []
    real = passwords._matches
    check_hash(password, None)

    def counted(hasher: PasswordHasher, stored: RedactedStr, text: RedactedStr) -> bool:
        done.append(str(extract_parameters(stored)))
        return real(hasher, stored, text)

    monkeypatch.setattr(passwords, "_matches", counted)
    assert check_hash(password, redacted) == (False, False)
    assert done == [str(extract_parameters(hash_password("learner-1")))]


@pytest.mark.slow
async def test_the_duration_does_not_reveal_a_registered_address(db: DatabaseEngine):
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
    """Return the maximum delay of a 5 ms timer during the work, in milliseconds."""
    late, done = 0.0, asyncio.ensure_future(work)
    while not done.done():
        begin = time.perf_counter()
        await asyncio.sleep(0.005)
        late = max(late, time.perf_counter() - begin - 0.005)
    await done
    return late * 1000


@pytest.mark.slow
async def test_hashing_does_not_block_the_event_loop(clone: DatabaseEngine):
    user = await registered()
    users = UserRepository()

    async def ten() -> None:
        found = await asyncio.gather(
            *(users.check_password(user.email, PASSWORD) for _ in range(10))
        )
        assert found == [user] * 10

    await ten()
    assert min([await lateness(ten()) for _ in range(3)]) < LATE_MS


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bcrypt", "scrypt"])
@pytest.mark.variants
async def test_imported_hashes_do_not_block_the_event_loop(kind: str):
    stored = bcrypt.hashpw(b"learner-1", bcrypt.gensalt(10)).decode()
    if kind == "scrypt":
        stored = "ab" * 16 + ":" + "0" * 128

    async def ten() -> None:
        await asyncio.gather(
            *(in_thread(check_hash, "learner-1", RedactedStr(stored), OWASP) for _ in range(10))
        )

    assert min([await lateness(ten()) for _ in range(3)]) < LATE_MS


async def test_the_thread_pool_has_one_thread_per_core():
    now, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1

    await asyncio.gather(*(in_thread(work) for _ in range(20)))
    assert most == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("imported", ["bcrypt", "scrypt", "argon2"])
def test_imported_hashes_of_longer_passwords_match(imported: str):
    password = "long-1 " * 30
    salt = "ab" * 16
    key = hashlib.scrypt(
        password.encode(), salt=salt.encode(), n=16_384, r=16, p=1, maxmem=2**26, dklen=64
    )
    stored = {
        "bcrypt": bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode(),
        "scrypt": f"{salt}:{key.hex()}",
        "argon2": PasswordHasher(time_cost=1, memory_cost=7168).hash(password),
    }[imported]
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
def test_hashes_above_the_cost_limits_are_not_verified(stored: str):
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
def test_a_failed_check_takes_the_same_work_for_any_stored_hash(stored: str | None):
    def cost(of: str | None) -> float:
        began = time.process_time()
        for _ in range(5):
            assert not check_hash("learner-1", of and RedactedStr(of)).matches
        return time.process_time() - began

    assert cost(stored) > 0.5 * cost(hash_password("learner-2"))
