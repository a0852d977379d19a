"""Comparison of two states of a table, including what Piccolo's comparison misses.

Piccolo's comparison does not see the comment of a column or the element type of an array.
"""

from typing import Any

from piccolo.apps.migrations.auto.diffable_table import DiffableTable, TableDelta
from piccolo.apps.migrations.auto.operations import AlterColumn
from piccolo.apps.migrations.auto.serialisation import serialise_params
from piccolo.columns import Column

COMMENT = "help_text"
ELEMENT = "base_column"


class ComparableTable(DiffableTable):
    """Table whose difference includes comments and the element types of arrays."""

    @classmethod
    def of(cls, table: DiffableTable) -> "ComparableTable":
        """Return a copy whose columns have their comments among the compared parameters."""
        return cls(
            class_name=table.class_name,
            tablename=table.tablename,
            schema=table.schema,
            columns=[_with_comment(column) for column in table.columns],
            constraints=table.constraints,
        )

    def __sub__(self, value: DiffableTable) -> TableDelta:
        delta = super().__sub__(value)
        known = {altered.column_name: altered for altered in delta.alter_columns}
        for before in value.columns:
            after = self.columns_map.get(before._meta.name)
            params = {} if after is None else _missed_params(before, after)
            if after is None or not params:
                continue
            altered = known.get(after._meta.name)
            if altered is None:
                altered = self._alteration(before, after)
                delta.alter_columns.append(altered)
            altered.params.update(params)
            altered.old_params.update({key: before._meta.params.get(key) for key in params})
        return delta

    def _alteration(self, before: Column, after: Column) -> AlterColumn:
        return AlterColumn(
            table_class_name=self.class_name,
            tablename=self.tablename,
            column_name=after._meta.name,
            db_column_name=after._meta.db_column_name,
            params={},
            old_params={},
            column_class=type(after),
            old_column_class=type(before),
            schema=self.schema,
        )


def _with_comment(column: Column) -> Column:
    copied = column.copy()
    params = copied._meta.params
    params.pop(COMMENT, None)
    if copied._meta.help_text:
        params[COMMENT] = copied._meta.help_text
    return copied


def _missed_params(before: Column, after: Column) -> dict[str, Any]:
    """Return the new parameters whose change Piccolo's comparison does not see."""
    old, new = before._meta.params, after._meta.params
    params: dict[str, Any] = {}
    if COMMENT in old and COMMENT not in new:
        params[COMMENT] = None
    # Piccolo compares element columns by their class alone, not by length, digits or nesting.
    if ELEMENT in old and ELEMENT in new and _written(old) != _written(new):
        params[ELEMENT] = new[ELEMENT]
    return params


def _written(params: dict[str, Any]) -> str:
    return repr(serialise_params({ELEMENT: params[ELEMENT]}).params)
