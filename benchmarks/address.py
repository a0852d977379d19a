"""Place of the benchmark database."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Address:
    """Place of the database. ``host`` is a folder for a unix socket."""

    host: str
    port: int
    user: str
    database: str

    @property
    def url(self) -> str:
        """URL in the form that libpq, asyncpg and SQLAlchemy accept for TCP and sockets."""
        return f"postgresql://{self.user}@/{self.database}?host={self.host}&port={self.port}"

    def arguments(self) -> dict[str, Any]:
        """Return the address as keyword arguments of ``asyncpg.connect``."""
        return asdict(self)
