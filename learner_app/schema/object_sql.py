"""SQL of a schema object in the form that migration files store."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

FINGERPRINT_LENGTH = 12

_TABLE_MARK = "\0"
"""Stands for the table while SQL is generated; PostgreSQL accepts NUL nowhere in a statement."""


@dataclass(frozen=True)
class ObjectSql:
    """Statements that create and drop one schema object.

    ``{table}`` is the placeholder of the quoted table name, because a later migration may rename
    the table. Other braces are doubled, as in :meth:`str.format`.
    """

    create: tuple[str, ...]
    drop: tuple[str, ...]

    @classmethod
    def generate(
        cls,
        create_sql: Callable[[str], Sequence[str]],
        drop_sql: Callable[[str], Sequence[str]],
    ) -> Self:
        """Return the SQL of two functions that accept the quoted table name."""
        return cls(_with_placeholder(create_sql), _with_placeholder(drop_sql))

    @property
    def fingerprint(self) -> str:
        """Hash of all statements, the same in every process and version."""
        text = json.dumps([self.create, self.drop])
        return sha256(text.encode()).hexdigest()[:FINGERPRINT_LENGTH]

    def create_on(self, table: str) -> list[str]:
        """Return the statements that create the object on the table of that quoted name."""
        return [statement.format(table=table) for statement in self.create]

    def drop_from(self, table: str) -> list[str]:
        """Return the statements that drop the object from the table of that quoted name."""
        return [statement.format(table=table) for statement in self.drop]


def _with_placeholder(generate: Callable[[str], Sequence[str]]) -> tuple[str, ...]:
    return tuple(
        statement.replace("{", "{{").replace("}", "}}").replace(_TABLE_MARK, "{table}")
        for statement in generate(_TABLE_MARK)
    )
