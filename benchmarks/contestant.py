"""What a contestant of the benchmark can do; what it leaves out it does not take part in."""

from __future__ import annotations

from typing import Any

from benchmarks.database import Address


class Contestant:
    """One way to the database. Each method is one operation, as its users would write it."""

    name = ""
    packages: tuple[str, ...] = ()
    """Distributions whose versions are reported."""

    concurrent = True
    """Whether several tasks can use it at once."""

    async def start(self, address: Address) -> None:
        """Connect; a pool opens all its connections."""
        raise NotImplementedError

    async def stop(self) -> None:
        raise NotImplementedError

    async def get(self, key: int) -> object:
        """One row of ``bench_item`` by key."""
        raise NotImplementedError

    async def get_content(self, key: str) -> object:
        """One row of ``content`` by key: 12 columns, 2 kB of text."""
        raise NotImplementedError

    async def select_1(self) -> object:
        raise NotImplementedError

    async def insert(self, number: int) -> object:
        """One row into ``bench_new``, committed."""
        raise NotImplementedError

    async def transaction(self, key: int) -> object:
        """BEGIN, read a row of ``bench_item``, change it, COMMIT."""
        raise NotImplementedError

    async def checkout(self) -> object:
        """Take a connection from the pool and give it back."""
        raise NotImplementedError

    async def stream(self) -> int:
        """Read all of ``bench_item`` in constant memory, in batches of 1,000; the rows seen."""
        raise NotImplementedError

    async def typed_get(self, key: str) -> object:
        """One row of ``content`` by key, all 34 columns."""
        raise NotImplementedError

    async def typed_page(self) -> object:
        """100 rows of ``content`` with all columns, in the order of the key, behind a given key."""
        raise NotImplementedError

    async def typed_add(self, fields: dict[str, Any]) -> object:
        """One row of ``content``, committed; the row with what the database set."""
        raise NotImplementedError

    async def typed_update(self, key: str, duration: int) -> object:
        """One field of a row of ``content``, committed; the row as it is then."""
        raise NotImplementedError

    async def record_batch(self, events: list[dict[str, Any]]) -> object:
        """1,000 rows of ``behavioral_events``, committed; known ids are ignored where possible."""
        raise NotImplementedError

    def can(self, operation: str) -> bool:
        """Whether it has an operation of its own for this."""
        return getattr(type(self), operation) is not getattr(Contestant, operation)
