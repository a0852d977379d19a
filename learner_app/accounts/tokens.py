"""Tokens of our own: 256 random bits, given out once, known to the database by their hash only.

A plain SHA-256 is enough for them: nobody can try out 2^256 of them.
"""

import re
import secrets
from hashlib import sha256

from pydantic import SecretStr

from learner_app.accounts.redacted import RedactedStr, secret

TOKEN_BYTES = 32
SHAPE = re.compile(r"[A-Za-z0-9_-]{43}")


def new_token() -> SecretStr:
    """43 characters that are safe in a cookie and in a URL."""
    return SecretStr(secrets.token_urlsafe(TOKEN_BYTES))


def token_hash(token: str | SecretStr) -> RedactedStr | None:
    """What is stored for it; None for what cannot be a token."""
    token = secret(token)
    if not SHAPE.fullmatch(token.get_secret_value()):
        return None
    return RedactedStr(sha256(token.get_secret_value().encode()).hexdigest())
