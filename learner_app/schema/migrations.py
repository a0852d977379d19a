"""The migration manager that every migration file of this package imports.

It runs Piccolo's auto migrations with three differences: schema objects become SQL, what a change
replaces is dropped before its successor is made, and backwards is the exact mirror of forwards.
"""

from collections.abc import Sequence
from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager as PiccoloManager
from piccolo.apps.migrations.auto.operations import AlterColumn
from piccolo.constraints import Constraint
from piccolo.engine import engine_finder
from piccolo.query.base import DDL
from piccolo.query.methods.alter import Alter
from piccolo.query.methods.create import Create
from piccolo.schema import SchemaDDLBase
from piccolo.table import Table, sort_table_classes

from learner_app.errors import SchemaError
from learner_app.schema.columns import Reference
from learner_app.schema.ddl import (
    alter_table,
    bare_table,
    create_constraint,
    create_table,
    formatted,
    rename_primary_key,
)
from learner_app.schema.keys import KeyChange, key_change
from learner_app.schema.schema_object import SchemaObject, quoted, split_logical_name


class Statements(DDL):
    """SQL statements on one table, run in order and printed by ``--preview``."""

    __slots__ = ("statements",)

    def __init__(self, table: type[Table], statements: Sequence[str]) -> None:
        super().__init__(table)
        self.statements = list(statements)

    @property
    def ddl(self) -> Sequence[str]:
        return self.statements


class MigrationManager(PiccoloManager):
    """Piccolo's manager plus schema objects; ``add_raw`` functions run first, as in Piccolo."""

    _is_backwards = False

    async def run(self, backwards: bool = False) -> None:
        direction = "backwards" if backwards else "forwards"
        print(f"  - {self.migration_id} [{'preview ' * self.preview}{direction}]... ", end="")
        if not self.wrap_in_transaction:
            await self._run_steps(backwards)
            return
        engine = engine_finder()
        if engine is None:
            raise SchemaError("piccolo_conf names no engine")
        async with engine.transaction():
            await self._run_steps(backwards)

    async def _run_steps(self, backwards: bool) -> None:
        if not self.preview:
            for raw in self.raw_backwards if backwards else self.raw:
                result = raw()
                if result is not None:
                    await result
        self._is_backwards = backwards
        steps = [
            self._run_drop_constraints,
            self._run_drop_keys,
            self._run_change_table_schema,
            self._run_rename_tables,
            self._run_drop_tables,
            self._run_add_tables,
            self._run_add_columns,
            self._run_drop_columns,
            self._run_rename_columns,
            self._run_alter_columns,
            self._run_add_keys,
            self._run_add_constraints,
        ]
        for step in reversed(steps) if backwards else steps:
            await step(backwards=backwards)

    async def _run_query(self, query: Any) -> None:
        if isinstance(query, Create):
            query = Statements(query.table, create_table(query.table))
        elif isinstance(query, Alter):
            await self._complete_types(query)
            query = Statements(query.table, alter_table(query))
        if isinstance(query, Statements) and not query.statements:
            return
        if self.preview and isinstance(query, Statements | SchemaDDLBase):
            statements = query.ddl if isinstance(query, Statements) else [query.ddl]
            print("", *(f"{statement};" for statement in statements), sep="\n")
            return
        await super()._run_query(query)

    async def _complete_types(self, alter: Alter) -> None:
        """Piccolo changes a type by what differs alone: back from text, a length is missing."""
        for change in alter._set_column_type:
            table = await self._table_after(alter.table.__name__)
            name = change.old_column._meta.db_column_name
            change.new_column = table._meta.get_column_by_name(name, match_db_column_name=True)
            if change.using_expression:
                change.using_expression = f"{quoted(name)}::{change.new_column.column_type}"

    async def _run_alter_columns(self, backwards: bool = False) -> None:
        for altered in self.alter_columns.alter_columns:
            await self._fit_to_classes(altered, backwards)
        await super()._run_alter_columns(backwards=backwards)
        for altered in self.alter_columns.alter_columns:
            params = altered.old_params if backwards else altered.params
            if altered.column_class is altered.old_column_class and params.get("column_type"):
                table = bare_table(altered.table_class_name, altered.tablename, altered.schema)
                name, wanted = quoted(altered.db_column_name), params["column_type"]
                change = f"ALTER COLUMN {name} TYPE {wanted} USING {name}::{wanted}"
                statement = f"ALTER TABLE {formatted(table)} {change}"
                await self._run_query(Statements(table, [statement]))

    async def _fit_to_classes(self, altered: AlterColumn, backwards: bool) -> None:
        """Give each of the two column classes of a change the parameters that it knows."""
        if altered.column_class is altered.old_column_class:
            return
        after, before = altered.params, altered.old_params
        if backwards:
            after, before = before, after
        name = altered.column_name
        column = (await self._table_after(altered.table_class_name))._meta.get_column_by_name(name)
        for foreign in after.keys() - column._meta.params.keys():
            del after[foreign]
        sides = (
            (altered.column_class, altered.params),
            (altered.old_column_class, altered.old_params),
        )
        for class_, params in sides:
            if class_ is Reference:  # Piccolo makes one of what differs alone
                params.setdefault("references", Table)

    async def _table_after(self, class_name: str) -> type[Table]:
        """The table as it is once this run, in its direction, is done."""
        if self._is_backwards:
            return await self._table_before(class_name)
        return await self.get_table_from_snapshot(class_name, self.app_name)

    async def _run_rename_tables(self, backwards: bool = False) -> None:
        """A renamed table takes its key's name along, so that it equals one made anew."""
        for rename in self.rename_tables:
            old, new = rename.old_tablename, rename.new_tablename
            if backwards:
                old, new = new, old
            table = bare_table(rename.new_class_name, new, rename.schema)
            statement = f"ALTER TABLE {quoted(old)} RENAME TO {quoted(new)}"
            key = rename_primary_key(table, old, new)
            await self._run_query(Statements(table, [statement, key]))

    async def _run_drop_keys(self, backwards: bool = False) -> None:
        """Runs first, or last when backwards; see :func:`learner_app.schema.keys.key_change`."""
        for change in await self._key_changes():
            table = bare_table(change.class_name, change.old_tablename, None)
            statement = change.old.add_sql(table) if backwards else change.old.drop_sql(table)
            await self._run_query(Statements(table, statement))

    async def _run_add_keys(self, backwards: bool = False) -> None:
        for change in await self._key_changes():
            table = bare_table(change.class_name, change.new_tablename, None)
            statement = change.new.drop_sql(table) if backwards else change.new.add_sql(table)
            await self._run_query(Statements(table, statement))

    async def _key_changes(self) -> list[KeyChange]:
        touched = {
            *self.alter_columns.table_class_names,
            *self.add_columns.table_class_names,
            *self.drop_columns.table_class_names,
            *self.add_constraints.table_class_names,
            *self.drop_constraints.table_class_names,
        } - {table.class_name for table in self.add_tables}
        changes = []
        for class_name in sorted(touched):
            before = await self._table_before(class_name)
            after = await self.get_table_from_snapshot(class_name, self.app_name)
            renamed = {
                rename.old_db_column_name: rename.new_db_column_name
                for rename in self.rename_columns.for_table_class_name(class_name)
            }
            changes.append(key_change(class_name, before, after, renamed))
        return [change for change in changes if change is not None]

    async def _run_add_tables(self, backwards: bool = False) -> None:
        if not backwards:
            await super()._run_add_tables()
            return
        await self._drop([self._table_to_add(added.class_name) for added in self.add_tables])

    async def _run_drop_tables(self, backwards: bool = False) -> None:
        tables = [await self._table_before(dropped.class_name) for dropped in self.drop_tables]
        if not backwards:
            await self._drop(tables)
            return
        for table in sort_table_classes(tables):
            await self._run_query(table.create_table())

    async def _drop(self, tables: list[type[Table]]) -> None:
        """Drop together, so that foreign keys among them do not matter; without CASCADE."""
        if not tables:
            return
        statements: list[str] = []
        for table in tables:
            for constraint in table._meta.constraints:
                if isinstance(constraint, SchemaObject) and constraint.outlives_table:
                    statements += constraint.drop_sql(formatted(table), constraint.database_name)
        names = ", ".join(formatted(table) for table in tables)
        await self._run_query(Statements(tables[0], [*statements, f"DROP TABLE {names}"]))

    def _table_to_add(self, class_name: str) -> type[Table]:
        added = next(table for table in self.add_tables if table.class_name == class_name)
        table = bare_table(class_name, added.tablename, added.schema)
        table._meta.constraints.extend(
            self.add_constraints.constraints_for_table_class_name(class_name)
        )
        return table

    async def _run_add_constraints(self, backwards: bool = False) -> None:
        added_tables = {table.class_name for table in self.add_tables}
        for added in self.add_constraints.add_constraints:
            if added.table_class_name in added_tables:
                continue
            table = bare_table(added.table_class_name, added.tablename, added.schema)
            if backwards:
                await self._drop_constraint(table, added.constraint._meta.name)
            else:
                await self._add_constraint(table, added.constraint)

    async def _run_drop_constraints(self, backwards: bool = False) -> None:
        """Runs while every table has the name it had before; so do references to them."""
        for dropped in self.drop_constraints.drop_constraints:
            tablename = self._old_tablename(dropped.tablename)
            table = bare_table(dropped.table_class_name, tablename, dropped.schema)
            if not backwards:
                await self._drop_constraint(table, dropped.constraint_name)
                continue
            before = await self._table_before(dropped.table_class_name)
            constraint = before._meta.get_constraint_by_name(dropped.constraint_name)
            await self._add_constraint(table, constraint)

    def _old_tablename(self, name: str) -> str:
        renames = {rename.new_tablename: rename.old_tablename for rename in self.rename_tables}
        return renames.get(name, name)

    async def _run_drop_columns(self, backwards: bool = False) -> None:
        if not backwards:
            await super()._run_drop_columns()
            return
        for dropped in self.drop_columns.drop_columns:
            table = bare_table(dropped.table_class_name, dropped.tablename, dropped.schema)
            before = await self._table_before(dropped.table_class_name)
            column = before._meta.get_column_by_name(dropped.column_name)
            await self._run_query(table.alter().add_column(dropped.column_name, column))

    async def _table_before(self, class_name: str) -> type[Table]:
        """The table as the migrations before this one leave it, whatever it was called then."""
        for rename in self.rename_tables:
            if rename.new_class_name == class_name:
                class_name = rename.old_class_name
        return await self.get_table_from_snapshot(class_name, self.app_name, offset=-1)

    async def _add_constraint(self, table: type[Table], constraint: Constraint) -> None:
        await self._run_query(Statements(table, create_constraint(table, constraint)))

    async def _drop_constraint(self, table: type[Table], logical_name: str) -> None:
        ours = split_logical_name(logical_name)
        if ours is None:
            statements = [f"ALTER TABLE {formatted(table)} DROP CONSTRAINT {quoted(logical_name)}"]
        else:
            database_name, kind = ours
            statements = kind.drop_sql(formatted(table), database_name)
        await self._run_query(Statements(table, statements))
