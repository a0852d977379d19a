"""Verification of imported password hashes: bcrypt, and scrypt in the form ``salt:key``."""

import hashlib
import hmac
import re
from collections.abc import Sequence

import bcrypt

from learner_app.accounts.redacted import RedactedStr

BCRYPT_PATTERN = re.compile(r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}")

BCRYPT_MAX_BYTES = 72
"""bcrypt ignores the bytes after these; newer versions of the package raise an error instead."""

MIN_BCRYPT_COST, MAX_BCRYPT_COST = 4, 14
"""Logarithm of the number of rounds; a check at cost 14 takes seconds, at cost 31 days."""

SCRYPT_PATTERN = re.compile(r"[0-9a-fA-F]{2,126}:[0-9a-fA-F]{128}")

SCRYPT_MAX_MEMORY = 64 * 2**20
"""Bytes; twice the need of the parameters below."""


def is_bcrypt(stored: str) -> bool:
    """Return whether the text is a bcrypt hash that can be verified within seconds."""
    if BCRYPT_PATTERN.fullmatch(stored) is None:
        return False
    return MIN_BCRYPT_COST <= int(stored.split("$")[2]) <= MAX_BCRYPT_COST


def is_scrypt(stored: str) -> bool:
    """Return whether the text has the form ``salt:key``, both hexadecimal."""
    return SCRYPT_PATTERN.fullmatch(stored) is not None


def matches_bcrypt(candidates: Sequence[RedactedStr], stored: RedactedStr) -> bool:
    """Return whether one of the candidates has the stored bcrypt hash."""
    return any(_has_bcrypt(candidate, stored) for candidate in candidates)


def matches_scrypt(candidates: Sequence[RedactedStr], stored: RedactedStr) -> bool:
    """Return whether one of the candidates has the stored scrypt key.

    Some programs used the hexadecimal text as the salt, others the bytes that it encodes: both are
    tried.
    """
    salt, key = map(RedactedStr, stored.split(":"))
    return any(_has_scrypt(candidate, salt, key) for candidate in candidates)


def _has_bcrypt(candidate: RedactedStr, stored: RedactedStr) -> bool:
    try:
        return bcrypt.checkpw(candidate.encode()[:BCRYPT_MAX_BYTES], stored.encode())
    except ValueError:  # the package rejects some texts that match the pattern
        return False


def _has_scrypt(candidate: RedactedStr, salt: RedactedStr, key: RedactedStr) -> bool:
    has_text = hmac.compare_digest(_scrypt(candidate, salt, is_text=True), bytes.fromhex(key))
    if has_text or len(salt) % 2:
        return has_text
    return hmac.compare_digest(_scrypt(candidate, salt, is_text=False), bytes.fromhex(key))


def _scrypt(candidate: RedactedStr, salt: RedactedStr, *, is_text: bool) -> bytes:
    return hashlib.scrypt(
        candidate.encode(),
        salt=salt.encode() if is_text else bytes.fromhex(salt),
        n=16_384,
        r=16,
        p=1,
        maxmem=SCRYPT_MAX_MEMORY,
        dklen=64,
    )
