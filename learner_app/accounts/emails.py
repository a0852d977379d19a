"""E-mail addresses: one spelling of each.

White space around it, case, and Unicode's compatible forms (NFKC) do not tell two addresses apart.
Python's idea of lower case comes first and the database's last: statements say ``lower($1)``, so
that what is stored is lower case by whatever collation the database has.
"""

import unicodedata
from typing import Any

from email_validator import EmailNotValidError, validate_email

from learner_app.repository.values import is_storable

MOST_GIVEN = 1000
"""Characters that are looked at at all."""

LONGEST = 255


def normal_email(given: str) -> str:
    """The one spelling; no name server is asked.

    Raises:
        ValueError: it is no address.
    """
    if len(given) > MOST_GIVEN or not is_storable(given):
        raise ValueError("must be an e-mail address")
    try:
        found = validate_email(_folded(given), check_deliverability=False, strict=True)
        return _folded(found.normalized)
    except (EmailNotValidError, UnicodeError):
        raise ValueError("must be an e-mail address") from None


def lookup_form(given: Any) -> str | None:
    """The spelling to look for, of any text; None where nobody can have it."""
    if not isinstance(given, str) or len(given) > MOST_GIVEN or not is_storable(given):
        return None
    try:
        text = normal_email(given)
    except ValueError:  # rows brought along may have what is refused today
        text = _folded(given)
    return text if 0 < len(text) <= LONGEST else None


def _folded(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).strip()
    # letter by letter: a sigma at the end of a word would become another one than its capital
    lowered = "".join(map(str.lower, text)).replace("\u03c2", "\u03c3")
    return unicodedata.normalize("NFKC", lowered)
