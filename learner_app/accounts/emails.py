"""E-mail addresses: normalisation and lookup.

Two addresses are the same if they differ only in surrounding white space, case or compatible
Unicode forms (NFKC). Python converts an address to lower case, and statements apply ``lower($1)``
to the result: the rules of the database depend on its collation, and the table has the check
``email = lower(email)``.
"""

import unicodedata
from typing import Any

from email_validator import EmailNotValidError, validate_email

from learner_app.repository.values import is_storable

MAX_INPUT_LENGTH = 1000
"""Maximum characters; longer input is rejected without parsing, which takes time."""

MAX_LENGTH = 255
"""Maximum characters, as in the declaration of the column."""


def normalise_email(text: str) -> str:
    """Return the normalised address, validated without a DNS query.

    Raises:
        ValueError: the text is not an e-mail address.
    """
    if len(text) > MAX_INPUT_LENGTH or not is_storable(text):
        raise ValueError("must be an e-mail address")
    try:
        found = validate_email(_fold(text), check_deliverability=False, strict=True)
        return _fold(found.normalized)
    except (EmailNotValidError, UnicodeError):
        raise ValueError("must be an e-mail address") from None


def lookup_form(value: Any) -> str | None:
    """Return the address to look up for any input, or None if no user can have such an address."""
    if not isinstance(value, str) or len(value) > MAX_INPUT_LENGTH or not is_storable(value):
        return None
    try:
        text = normalise_email(value)
    except ValueError:  # imported users may have an address that is invalid for new users
        text = _fold(value)
    return text if 0 < len(text) <= MAX_LENGTH else None


def _fold(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).strip()
    # Character by character: str.lower() converts a capital sigma at the end of a word to a final
    # sigma. An address and its upper-case form would then have different lower-case forms.
    lowered = "".join(map(str.lower, text)).replace("\u03c2", "\u03c3")
    return unicodedata.normalize("NFKC", lowered)
