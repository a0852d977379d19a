"""Verification of imported password hashes: bcrypt, and scrypt in the form ``salt:key``."""

import hashlib
import hmac
import re
from collections.abc import Sequence

import bcrypt

from learner_app.accounts.redacted import RedactedStr

BCRYPT_PATTERN = re.compile(r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}")

BCRYPT_MAX_BYTES = 72
"""bcrypt ignores all further bytes; newer versions of the package raise an error instead."""

MIN_BCRYPT_COST, MAX_BCRYPT_COST = 4, 14
"""Binary logarithms of the rounds: a verification takes seconds at cost 14, days at cost 31."""

SCRYPT_PATTERN = re.compile(r"[0-9a-fA-F]{2,126}:[0-9a-fA-F]{128}")

SCRYPT_MAX_MEMORY = 64 * 2**20
"""Bytes; twice what the parameters in :func:`_scrypt` need."""


def is_bcrypt(stored: str) -> bool:
    """Return whether the text is a bcrypt hash that can be verified within seconds."""
    if BCRYPT_PATTERN.fullmatch(stored) is None:
        return False
    return MIN_BCRYPT_COST <= int(stored.split("$")[2]) <= MAX_BCRYPT_COST


def is_scrypt(stored: str) -> bool:
    """Return whether the text has the form ``salt:key``, both hexadecimal."""
    return SCRYPT_PATTERN.fullmatch(stored) is not None


def matches_bcrypt(candidates: Sequence[RedactedStr], stored: RedactedStr) -> bool:
    """Return whether the stored bcrypt hash is that of one of the candidates."""
    return any(_verify_bcrypt(candidate, stored) for candidate in candidates)


def matches_scrypt(candidates: Sequence[RedactedStr], stored: RedactedStr) -> bool:
    """Return whether the stored scrypt key is that of one of the candidates.

    Some programs used the hexadecimal text as the salt, others the bytes that it encodes. Both
    salts are tried.
    """
    salt, key = map(RedactedStr, stored.split(":"))
    return any(_verify_scrypt(candidate, salt, key) for candidate in candidates)


def _verify_bcrypt(candidate: RedactedStr, stored: RedactedStr) -> bool:
    try:
        return bcrypt.checkpw(candidate.encode()[:BCRYPT_MAX_BYTES], stored.encode())
    except ValueError:  # the package rejects some texts that match the pattern
        return False


def _verify_scrypt(candidate: RedactedStr, salt: RedactedStr, key: RedactedStr) -> bool:
    matches = hmac.compare_digest(_scrypt(candidate, salt, is_text=True), bytes.fromhex(key))
    if matches or len(salt) % 2:  # an odd number of digits does not encode bytes
        return matches
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
