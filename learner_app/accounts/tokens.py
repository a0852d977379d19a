"""Session tokens and verification codes: 256 random bits, stored as a hash only.

SHA-256 without a salt or a work factor is enough here, unlike for passwords: 2^256 values cannot be
enumerated. Without a salt, the hash of a token can be looked up by an index.
"""

import re
import secrets
from hashlib import sha256

from pydantic import SecretStr

from learner_app.accounts.redacted import RedactedStr, as_secret

TOKEN_BYTES = 32
TOKEN_PATTERN = re.compile(r"[A-Za-z0-9_-]{43}")


def new_token() -> SecretStr:
    """Return a random token of 43 characters that needs no escaping in cookies and URLs."""
    return SecretStr(secrets.token_urlsafe(TOKEN_BYTES))


def token_hash(token: str | SecretStr | None) -> RedactedStr | None:
    """Return the hash under which a token is stored, or None if the value cannot be a token."""
    token = as_secret(token)
    if not TOKEN_PATTERN.fullmatch(token.get_secret_value()):
        return None
    return RedactedStr(sha256(token.get_secret_value().encode()).hexdigest())
