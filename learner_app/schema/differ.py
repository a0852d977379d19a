"""The comparison of declared tables with the migrations so far, for ``migrations new --auto``.

It finds changes that Piccolo's passes over (the comment of a column, the element type of an array)
and never guesses whether something was renamed: it asks, or refuses where nobody can answer.
"""

from collections.abc import Sequence
from copy import copy
from typing import Any

from piccolo.apps.migrations.auto.diffable_table import DiffableTable, TableDelta
from piccolo.apps.migrations.auto.operations import AlterColumn, RenameColumn, RenameTable
from piccolo.apps.migrations.auto.schema_differ import (
    AlterStatements,
    RenameColumnCollection,
    RenameTableCollection,
    SchemaDiffer,
)
from piccolo.apps.migrations.auto.serialisation import serialise_params
from piccolo.columns import Column

from learner_app.errors import MigrationError

COMMENT = "help_text"
ELEMENT = "base_column"
_ANSWERS = {"y": True, "yes": True, "n": False, "no": False, "": False}
"""What is neither is asked again: a typing error would drop the column and its values."""


class Differ(SchemaDiffer):
    """Piccolo's differ with comments, element types and renames without guesses."""

    def __post_init__(self) -> None:
        self.schema = [_comparable(table) for table in self.schema]
        self.schema_snapshot = [_comparable(table) for table in self.schema_snapshot]
        super().__post_init__()

    def check_rename_tables(self) -> RenameTableCollection:
        """Find renamed tables: by class or table name where only one fits, else by asking."""
        moved = self.table_schema_changes_collection.class_names
        before, after = set(self.schema_snapshot), set(self.schema)
        gone = _sorted(table for table in before - after if table.class_name not in moved)
        new = _sorted(table for table in after - before if table.class_name not in moved)
        pairs = _unambiguous(gone, new)
        gone = [table for table in gone if table not in [old for old, _ in pairs]]
        new = [table for table in new if table not in [created for _, created in pairs]]
        renamed = RenameTableCollection([_rename_table(*pair) for pair in pairs])
        is_ambiguous = len(gone) > 1 or len(new) > 1
        for created in new:
            for old in gone:
                question = (
                    f"Did you rename {old.class_name} (tablename: {old.tablename}) to "
                    f"{created.class_name} (tablename: {created.tablename})? (y/N)"
                )
                if self._agrees(question, is_ambiguous=is_ambiguous):
                    renamed.append(_rename_table(old, created))
                    gone.remove(old)
                    break
        return renamed

    def check_renamed_columns(self) -> RenameColumnCollection:
        """Ask about every pair of a removed and an added column, also in renamed tables."""
        renamed = RenameColumnCollection()
        for table in self.schema:
            before = self._get_snapshot_table(table.class_name)
            if before is None:
                continue
            delta = table - before
            gone = list(delta.drop_columns)
            is_ambiguous = len(gone) > 1 or len(delta.add_columns) > 1
            for added in delta.add_columns:
                for old in gone:
                    question = (
                        f"Did you rename the `{old.db_column_name}` column to "
                        f"`{added.db_column_name}` on the `{table.class_name}` table? (y/N)"
                    )
                    if self._agrees(question, is_ambiguous=is_ambiguous):
                        renamed.append(_rename_column(table, old, added))
                        gone.remove(old)
                        break
        return renamed

    def _agrees(self, question: str, *, is_ambiguous: bool) -> bool:
        """Return the answer of the terminal, or that of ``--auto_input`` where it is clear.

        Raises:
            MigrationError: nobody can answer, or ``y`` fits several pairs.
        """
        if self.auto_input:
            agrees = _ANSWERS.get(self.auto_input.strip().lower())
            if agrees is None:
                raise MigrationError(f"--auto_input={self.auto_input} is neither y nor n")
            if agrees and is_ambiguous:
                raise MigrationError(
                    f"{question} --auto_input=y would guess, since several names were removed or "
                    "added: answer in a terminal, or pass --auto_input=n to drop and add"
                )
            return agrees
        try:
            while (agrees := _ANSWERS.get(input(question).strip().lower())) is None:
                print("Please answer y or n.")
        except (EOFError, OSError) as error:
            raise MigrationError(
                f"{question} There is no terminal to answer: run the command in one, or pass "
                "--auto_input=n to drop and add, or y if exactly one name was removed and one added"
            ) from error
        return agrees

    def _get_snapshot_table(self, table_class_name: str) -> DiffableTable | None:
        """Return the earlier state of a table, as a copy under its present class name."""
        old_name = self.rename_tables_collection.renamed_from(table_class_name)
        before = self.schema_snapshot_map.get(old_name or table_class_name)
        if before is None:
            return None
        twin = copy(before)
        twin.class_name = table_class_name
        return twin

    @property
    def drop_columns(self) -> AlterStatements:
        return self._per_table("drop_columns")

    @property
    def add_columns(self) -> AlterStatements:
        return self._per_table("add_columns")

    def _per_table(self, name: str) -> AlterStatements:
        """Join the statements of each table.

        Piccolo would skip a column if one of that name was renamed in another table.
        """
        statements = getattr(SchemaDiffer, name).fget
        whole = AlterStatements()
        for table in self.schema:
            part = copy(self)
            part.schema = [table]
            renames = self.rename_columns_collection.for_table_class_name(table.class_name)
            part.rename_columns_collection = RenameColumnCollection(renames)
            whole.extend(statements(part))
        return whole


class _Table(DiffableTable):
    """A table whose difference includes comments and the element types of arrays."""

    def __sub__(self, value: DiffableTable) -> TableDelta:
        delta = super().__sub__(value)
        known = {altered.column_name: altered for altered in delta.alter_columns}
        for before in value.columns:
            after = self.columns_map.get(before._meta.name)
            params = {} if after is None else _overlooked(before, after)
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


def _comparable(table: DiffableTable) -> _Table:
    """Return a copy whose columns have their comments among the parameters that are compared."""
    return _Table(
        class_name=table.class_name,
        tablename=table.tablename,
        schema=table.schema,
        columns=[_with_comment(column) for column in table.columns],
        constraints=table.constraints,
    )


def _with_comment(column: Column) -> Column:
    twin = column.copy()
    params = twin._meta.params
    params.pop(COMMENT, None)
    if twin._meta.help_text:
        params[COMMENT] = twin._meta.help_text
    return twin


def _overlooked(before: Column, after: Column) -> dict[str, Any]:
    """Parameters after a change that Piccolo's comparison does not see."""
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


def _sorted(tables: Any) -> list[DiffableTable]:
    return sorted(tables, key=lambda table: table.class_name)


def _unambiguous(
    gone: Sequence[DiffableTable], new: Sequence[DiffableTable]
) -> list[tuple[DiffableTable, DiffableTable]]:
    """Pairs that share the class or the table name, where no other pair claims one of the two."""
    alike = [
        (old, created)
        for old in gone
        for created in new
        if old.class_name == created.class_name or old.tablename == created.tablename
    ]
    return [
        (old, created)
        for old, created in alike
        if sum(old in pair or created in pair for pair in alike) == 1
    ]


def _rename_table(old: DiffableTable, new: DiffableTable) -> RenameTable:
    return RenameTable(
        old_class_name=old.class_name,
        old_tablename=old.tablename,
        new_class_name=new.class_name,
        new_tablename=new.tablename,
        schema=new.schema,
    )


def _rename_column(table: DiffableTable, old: Any, new: Any) -> RenameColumn:
    return RenameColumn(
        table_class_name=table.class_name,
        # Columns are renamed after tables, and before them backwards.
        tablename=table.tablename,
        old_column_name=old.column_name,
        new_column_name=new.column_name,
        old_db_column_name=old.db_column_name,
        new_db_column_name=new.db_column_name,
        schema=table.schema,
    )
