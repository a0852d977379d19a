"""Hashes brought along from elsewhere: bcrypt, and scrypt in the form ``salt:key``."""

import hashlib
import hmac
import re
from collections.abc import Sequence

import bcrypt

from learner_app.accounts.redacted import RedactedStr

BCRYPT = re.compile(r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}")
BCRYPT_BYTES = 72
"""What is behind them never counted; newer packages refuse it instead."""

LEAST_ROUNDS, MOST_ROUNDS = 4, 14
"""As powers of two; 14 takes seconds, 31 days."""

SCRYPT = re.compile(r"[0-9a-fA-F]{2,126}:[0-9a-fA-F]{128}")
SCRYPT_MEMORY = 64 * 2**20
"""Twice what these parameters need."""


def is_bcrypt(stored: str) -> bool:
    """Whether it is a hash of bcrypt's that can be checked in seconds."""
    known = BCRYPT.fullmatch(stored)
    return known is not None and LEAST_ROUNDS <= int(stored.split("$")[2]) <= MOST_ROUNDS


def is_scrypt(stored: str) -> bool:
    """Whether it is ``salt:key`` in hexadecimal."""
    return SCRYPT.fullmatch(stored) is not None


def matches_bcrypt(forms: Sequence[RedactedStr], stored: RedactedStr) -> bool:
    """Whether one of the forms of the password has that hash."""
    return any(_has_bcrypt(form, stored) for form in forms)


def matches_scrypt(forms: Sequence[RedactedStr], stored: RedactedStr) -> bool:
    """The same; the salt is what was written, or the bytes that it stands for."""
    salt, key = map(RedactedStr, stored.split(":"))
    return any(_has_scrypt(form, salt, key) for form in forms)


def _has_bcrypt(form: RedactedStr, stored: RedactedStr) -> bool:
    try:
        return bcrypt.checkpw(form.encode()[:BCRYPT_BYTES], stored.encode())
    except ValueError:  # its own idea of what is malformed
        return False


def _has_scrypt(form: RedactedStr, salt: RedactedStr, key: RedactedStr) -> bool:
    has_text = hmac.compare_digest(_scrypt(form, salt, is_text=True), bytes.fromhex(key))
    if has_text or len(salt) % 2:
        return has_text
    return hmac.compare_digest(_scrypt(form, salt, is_text=False), bytes.fromhex(key))


def _scrypt(form: RedactedStr, salt: RedactedStr, *, is_text: bool) -> bytes:
    return hashlib.scrypt(
        form.encode(),
        salt=salt.encode() if is_text else bytes.fromhex(salt),
        n=16_384,
        r=16,
        p=1,
        maxmem=SCRYPT_MEMORY,
        dklen=64,
    )
