"""Column names of a constraint, found in the declared tables."""

import re
from collections.abc import Iterator

from piccolo.table import TABLE_REGISTRY, Table

from learner_app.schema.objects import Check, Exclude, Index, OneOf, PrimaryKey, Unique
from learner_app.schema.objects import ForeignKeyConstraint as ForeignKey
from learner_app.schema.schema_object import SchemaObject

Columns = tuple[str, ...]

MIGRATION_MODULE = "types"
"""Module name of the table classes that Piccolo creates for the states between migrations."""

_known: dict[tuple[str, str], Columns] = {}
_tables_read = 0


def constraint_columns(table: str, constraint: str) -> Columns:
    """Return the database names of the columns of a constraint or unique index.

    Empty if no declared table has the constraint.
    """
    global _tables_read  # noqa: PLW0603  # tables may be declared later on
    if _tables_read != len(TABLE_REGISTRY):
        _tables_read = len(TABLE_REGISTRY)
        for table_class in TABLE_REGISTRY:
            if table_class.__module__ != MIGRATION_MODULE:
                name = table_class._meta.tablename
                _known.update(
                    {(name, key): columns for key, columns in _constraints_of(table_class)}
                )
    return _known.get((table, constraint), ())


def _constraints_of(table: type[Table]) -> Iterator[tuple[str, Columns]]:
    name = table._meta.tablename
    columns = tuple(column._meta.db_column_name for column in table._meta.columns)
    for column in columns:
        yield f"{name}_{column}_key", (column,)
        yield f"{name}_{column}_fkey", (column,)
        yield f"{name}_{column}_check", (column,)
    yield f"{name}_pkey", (table._meta.primary_key._meta.db_column_name,)
    for constraint in table._meta.constraints:
        if isinstance(constraint, SchemaObject):
            yield constraint.database_name, _columns_of(constraint, columns)


def _columns_of(constraint: SchemaObject, columns: Columns) -> Columns:
    match constraint:
        case PrimaryKey() | Unique() | ForeignKey():
            return tuple(constraint.params["columns"])
        case OneOf():
            return (constraint.params["column"],)
        case Check():
            return _named_in(constraint.params["condition"], columns)
        case Index():
            return _named_in(" ".join(constraint.params["on"]), columns)
        case Exclude():
            return _named_in(" ".join(key for key, _ in constraint.params["elements"]), columns)
        case _:
            return ()


def _named_in(sql: str, columns: Columns) -> Columns:
    words = set(re.findall(r"\w+", re.sub(r"'[^']*'", "", sql)))
    return tuple(column for column in columns if column in words)
