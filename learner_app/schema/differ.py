"""Comparison of declared tables with the migrations so far, for ``migrations new --auto``.

Differs from Piccolo's: it sees more changes (:mod:`learner_app.schema.table_comparison`), it asks
about every possible rename instead of guessing, and it writes compact files with the SQL of schema
objects.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from itertools import groupby
from typing import Any

from piccolo.apps.migrations.auto.diffable_table import DiffableTable, TableDelta
from piccolo.apps.migrations.auto.operations import RenameColumn, RenameTable
from piccolo.apps.migrations.auto.schema_differ import (
    AlterStatements,
    RenameColumnCollection,
    RenameTableCollection,
    SchemaDiffer,
)
from piccolo.apps.migrations.auto.serialisation import Import
from piccolo.constraints import Constraint

from learner_app.errors import MigrationError
from learner_app.schema.migration_source import (
    Source,
    column_source,
    essential_params,
    import_of,
    object_source,
    value_source,
)
from learner_app.schema.schema_object import SchemaObject
from learner_app.schema.table_comparison import ComparableTable

_ANSWERS = {"y": True, "yes": True, "n": False, "no": False, "": False}
"""Accepted answers.

After any other one the question is asked again: a typing error would drop a column with its values.
"""


class Differ(SchemaDiffer):
    """Piccolo's differ with more changes, compact statements and no guessed rename."""

    def __post_init__(self) -> None:
        self.schema = [ComparableTable.of(table) for table in self.schema]
        self.schema_snapshot = [ComparableTable.of(table) for table in self.schema_snapshot]
        super().__post_init__()

    # Renames

    def check_rename_tables(self) -> RenameTableCollection:
        """Find renamed tables by an unambiguous class or table name, otherwise by a question."""
        moved = self.table_schema_changes_collection.class_names
        before, after = set(self.schema_snapshot), set(self.schema)
        removed = _sorted(table for table in before - after if table.class_name not in moved)
        new = _sorted(table for table in after - before if table.class_name not in moved)
        pairs = _unambiguous(removed, new)
        removed = [table for table in removed if table not in [old for old, _ in pairs]]
        new = [table for table in new if table not in [created for _, created in pairs]]
        renamed = RenameTableCollection([_rename_table(*pair) for pair in pairs])
        is_ambiguous = len(removed) > 1 or len(new) > 1
        for created in new:
            for old in removed:
                question = (
                    f"Did you rename {old.class_name} (tablename: {old.tablename}) to "
                    f"{created.class_name} (tablename: {created.tablename})? (y/N)"
                )
                if self._agrees(question, is_ambiguous=is_ambiguous):
                    renamed.append(_rename_table(old, created))
                    removed.remove(old)
                    break
        return renamed

    def check_renamed_columns(self) -> RenameColumnCollection:
        """Ask about every pair of a removed and an added column, also in renamed tables."""
        renamed = RenameColumnCollection()
        for table, delta in self._deltas():
            removed = list(delta.drop_columns)
            is_ambiguous = len(removed) > 1 or len(delta.add_columns) > 1
            for added in delta.add_columns:
                for old in removed:
                    question = (
                        f"Did you rename the `{old.db_column_name}` column to "
                        f"`{added.db_column_name}` on the `{table.class_name}` table? (y/N)"
                    )
                    if self._agrees(question, is_ambiguous=is_ambiguous):
                        renamed.append(_rename_column(table, old, added))
                        removed.remove(old)
                        break
        return renamed

    def _agrees(self, question: str, *, is_ambiguous: bool) -> bool:
        """Return the answer from the terminal, or from ``--auto_input`` if it is unambiguous.

        Raises:
            MigrationError: there is no terminal, ``--auto_input`` is neither y nor n, or
                ``--auto_input=y`` applies to several pairs.
        """
        if self.auto_input:
            agrees = _ANSWERS.get(self.auto_input.strip().lower())
            if agrees is None:
                raise MigrationError(
                    f"--auto_input={self.auto_input} is not an answer: pass --auto_input=y or n"
                )
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
        """Return a copy of the earlier state of a table, under its present class name."""
        old_name = self.rename_tables_collection.renamed_from(table_class_name)
        before = self.schema_snapshot_map.get(old_name or table_class_name)
        if before is None:
            return None
        renamed = copy(before)
        renamed.class_name = table_class_name
        return renamed

    def _deltas(self) -> Iterator[tuple[DiffableTable, TableDelta]]:
        """Yield the tables that exist before and after the migration, with their changes."""
        for table in self.schema:
            before = self._get_snapshot_table(table.class_name)
            if before is not None:
                yield table, table - before

    def _renamed_columns(self, table: DiffableTable) -> RenameColumnCollection:
        """Return the renames in one table, since Piccolo mixes those of all tables."""
        renames = self.rename_columns_collection.for_table_class_name(table.class_name)
        return RenameColumnCollection(renames)

    # Statements

    def get_alter_statements(self) -> list[AlterStatements]:
        """Return the statements of the migration, with the imports that they use."""
        found = super().get_alter_statements()
        definitions = {each for part in found for each in part.extra_definitions}
        written = "\n".join(
            [*(text for part in found for text in part.statements), *map(repr, definitions)]
        )
        imports = {each for part in found for each in part.extra_imports}
        whole = AlterStatements(
            [_without_schema(text) for part in found for text in part.statements],
            [*_import_lines(imports, set(re.findall(r"\w+", written)))],
            list(definitions),
        )
        return [whole] if whole.statements else []

    @property
    def create_tables(self) -> AlterStatements:
        """Statements that create tables with their columns and schema objects."""
        renamed = self.rename_tables_collection.new_class_names
        moved = self.table_schema_changes_collection.class_names
        created = set(self.schema) - set(self.schema_snapshot)
        whole = AlterStatements()
        for table in self.schema:  # in the order of the app
            if table not in created or table.class_name in (*renamed, *moved):
                continue
            whole.extend(_create_table(table).statement())
            for constraint in table.constraints:
                if not isinstance(constraint, SchemaObject):
                    whole.extend(_add_constraint(table, constraint).statement())
        return whole

    @property
    def new_table_columns(self) -> AlterStatements:
        """Nothing, because ``create_tables`` includes them."""
        return AlterStatements()

    @property
    def new_table_constraints(self) -> AlterStatements:
        """Nothing, because ``create_tables`` includes them."""
        return AlterStatements()

    @property
    def add_columns(self) -> AlterStatements:
        """Statements that add columns to existing tables."""
        whole = AlterStatements()
        for table, delta in self._deltas():
            renamed = self._renamed_columns(table).new_column_names
            for added in delta.add_columns:
                if added.column_name not in renamed:
                    whole.extend(_add_column(table, added.column_name).statement())
        return whole

    @property
    def drop_columns(self) -> AlterStatements:
        """Statements that drop columns of existing tables."""
        whole = AlterStatements()
        for table, delta in self._deltas():
            renamed = self._renamed_columns(table).old_column_names
            for dropped in delta.drop_columns:
                if dropped.column_name not in renamed:
                    source = _call(
                        "drop_column",
                        table_class_name=table.class_name,
                        tablename=table.tablename,
                        column_name=dropped.column_name,
                        db_column_name=dropped.db_column_name,
                    )
                    whole.extend(source.statement())
        return whole

    @property
    def alter_columns(self) -> AlterStatements:
        """Statements that alter columns, with the changed parameters only."""
        whole = AlterStatements()
        for table, delta in self._deltas():
            for altered in delta.alter_columns:
                source = _call(
                    "alter_column",
                    table_class_name=table.class_name,
                    tablename=table.tablename,
                    column_name=altered.column_name,
                    db_column_name=altered.db_column_name,
                    params=_params_source(altered.params),
                    old_params=_params_source(altered.old_params),
                    column_class=_class_source(altered.column_class),
                    old_column_class=_class_source(altered.old_column_class),
                )
                whole.extend(source.statement())
        return whole

    @property
    def add_constraints(self) -> AlterStatements:
        """Statements that add schema objects and constraints to existing tables."""
        whole = AlterStatements()
        for table, delta in self._deltas():
            declared = {each._meta.name: each for each in table.constraints}
            for added in delta.add_constraints:
                whole.extend(_add_object(table, declared[added.constraint_name]).statement())
        return whole


def _import_lines(imports: Iterable[Import], used: set[str]) -> Iterator[Import]:
    """Yield one line per module, with the names that the migration uses."""
    plain = {each.module for each in imports if each.target is None}
    yield from (Import(module) for module in plain if module in used)
    names = {(each.module, each.target) for each in imports if each.target in used}
    for module, group in groupby(sorted(names, key=str), key=lambda pair: pair[0]):
        yield Import(module, ", ".join(str(target) for _, target in group))


def _without_schema(statement: str) -> str:
    shorter = statement.removesuffix(", schema=None)")
    return statement if shorter == statement else f"{shorter})"


def _call(method: str, **arguments: Any) -> Source:
    if arguments.get("db_column_name") == arguments.get("column_name"):
        arguments.pop("db_column_name", None)
    sources = {
        key: value if isinstance(value, Source) else repr(value) for key, value in arguments.items()
    }
    return Source.call(f"manager.{method}", **sources)


def _create_table(table: DiffableTable) -> Source:
    columns = [(column._meta.name, column_source(column)) for column in table.columns]
    objects = [
        object_source(constraint)
        for constraint in table.constraints
        if isinstance(constraint, SchemaObject)
    ]
    arguments = {"columns": Source.mapping(columns)}
    if objects:
        arguments["objects"] = Source.sequence(objects)
    names = (repr(table.class_name), repr(table.tablename))
    return Source.call("manager.create_table", *names, **arguments)


def _add_column(table: DiffableTable, name: str) -> Source:
    column = table.columns_map[name]
    return _call(
        "add_column",
        table_class_name=table.class_name,
        tablename=table.tablename,
        column_name=name,
        column_class=_class_source(type(column)),
        params=_params_source(essential_params(column)),
    )


def _add_object(table: DiffableTable, constraint: Constraint) -> Source:
    if not isinstance(constraint, SchemaObject):
        return _add_constraint(table, constraint)
    names = (repr(table.class_name), repr(table.tablename))
    return Source.call("manager.add_object", *names, object_source(constraint))


def _add_constraint(table: DiffableTable, constraint: Constraint) -> Source:
    """Return the statement for a constraint of Piccolo, which has no stored SQL."""
    return _call(
        "add_constraint",
        table_class_name=table.class_name,
        tablename=table.tablename,
        constraint_name=constraint._meta.name,
        constraint_class=_class_source(type(constraint)),
        params=constraint._meta.params,
    )


def _class_source(cls: type | None) -> Source:
    return Source("None") if cls is None else Source(cls.__name__, [import_of(cls)])


def _params_source(params: dict[str, Any]) -> Source:
    return Source.mapping((key, value_source(key, value)) for key, value in params.items())


def _sorted(tables: Iterable[DiffableTable]) -> list[DiffableTable]:
    return sorted(tables, key=lambda table: table.class_name)


def _unambiguous(
    removed: Sequence[DiffableTable], new: Sequence[DiffableTable]
) -> list[tuple[DiffableTable, DiffableTable]]:
    """Return the pairs that share class or table name, if no other pair has one of the two."""
    alike = [
        (old, created)
        for old in removed
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
