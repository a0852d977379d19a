"""Unique constraints that a table declares, as targets of ON CONFLICT."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from piccolo import constraints
from piccolo.table import Table

from learner_app.repository.inputs import invalid_field, require_list
from learner_app.repository.keys import TableKey
from learner_app.schema.objects import Index, PrimaryKey, Unique

_COLUMN = re.compile(r'(?:"([^"]+)"|([a-z_][a-z0-9_]*))(?: ASC| DESC)?(?: NULLS (?:FIRST|LAST))?')
"""Index key that is a column in any sort order; an expression does not match."""


@dataclass(frozen=True, slots=True)
class ConflictTarget:
    """Columns of a unique constraint or index."""

    names: tuple[str, ...]
    """Names of the fields, in the declared order."""

    predicate: str | None = None
    """SQL condition of a partial index."""


@cache
def declared_targets(table: type[Table]) -> list[ConflictTarget]:
    """Return the unique constraints and indexes that ON CONFLICT can use, the key first.

    Deferrable constraints and indexes on expressions are excluded.
    """
    targets: dict[tuple[str, ...], ConflictTarget] = {}
    for target in sorted(_targets(table), key=lambda one: one.predicate is not None):
        targets.setdefault(tuple(sorted(target.names)), target)
    return list(targets.values())


def find_target(table: type[Table], on: str | Sequence[str] | None) -> ConflictTarget:
    """Return the declared target with these fields in any order, or that of the key for None.

    Raises:
        InvalidValue: the table declares no unique constraint on exactly these fields.
    """
    targets = declared_targets(table)
    if on is None:
        return targets[0]
    wanted = [on] if isinstance(on, str) else require_list(on, "on", table)
    for target in targets:
        if sorted(map(str, wanted)) == sorted(target.names):
            return target
    declared = ", ".join(f"({', '.join(target.names)})" for target in targets)
    raise invalid_field(
        table, "on", f"is not a declared unique constraint; declared are {declared}"
    )


def _targets(table: type[Table]) -> Iterator[ConflictTarget]:
    key = TableKey(table)
    yield _target(table, [column._meta.db_column_name for column in key.columns])
    for column in table._meta.columns:
        if column._meta.unique:
            yield _target(table, [column._meta.db_column_name])
    for declared in table._meta.constraints:
        params = declared._meta.params
        if isinstance(declared, PrimaryKey | Unique | constraints.Unique):
            if not params.get("deferrable"):
                yield _target(table, params["columns"])
        elif isinstance(declared, Index) and params["unique"]:
            keys = [_COLUMN.fullmatch(key) for key in params["on"]]
            names = [key[1] or key[2] for key in keys if key]
            if len(names) == len(keys):
                yield _target(table, names, params["where"])


def _target(table: type[Table], columns: Sequence[str], where: str | None = None) -> ConflictTarget:
    fields = [
        table._meta.get_column_by_name(name, match_db_column_name=True)._meta.name
        for name in columns
    ]
    return ConflictTarget(tuple(fields), where)
