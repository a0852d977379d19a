"""Owner ids of preferences, which are ids of users or of listening sessions without a user."""

import re
from typing import Any
from uuid import UUID

UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def owner_id(key: Any) -> Any:
    """Return the text under which the owner's preferences are stored.

    A ``UUID`` and its text in upper or lower case are the same owner, stored in lower case. Any
    other text is the id of a listening session and is returned unchanged.
    """
    if isinstance(key, UUID):
        return str(key)
    is_uuid = isinstance(key, str) and UUID_TEXT.fullmatch(key)
    return key.lower() if is_uuid else key
