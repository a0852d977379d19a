"""Read replicas by name, as DB_REPLICAS lists them."""

import re
from collections.abc import Callable
from typing import Generic, Never, TypeVar

from learner_app.errors import SettingsError
from learner_app.settings import Settings

NAME = re.compile(r"[a-z][a-z0-9_]*")

E = TypeVar("E")


class Replicas(dict[str, E], Generic[E]):
    """Engines by the names of their servers; another name is a clear error."""

    def __missing__(self, name: str) -> Never:
        known = ", ".join(self) or "none"
        raise SettingsError(f"DB_REPLICAS names no {name!r}; the replicas are: {known}")


def make_replicas(settings: Settings, make: Callable[[str, str], E]) -> Replicas[E]:
    """The engines of all replicas.

    Args:
        settings: where DB_REPLICAS is.
        make: gives the engine for a name and a URL.

    Raises:
        SettingsError: an entry is not ``name=postgresql://...``, or a name comes twice.
    """
    nodes: Replicas[E] = Replicas()
    text = settings.db_replicas.get_secret_value() if settings.db_replicas else ""
    for entry in text.split():
        name, separator, url = entry.partition("=")
        if not separator or not NAME.fullmatch(name):
            raise SettingsError(
                "DB_REPLICAS: each entry is name=postgresql://..., the name of a-z, 0-9 and _"
            )
        if name in nodes:
            raise SettingsError(f"DB_REPLICAS names {name!r} twice")
        nodes[name] = make(name, url)
    return nodes
