"""Generated columns that a migration creates, drops or recreates.

PostgreSQL 15 cannot change an expression, and no version can alter the type of a column that an
expression refers to. In both cases the generated column is dropped first and added last, together
with its indexes, constraints and policies that the migration leaves unchanged.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from piccolo.columns import Column
from piccolo.table import Table

from learner_app.schema.columns import Generated
from learner_app.schema.ddl import add_column, quoted_name
from learner_app.schema.objects import ForeignKeyConstraint
from learner_app.schema.schema_object import SchemaObject, quoted


@dataclass(frozen=True)
class GeneratedChange:
    """Change of a generated column between two states of its table.

    ``old`` is dropped at the start of a run and ``new`` added at its end; one of them may be None.
    """

    before: type[Table]
    after: type[Table]
    old: Column | None
    new: Generated | None

    def drop_sql(self) -> list[str]:
        """Return the statements that drop the old column and what depends on it."""
        if self.old is None:
            return []
        table = quoted_name(self.before)
        statements: list[str] = []
        for dependent in reversed(self._dependents()):
            statements += dependent.sql.drop_from(table)
        column = quoted(self.old._meta.db_column_name)
        return [*statements, f"ALTER TABLE {table} DROP COLUMN {column}"]

    def add_sql(self) -> list[str]:
        """Return the statements that add the new column and what depends on it."""
        if self.new is None:
            return []
        statements = add_column(self.after, self.new)
        for dependent in self._dependents():
            statements += dependent.sql.create_on(quoted_name(self.after))
        return statements

    def _dependents(self) -> list[SchemaObject]:
        """Return the unchanged schema objects on the column, foreign keys last."""
        if self.old is None or self.new is None:
            return []
        unchanged = {constraint._meta.name for constraint in self.before._meta.constraints}
        name = self.new._meta.db_column_name
        found = [
            constraint
            for constraint in self.after._meta.constraints
            if isinstance(constraint, SchemaObject)
            and constraint._meta.name in unchanged
            and name in _words(repr(constraint.params))
        ]
        return sorted(found, key=lambda constraint: isinstance(constraint, ForeignKeyConstraint))


def generated_changes(
    before: type[Table], after: type[Table], renamed: dict[str, str]
) -> Iterator[GeneratedChange]:
    """Yield the changes between two states of a table, in the direction of the run.

    ``renamed`` maps earlier column names to later ones.
    """
    old_columns = {
        renamed.get(column._meta.db_column_name, column._meta.db_column_name): column
        for column in before._meta.columns
    }
    new_columns = {column._meta.db_column_name: column for column in after._meta.columns}
    retyped = {
        name
        for name, column in new_columns.items()
        if name in old_columns
        and not isinstance(column, Generated)
        and old_columns[name].column_type != column.column_type
    }
    for name, old in old_columns.items():
        if isinstance(old, Generated) and name not in new_columns:
            yield GeneratedChange(before, after, old, None)
    for name, new in new_columns.items():
        if isinstance(new, Generated) and not _is_kept(old_columns.get(name), new, retyped):
            yield GeneratedChange(before, after, old_columns.get(name), new)


def _is_kept(old: Column | None, new: Generated, retyped: set[str]) -> bool:
    return (
        isinstance(old, Generated)
        and (old.expression, old.column_type) == (new.expression, new.column_type)
        and retyped.isdisjoint(_words(new.expression))
    )


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text))
