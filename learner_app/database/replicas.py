"""Read replicas by name, as DB_REPLICAS lists them."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Generic, Never, TypeVar

from learner_app.errors import SettingsError
from learner_app.settings import Settings

NAME = re.compile(r"[a-z][a-z0-9_]*")

E = TypeVar("E")


class _Replicas(dict[str, E], Generic[E]):
    """Engines by name, where an unknown name is a SettingsError that lists the known ones."""

    def __missing__(self, name: str) -> Never:
        known = ", ".join(self) or "none"
        raise SettingsError(f"DB_REPLICAS has no replica {name!r}, it has: {known}")


def make_replicas(settings: Settings, make: Callable[[str, str], E]) -> Mapping[str, E]:
    """Return the engines of all replicas as a read-only mapping.

    Args:
        settings: settings with DB_REPLICAS.
        make: function that returns the engine for a name and a URL.

    Raises:
        SettingsError: an entry is not ``name=postgresql://...``, or two entries have one name.
    """
    replicas: _Replicas[E] = _Replicas()
    text = settings.db_replicas.get_secret_value() if settings.db_replicas else ""
    for entry in text.split():
        name, separator, url = entry.partition("=")
        if not separator or not NAME.fullmatch(name):
            raise SettingsError(
                "DB_REPLICAS: each entry must be name=postgresql://..., where the name begins with "
                "a letter and consists of a-z, 0-9 and _"
            )
        if name in replicas:
            raise SettingsError(f"DB_REPLICAS: the name {name!r} occurs twice: rename one entry")
        replicas[name] = make(name, url)
    return MappingProxyType(replicas)
