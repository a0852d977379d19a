"""Passwords: what they must be like, and their hashes.

New hashes are argon2id. A check takes the work of one whether or not there is a hash to check
against; what cannot be hidden is how much longer one of a hash brought along, or with other
parameters, takes until it is replaced at the next sign-in.
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
from learner_app.accounts.redacted import RedactedStr, secret
from learner_app.repository.values import is_storable
from learner_app.settings import Settings

T = TypeVar("T")

SHORTEST, LONGEST = 8, 128
"""Characters of the NFKC form."""

MOST_GIVEN = 4096
"""Characters that are looked at at all."""

MOST_WORK, MOST_LANES = 1_048_576, 16
"""KiB times passes, and lanes, of stored hashes, unless new ones cost more: some seconds.

Others are taken for mistakes, so that nobody's hash keeps a core busy for a minute.
"""

UNUSABLE = "!"
"""What a hash begins with that no password has."""


class Cost(NamedTuple):
    """What a hash costs to make."""

    memory_kib: int
    passes: int
    lanes: int

    @classmethod
    def of(cls, settings: Settings) -> Cost:
        return cls(settings.password_memory_kib, settings.password_passes, settings.password_lanes)


OWASP = Cost(memory_kib=19_456, passes=2, lanes=1)


class Verdict(NamedTuple):
    """What came of a check."""

    matches: bool
    is_outdated: bool
    """Whether a new hash should be stored: another scheme, or other parameters."""


def policy_violation(password: SecretStr) -> str | None:
    """Which rule it breaks, if any."""
    if not is_storable(RedactedStr(password.get_secret_value())):
        return "must not contain NUL characters or lone surrogates"
    text = _normal(password)
    if text is None or not SHORTEST <= len(text) <= LONGEST:
        return f"must have {SHORTEST} to {LONGEST} characters"
    if not any(map(str.isalpha, text)) or not any(map(str.isdecimal, text)):
        return "must have a letter and a digit"
    return None


def hash_password(password: str | SecretStr, cost: Cost = OWASP) -> RedactedStr:
    """Hash of the NFKC form, with a random salt; takes about 20 ms of processor time.

    Raises:
        ValueError: it is empty, far too long or not storable; no rule besides is asked for.
        MemoryError: there was no memory for it.
    """
    password = secret(password)
    text = _normal(password)
    if text is None:
        raise ValueError("cannot be a password")
    made = _hashed(_scheme(cost).hasher, text)
    if made is None:
        raise MemoryError("no memory to hash a password")
    return made


def check_hash(
    password: str | SecretStr, stored: RedactedStr | None, cost: Cost = OWASP
) -> Verdict:
    """Whether the password has that hash; malformed and unknown ones no password has.

    Args:
        password: any text.
        stored: None where there is none, which takes as long.
        cost: what new hashes are made with.
    """
    password = secret(password)
    scheme, text = _scheme(cost), _normal(password)
    if text is not None and stored is not None:
        is_outdated, matches = True, False
        if _is_argon2(stored, cost):
            matches = _matches(scheme.hasher, stored, text)
            is_outdated = scheme.hasher.check_needs_rehash(stored)
        elif legacy.is_bcrypt(stored):
            matches = legacy.matches_bcrypt(_forms(password, text), stored)
        elif legacy.is_scrypt(stored):
            matches = legacy.matches_scrypt(_forms(password, text), stored)
        if matches or not is_outdated:
            return Verdict(matches, matches and is_outdated)
    _matches(scheme.hasher, scheme.stand_in, text or scheme.stand_in)
    return Verdict(matches=False, is_outdated=False)


def unusable_hash() -> RedactedStr:
    """For somebody without a password."""
    return RedactedStr(UNUSABLE + secrets.token_urlsafe(32))


async def apart(work: Callable[..., T], *args: object) -> T:
    """Work of this module beside the event loop, as many at once as there are cores."""
    return await asyncio.get_running_loop().run_in_executor(_workers(), work, *args)


@cache
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_usable_cores(), thread_name_prefix="passwords")


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Scheme(NamedTuple):
    hasher: PasswordHasher
    stand_in: RedactedStr
    """A hash to check against where there is none."""


@cache
def _scheme(cost: Cost) -> _Scheme:
    hasher = PasswordHasher(
        time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=cost.lanes, type=Type.ID
    )
    return _Scheme(hasher, _hashed(hasher, unusable_hash()) or unusable_hash())


def _normal(password: SecretStr) -> RedactedStr | None:
    """The NFKC form; None for what no password can be."""
    if not 0 < len(password.get_secret_value()) <= MOST_GIVEN:
        return None
    text = RedactedStr(unicodedata.normalize("NFKC", password.get_secret_value()))
    return text if is_storable(text) else None


def _forms(password: SecretStr, text: RedactedStr) -> list[RedactedStr]:
    """What other programs may have hashed: the NFKC form, or what was typed."""
    given = RedactedStr(password.get_secret_value())
    return [text] if given == text else [text, given]


def _hashed(hasher: PasswordHasher, text: RedactedStr) -> RedactedStr | None:
    """None without memory; the error of the package would carry frames with the plain bytes."""
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
    """Whether it is one of argon2's that can be checked in seconds."""
    try:
        found = extract_parameters(stored)
    except ValueError:
        return False
    return found.memory_cost * found.time_cost <= max(
        MOST_WORK, cost.memory_kib * cost.passes
    ) and found.parallelism <= max(MOST_LANES, cost.lanes)
