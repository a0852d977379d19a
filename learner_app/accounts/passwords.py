"""Password policy, hashing and verification.

New hashes are argon2id. A failed check does the work of at least one argon2id verification, also if
no hash is stored, so that its duration does not reveal which addresses are registered. It cannot
hide that the verification of an imported hash, or of one with other parameters, takes longer until
that hash is replaced at the next sign-in.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple, TypeVar

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import Argon2Error
from argon2.low_level import Type
from pydantic import SecretStr

from learner_app.accounts import legacy
from learner_app.accounts.redacted import RedactedStr, as_secret
from learner_app.repository.values import NOT_STORABLE, is_storable
from learner_app.settings import Settings

T = TypeVar("T")

MIN_LENGTH, MAX_LENGTH = 8, 128
"""Minimum and maximum characters of a new password in its NFKC form."""

MAX_INPUT_LENGTH = 4096
"""Maximum characters; longer input matches no hash and is not hashed."""

MAX_WORK, MAX_LANES = 1_048_576, 16
"""Limits of stored argon2 hashes: memory in KiB times passes, and lanes.

Verification within the limits takes at most a few seconds. If the settings make new hashes more
expensive, the limits rise to the cost of these. A hash above the limits matches no password, since
its verification could occupy a core for minutes.
"""

UNUSABLE_PREFIX = "!"
"""First character of the placeholder that is stored for users without a password."""


class Cost(NamedTuple):
    """Parameters of argon2id."""

    memory_kib: int
    passes: int
    lanes: int

    @classmethod
    def of(cls, settings: Settings) -> Cost:
        return cls(settings.password_memory_kib, settings.password_passes, settings.password_lanes)


OWASP = Cost(memory_kib=19_456, passes=2, lanes=1)
"""Parameters that OWASP's Password Storage Cheat Sheet recommends."""


class HashCheck(NamedTuple):
    """Result of comparing a password with a stored hash."""

    matches: bool
    needs_rehash: bool
    """True if the password matches a hash of another scheme or with other parameters."""


def policy_violation(password: SecretStr) -> str | None:
    """Return the first rule of the policy that a new password violates, or None."""
    if not is_storable(RedactedStr(password.get_secret_value())):
        return NOT_STORABLE
    text = _normalise(password)
    if text is None or not MIN_LENGTH <= len(text) <= MAX_LENGTH:
        return f"must have {MIN_LENGTH} to {MAX_LENGTH} characters"
    if not any(map(str.isalpha, text)) or not any(map(str.isdecimal, text)):
        return "must have at least one letter and one digit"
    return None


def hash_password(password: str | SecretStr, cost: Cost = OWASP) -> RedactedStr:
    """Return the argon2id hash of the NFKC form, with a random salt.

    Takes about 20 ms of processor time: in a coroutine, call it through :func:`in_thread`. The
    policy is not checked.

    Raises:
        ValueError: the password is empty, longer than 4,096 characters or not storable.
        MemoryError: the memory that the parameters require was not available.
    """
    password = as_secret(password)
    text = _normalise(password)
    if text is None:
        raise ValueError(f"the password must have 1 to {MAX_INPUT_LENGTH} storable characters")
    hashed = _hash(_scheme(cost).hasher, text)
    if hashed is None:
        raise MemoryError("not enough memory to hash a password: lower PASSWORD_MEMORY_KIB")
    return hashed


def check_hash(
    password: str | SecretStr, stored: RedactedStr | None, cost: Cost = OWASP
) -> HashCheck:
    """Compare a password with a stored hash. A malformed or unknown hash matches no password.

    Args:
        password: any text.
        stored: the hash; None for an unknown user, for whom the check takes the same time.
        cost: parameters of new hashes.
    """
    password = as_secret(password)
    scheme, text = _scheme(cost), _normalise(password)
    if text is not None and stored is not None:
        needs_rehash, matches = True, False
        if _is_argon2(stored, cost):
            matches = _matches(scheme.hasher, stored, text)
            needs_rehash = scheme.hasher.check_needs_rehash(stored)
        elif legacy.is_bcrypt(stored):
            matches = legacy.matches_bcrypt(_candidates(password, text), stored)
        elif legacy.is_scrypt(stored):
            matches = legacy.matches_scrypt(_candidates(password, text), stored)
        if matches or not needs_rehash:
            return HashCheck(matches, matches and needs_rehash)
    # No hash with the current parameters has been verified so far. Verify a dummy hash, so that a
    # failure takes the same time for an unknown address, a placeholder or a cheap imported hash.
    _matches(scheme.hasher, scheme.dummy_hash, text or scheme.dummy_hash)
    return HashCheck(matches=False, needs_rehash=False)


def unusable_hash() -> RedactedStr:
    """Return a placeholder that no password matches, for users without a password."""
    return RedactedStr(UNUSABLE_PREFIX + secrets.token_urlsafe(32))


async def in_thread(work: Callable[..., T], *args: object) -> T:
    """Run a function of this module in a thread pool with one thread per usable core.

    Hashing takes tens of milliseconds of processor time, which would block the event loop. argon2,
    bcrypt and scrypt release the GIL.
    """
    return await asyncio.get_running_loop().run_in_executor(_thread_pool(), work, *args)


@cache
def _thread_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_usable_cores(), thread_name_prefix="passwords")


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Scheme(NamedTuple):
    hasher: PasswordHasher
    dummy_hash: RedactedStr
    """Hash that is verified if the user has none."""


@cache
def _scheme(cost: Cost) -> _Scheme:
    hasher = PasswordHasher(
        time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=cost.lanes, type=Type.ID
    )
    return _Scheme(hasher, _hash(hasher, unusable_hash()) or unusable_hash())


def _normalise(password: SecretStr) -> RedactedStr | None:
    """Return the NFKC form, or None if no password can have this text."""
    if not 0 < len(password.get_secret_value()) <= MAX_INPUT_LENGTH:
        return None
    text = RedactedStr(unicodedata.normalize("NFKC", password.get_secret_value()))
    return text if is_storable(text) else None


def _candidates(password: SecretStr, text: RedactedStr) -> list[RedactedStr]:
    """Return the forms that another program may have hashed: NFKC and the input as typed."""
    raw = RedactedStr(password.get_secret_value())
    return [text] if raw == text else [text, raw]


def _hash(hasher: PasswordHasher, text: RedactedStr) -> RedactedStr | None:
    """Return the hash, or None if there is not enough memory.

    The error of argon2 is not raised further: its frames contain the bytes of the password.
    """
    try:
        return RedactedStr(hasher.hash(text))
    except (Argon2Error, MemoryError):
        return None


def _matches(hasher: PasswordHasher, stored: RedactedStr, text: RedactedStr) -> bool:
    try:
        return hasher.verify(stored, text)
    except (Argon2Error, MemoryError, ValueError):
        return False


def _is_argon2(stored: RedactedStr, cost: Cost) -> bool:
    """Return whether the text is an argon2 hash that can be verified within seconds."""
    try:
        found = extract_parameters(stored)
    except ValueError:
        return False
    return found.memory_cost * found.time_cost <= max(
        MAX_WORK, cost.memory_kib * cost.passes
    ) and found.parallelism <= max(MAX_LANES, cost.lanes)
