"""Foreign keys that a migration keeps while it changes a type or key that they depend on.

PostgreSQL rejects a change of one side of a foreign key to an incomparable type, and the drop of a
key that a foreign key refers to. Such foreign keys are dropped first and created last.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from piccolo.apps.migrations.auto.diffable_table import DiffableTable
from piccolo.table import Table

from learner_app.schema.columns import Generated
from learner_app.schema.objects import OWN_TABLE, ForeignKeyConstraint, Index, PrimaryKey, Unique
from learner_app.schema.primary_key_change import table_key


@dataclass(frozen=True)
class ChangedTable:
    """Changes of one table in the direction of the run, as far as foreign keys depend on them."""

    name: str
    retyped: frozenset[str]
    """Columns whose type changes; a change of length or precision does not count."""
    keys: frozenset[frozenset[str]]
    """Columns of the keys that are dropped, replaced or rebuilt."""


@dataclass(frozen=True)
class KeptForeignKey:
    """Foreign key with the names of its table at the start and at the end of a run.

    ``class_name`` is the name of the table's class at the end.
    """

    class_name: str
    start_tablename: str
    end_tablename: str
    constraint: ForeignKeyConstraint


def changed_table(start: type[Table], end: type[Table]) -> ChangedTable:
    """Return the changes between two states of a table.

    Renamed columns are absent, because their foreign keys change as well.
    """
    later = {column._meta.db_column_name: column for column in end._meta.columns}
    altered = {
        column._meta.db_column_name: (column.column_type, after.column_type)
        for column in start._meta.columns
        if (after := later.get(column._meta.db_column_name)) is not None
        and column.column_type != after.column_type
        and not isinstance(after, Generated)
    }
    retyped = {
        name
        for name, (old, new) in altered.items()
        if _without_modifier(old) != _without_modifier(new)
    }
    kept = {constraint._meta.name for constraint in end._meta.constraints}
    keys = {
        columns
        for key in start._meta.constraints
        if (columns := _key_columns(key))
        and (key._meta.name not in kept or altered.keys() & _included(key))
    }
    old_key = table_key(start)
    if old_key.column and old_key != table_key(end):
        keys.add(frozenset({old_key.column}))
    return ChangedTable(start._meta.tablename, frozenset(retyped), frozenset(keys))


def dependent_foreign_keys(
    start: Iterable[DiffableTable],
    end: Iterable[DiffableTable],
    changes: Iterable[ChangedTable],
    later_class: dict[str, str],
) -> Iterator[KeptForeignKey]:
    """Yield the foreign keys that exist at both ends and depend on one of the changes.

    ``later_class`` maps class names at the start to those at the end, where they differ.
    """
    changed = {change.name: change for change in changes}
    later = {table.class_name: table for table in end}
    for table in start:
        after = later.get(later_class.get(table.class_name, table.class_name))
        if after is None:
            continue
        kept = {constraint._meta.name for constraint in after.constraints}
        for constraint in table.constraints:
            if (
                isinstance(constraint, ForeignKeyConstraint)
                and constraint._meta.name in kept
                and _depends(constraint, table.tablename, changed)
            ):
                yield KeptForeignKey(after.class_name, table.tablename, after.tablename, constraint)


def _depends(
    constraint: ForeignKeyConstraint, tablename: str, changed: dict[str, ChangedTable]
) -> bool:
    params = constraint.params
    references = params["references"]
    target = changed.get(tablename if references == OWN_TABLE else references)
    own = changed.get(tablename)
    targets = set(params["target_columns"])
    if own is not None and own.retyped & set(params["columns"]):
        return True
    return target is not None and bool(target.retyped & targets or targets in target.keys)


def _included(key: Any) -> set[str]:
    return set(key.params.get("include", ()))


def _key_columns(constraint: Any) -> frozenset[str]:
    """Return the columns of a key that a foreign key may refer to."""
    match constraint:
        case PrimaryKey() | Unique():
            return frozenset(constraint.params["columns"])
        case Index() if constraint.params["unique"] and not constraint.params["where"]:
            return frozenset(key.strip('"') for key in constraint.params["on"])
        case _:
            return frozenset()


def _without_modifier(sql_type: str) -> str:
    return re.sub(r"\s*\(.*?\)", "", sql_type).upper()
