"""E-mail addresses: normalisation and lookup.

Two addresses are the same if they differ only in surrounding white space, case or compatible
Unicode forms (NFKC). Python lowercases first and the database last: statements use ``lower($1)``,
so that the stored text is lower case under the collation of any database.
"""

import unicodedata
from typing import Any

from email_validator import EmailNotValidError, validate_email

from learner_app.repository.values import is_storable

MAX_INPUT_LENGTH = 1000
"""Longer input is rejected unparsed, since parsing takes time."""

MAX_LENGTH = 255
"""Characters of the column."""


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
    """Return the form in which to look up any value, or None if no user can have that address."""
    if not isinstance(value, str) or len(value) > MAX_INPUT_LENGTH or not is_storable(value):
        return None
    try:
        text = normalise_email(value)
    except ValueError:  # imported users may have an address that is rejected today
        text = _fold(value)
    return text if 0 < len(text) <= MAX_LENGTH else None


def _fold(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).strip()
    # Character by character: str.lower() makes the capital sigma at the end of a word a final
    # sigma, so that an address and its capitals would not have the same lower-case form.
    lowered = "".join(map(str.lower, text)).replace("\u03c2", "\u03c3")
    return unicodedata.normalize("NFKC", lowered)
