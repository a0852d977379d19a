"""Hashing of passwords: argon2id with OWASP's parameters (19 MiB, 2 passes, 1 lane)."""

import unicodedata

from argon2 import PasswordHasher
from argon2.low_level import Type

_hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, type=Type.ID)


def hash_password(password: str) -> str:
    """Hash of the NFKC form, with a random salt; takes about 20 ms of processor time."""
    return _hasher.hash(unicodedata.normalize("NFKC", password))
