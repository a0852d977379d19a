"""Ids of whom preferences belong to: a user, or a listening session nobody signed in to."""

import re
from typing import Any
from uuid import UUID

from learner_app.repository.keys import TableKey

UUID_TEXT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def owner_id(given: Any) -> Any:
    """Return the text under which the owner's preferences are stored.

    A ``UUID`` and its text in any case are the same owner, stored in lower case. Other texts are
    ids of listening sessions and stay as they are.
    """
    if isinstance(given, UUID):
        return str(given)
    is_uuid = isinstance(given, str) and UUID_TEXT.fullmatch(given)
    return given.lower() if is_uuid else given


class OwnerKey(TableKey):
    """Key that accepts every form of an owner's id."""

    def params(self, key: Any) -> tuple[Any, ...] | None:
        """Return the stored id, None if the key cannot be one."""
        return super().params(owner_id(key))
