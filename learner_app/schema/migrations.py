"""The migration manager that every migration file of this package imports.

It runs Piccolo's auto migrations with three differences: schema objects become SQL, what a change
replaces is dropped before its successor is made, and backwards is the exact mirror of forwards.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from piccolo.apps.migrations.auto.diffable_table import DiffableTable
from piccolo.apps.migrations.auto.migration_manager import (
    AddColumnCollection,
    AlterColumnCollection,
)
from piccolo.apps.migrations.auto.migration_manager import MigrationManager as PiccoloManager
from piccolo.apps.migrations.auto.operations import AlterColumn
from piccolo.apps.migrations.auto.schema_snapshot import SchemaSnapshot
from piccolo.apps.migrations.commands.base import BaseMigrationManager
from piccolo.columns import Array, Column
from piccolo.constraints import Constraint
from piccolo.engine import engine_finder
from piccolo.query.base import DDL
from piccolo.query.methods.alter import Alter
from piccolo.query.methods.create import Create
from piccolo.schema import SchemaDDLBase
from piccolo.table import Table, sort_table_classes

from learner_app.errors import SchemaError
from learner_app.schema.columns import Generated, Reference
from learner_app.schema.ddl import (
    alter_table,
    cast_type,
    change_type,
    create_constraint,
    create_table,
    formatted,
    rename_automatic_names,
    set_comment,
    table_stub,
)
from learner_app.schema.dependent_keys import (
    KeptForeignKey,
    changed_table,
    dependent_foreign_keys,
)
from learner_app.schema.generated import GeneratedChange, generated_changes
from learner_app.schema.migration_errors import run_statement
from learner_app.schema.objects import ForeignKeyConstraint, Uncompressed
from learner_app.schema.primary_key_change import KeyChange, key_change
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

    async def run(self, in_pool: bool = True) -> None:  # noqa: ARG002  # Piccolo's signature
        """Execute them.

        Raises:
            MigrationError: the server rejected one; the text has the statement and the message.
        """
        for statement in self.statements:
            await run_statement(self.table._meta.db, statement)


class MigrationManager(PiccoloManager):
    """Piccolo's manager with schema objects. ``add_raw`` functions run first, as in Piccolo."""

    _is_backwards = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._snapshots: dict[tuple[Any, ...], type[Table]] = {}

    async def run(self, backwards: bool = False) -> None:
        direction = "backwards" if backwards else "forwards"
        print(f"  - {self.migration_id} [{'preview ' * self.preview}{direction}]... ", end="")
        if self.preview or not self.wrap_in_transaction:
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
            self._run_drop_dependent_keys,
            self._run_drop_constraints,
            self._run_drop_generated,
            self._run_drop_keys,
            self._run_change_table_schema,
            self._run_rename_tables,
            self._run_drop_tables,
            self._run_add_tables,
            self._run_add_columns,
            self._run_drop_columns,
            self._run_rename_columns,
            self._run_alter_columns,
            self._run_add_generated,
            self._run_add_keys,
            self._run_add_constraints,
            self._run_add_dependent_keys,
        ]
        for step in reversed(steps) if backwards else steps:
            await step(backwards=backwards)

    async def _run_query(self, query: Any) -> None:
        if isinstance(query, Create):
            query = Statements(query.table, create_table(query.table))
        elif isinstance(query, Alter):
            await self._complete_types(query)
            query = Statements(query.table, alter_table(query))
        elif isinstance(query, DDL) and not isinstance(query, Statements):
            query = Statements(query.table, query.ddl)
        if isinstance(query, Statements) and not query.statements:
            return
        if self.preview and isinstance(query, Statements | SchemaDDLBase):
            statements = query.ddl if isinstance(query, Statements) else [query.ddl]
            print("", *(f"{statement};" for statement in statements), sep="\n")
            return
        await super()._run_query(query)

    async def get_table_from_snapshot(
        self,
        table_class_name: str,
        app_name: str | None,
        offset: int = 0,
        migration_id: str | None = None,
    ) -> type[Table]:
        """Return the table as a migration leaves it, with the altered parameters of its columns.

        Piccolo's snapshot changes the parameters of an altered column but not the column: its type
        and default remain the old ones.
        """
        key = (table_class_name, app_name, offset, migration_id)
        if key not in self._snapshots:
            table = await BaseMigrationManager().get_table_from_snapshot(
                app_name=app_name or self.app_name,
                table_class_name=table_class_name,
                max_migration_id=migration_id or self.migration_id,
                offset=offset,
            )
            table.columns = [_rebuilt(column) for column in table.columns]
            self._snapshots[key] = table.to_table_class()
        return self._snapshots[key]

    async def _table_before(self, class_name: str) -> type[Table]:
        """The table as the migrations before this one leave it, whatever it was called then."""
        return await self._snapshot_before(self._old_class_name(class_name))

    async def _snapshot_before(self, old_class_name: str) -> type[Table]:
        return await self.get_table_from_snapshot(old_class_name, self.app_name, offset=-1)

    def _old_class_name(self, name: str) -> str:
        renames = {rename.new_class_name: rename.old_class_name for rename in self.rename_tables}
        return renames.get(name, name)

    async def _table_after(self, class_name: str) -> type[Table]:
        """The table as this migration leaves it."""
        return await self.get_table_from_snapshot(class_name, self.app_name)

    async def _states(self, class_name: str) -> tuple[type[Table], type[Table]]:
        """The table at the start and at the end of this run, in its direction."""
        before, after = await self._table_before(class_name), await self._table_after(class_name)
        return (after, before) if self._is_backwards else (before, after)

    def _touched_tables(self) -> list[str]:
        """Classes of the tables that exist before and after and have other columns or objects."""
        touched = {
            *self.alter_columns.table_class_names,
            *self.add_columns.table_class_names,
            *self.drop_columns.table_class_names,
            *self.add_constraints.table_class_names,
            *self.drop_constraints.table_class_names,
        }
        return sorted(touched - {table.class_name for table in self.add_tables})

    async def _complete_types(self, alter: Alter) -> None:
        """Piccolo changes a type by what differs alone: back from text, a length is missing."""
        for change in alter._set_column_type:
            _, table = await self._states(alter.table.__name__)
            name = change.old_column._meta.db_column_name
            change.new_column = table._meta.get_column_by_name(name, match_db_column_name=True)
            if change.using_expression:
                change.using_expression = (
                    f"{quoted(name)}::{cast_type(change.new_column.column_type)}"
                )

    async def _run_alter_columns(self, backwards: bool = False) -> None:
        declared, rest = self.alter_columns, AlterColumnCollection()
        for altered in declared.alter_columns:
            remaining = await self._alter_computed_type(altered)
            if remaining is not None:
                rest.append(remaining)
                await self._fit_to_classes(remaining, backwards)
        # What is done is not removed from the declaration: a locked table makes all run again.
        self.alter_columns = rest
        try:
            await super()._run_alter_columns(backwards=backwards)
        finally:
            self.alter_columns = declared
        for altered in rest.alter_columns:
            await self._alter_reference_and_comment(altered)
        for altered in declared.alter_columns:
            await self._restore_storage(altered)

    async def _alter_computed_type(self, altered: AlterColumn) -> AlterColumn | None:
        """Change the type of an array, or between a generated and an ordinary column.

        Return what remains for Piccolo, None where the column is dropped and added anyway.
        """
        classes = [c for c in (altered.column_class, altered.old_column_class) if c]
        rest = replace(altered, params={**altered.params}, old_params={**altered.old_params})
        if not any(issubclass(class_, Array | Generated) for class_ in classes):
            return rest
        start, end = await self._states(altered.table_class_name)
        old = start._meta.get_column_by_name(altered.column_name)
        new = end._meta.get_column_by_name(altered.column_name)
        if isinstance(new, Generated):
            if any(change.new is new for change in await self._generated_changes()):
                return None
        elif type(old) is not type(new) or old.column_type != new.column_type:
            await self._run_query(Statements(end, change_type(_named(altered), old, new)))
            _forget(rest, "default", "length", "digits", "column_type")
        _forget(rest, "base_column", "expression")
        rest.column_class = rest.old_column_class = None
        return rest

    async def _alter_reference_and_comment(self, altered: AlterColumn) -> None:
        params = altered.old_params if self._is_backwards else altered.params
        table, statements = _named(altered), []
        if altered.column_class is altered.old_column_class and params.get("column_type"):
            name, wanted = quoted(altered.db_column_name), params["column_type"]
            change = f"ALTER COLUMN {name} TYPE {wanted} USING {name}::{cast_type(wanted)}"
            statements.append(f"ALTER TABLE {formatted(table)} {change}")
        if "help_text" in params:
            statements.append(set_comment(table, altered.db_column_name, params["help_text"]))
        await self._run_query(Statements(table, statements))

    async def _restore_storage(self, altered: AlterColumn) -> None:
        """Repeat the storage of an altered column: the server resets it with the type."""
        _, end = await self._states(altered.table_class_name)
        for declared in end._meta.constraints:
            if (
                isinstance(declared, Uncompressed)
                and declared.database_name == altered.db_column_name
            ):
                await self._add_constraint(_named(altered), declared)

    async def _fit_to_classes(self, altered: AlterColumn, backwards: bool) -> None:
        """Give each of the two column classes of a change the parameters that it knows."""
        if altered.column_class is altered.old_column_class:
            return
        after, before = altered.params, altered.old_params
        if backwards:
            after, before = before, after
        _, table = await self._states(altered.table_class_name)
        column = table._meta.get_column_by_name(altered.column_name)
        for foreign in after.keys() - column._meta.params.keys() - {"help_text"}:
            del after[foreign]
        sides = (
            (altered.column_class, altered.params),
            (altered.old_column_class, altered.old_params),
        )
        for class_, params in sides:
            if class_ is Reference:  # Piccolo makes one of what differs alone
                params.setdefault("references", Table)

    async def _run_rename_tables(self, backwards: bool = False) -> None:
        """Rename tables together with what is named after them, as if they were made anew."""
        for rename in self.rename_tables:
            old, new = rename.old_tablename, rename.new_tablename
            if old == new:  # the class alone
                continue
            if backwards:
                old, new = new, old
            table = table_stub(rename.new_class_name, new, rename.schema)
            statement = f"ALTER TABLE {quoted(old)} RENAME TO {quoted(new)}"
            names = rename_automatic_names(
                table,
                old=old,
                new=new,
                column=None,
                declared=await self._declared_names(rename.new_class_name),
            )
            await self._run_query(Statements(table, [statement, names]))

    async def _run_rename_columns(self, backwards: bool = False) -> None:
        """Rename columns together with the constraints and sequences that are named after them."""
        await super()._run_rename_columns(backwards=backwards)
        for rename in self.rename_columns.rename_columns:
            names = (rename.old_db_column_name, rename.new_db_column_name)
            table = table_stub(rename.table_class_name, rename.tablename, rename.schema)
            statement = rename_automatic_names(
                table,
                old=rename.tablename,
                new=rename.tablename,
                column=names[::-1] if backwards else names,
                declared=await self._declared_names(rename.table_class_name),
            )
            await self._run_query(Statements(table, [statement]))

    async def _declared_names(self, class_name: str) -> set[str]:
        return {
            constraint.database_name
            for state in await self._states(class_name)
            for constraint in state._meta.constraints
            if isinstance(constraint, SchemaObject)
        }

    async def _run_drop_keys(self, backwards: bool = False) -> None:
        """Run first, or last when backwards; see :mod:`learner_app.schema.primary_key_change`."""
        for change in await self._key_changes():
            table = table_stub(change.class_name, change.old_tablename, None)
            statement = change.old.add_sql(table) if backwards else change.old.drop_sql(table)
            await self._run_query(Statements(table, statement))

    async def _run_add_keys(self, backwards: bool = False) -> None:
        for change in await self._key_changes():
            table = table_stub(change.class_name, change.new_tablename, None)
            statement = change.new.drop_sql(table) if backwards else change.new.add_sql(table)
            await self._run_query(Statements(table, statement))

    async def _key_changes(self) -> list[KeyChange]:
        changes = []
        for class_name in self._touched_tables():
            before = await self._table_before(class_name)
            after = await self._table_after(class_name)
            changes.append(key_change(class_name, before, after, self._renamed_columns(class_name)))
        return [change for change in changes if change is not None]

    def _renamed_columns(self, class_name: str) -> dict[str, str]:
        """The new names in the database by the old ones."""
        return {
            rename.old_db_column_name: rename.new_db_column_name
            for rename in self.rename_columns.for_table_class_name(class_name)
        }

    async def _run_drop_dependent_keys(self, backwards: bool = False) -> None:
        await self._run_dependent_keys(is_start=not backwards)

    async def _run_add_dependent_keys(self, backwards: bool = False) -> None:
        await self._run_dependent_keys(is_start=backwards)

    async def _run_dependent_keys(self, *, is_start: bool) -> None:
        for key in await self._dependent_keys():
            table = table_stub(key.class_name, key.start if is_start else key.end, None)
            if is_start:
                await self._drop_constraint(table, key.constraint._meta.name)
            else:
                await self._add_constraint(table, key.constraint)

    async def _dependent_keys(self) -> list[KeptForeignKey]:
        """Return the kept foreign keys of the app that a changed type or key would block."""
        states = [await self._states(class_name) for class_name in self._touched_tables()]
        changes = [changed_table(start, end) for start, end in states]
        changes = [change for change in changes if change.retyped or change.keys]
        if not changes:
            return []
        before, after = await self._snapshot(offset=-1), await self._snapshot()
        later = {rename.old_class_name: rename.new_class_name for rename in self.rename_tables}
        if self._is_backwards:
            before, after = after, before
            later = {new: old for old, new in later.items()}
        return list(dependent_foreign_keys(before, after, changes, later))

    async def _snapshot(self, offset: int = 0) -> list[DiffableTable]:
        """Return all tables of the app as this migration or an earlier one leaves them."""
        commands = BaseMigrationManager()
        # Read anew each time: a snapshot changes the operations of the migrations it is made from.
        managers = await commands.get_migration_managers(
            commands.get_app_config(self.app_name), self.migration_id, offset
        )
        return SchemaSnapshot(managers).get_snapshot()

    async def _run_drop_generated(self, backwards: bool = False) -> None:
        await self._run_generated(is_start=not backwards)

    async def _run_add_generated(self, backwards: bool = False) -> None:
        await self._run_generated(is_start=backwards)

    async def _run_generated(self, *, is_start: bool) -> None:
        for change in await self._generated_changes():
            statements = change.drop_sql() if is_start else change.add_sql()
            await self._run_query(Statements(change.before, statements))

    async def _generated_changes(self) -> list[GeneratedChange]:
        changes: list[GeneratedChange] = []
        for class_name in self._touched_tables():
            start, end = await self._states(class_name)
            renamed = self._renamed_columns(class_name)
            if self._is_backwards:
                renamed = {new: old for old, new in renamed.items()}
            changes += generated_changes(start, end, renamed)
        return changes

    async def _run_add_tables(self, backwards: bool = False) -> None:
        if not backwards:
            await super()._run_add_tables()
            return
        await self._drop([self._table_to_add(added.class_name) for added in self.add_tables])

    async def _run_drop_tables(self, backwards: bool = False) -> None:
        tables = await self._dropped_tables()
        if not backwards:
            await self._drop(tables)
            return
        for table in sort_table_classes(tables):
            await self._run_query(table.create_table())

    async def _dropped_tables(self) -> list[type[Table]]:
        # Not _table_before(): a renamed class may have taken over the name of a dropped one.
        return [await self._snapshot_before(dropped.class_name) for dropped in self.drop_tables]

    async def _drop(self, tables: list[type[Table]]) -> None:
        """Drop tables in one statement, so that foreign keys among them do not matter."""
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
        table = table_stub(class_name, added.tablename, added.schema)
        table._meta.constraints.extend(
            self.add_constraints.constraints_for_table_class_name(class_name)
        )
        return table

    async def _run_add_constraints(self, backwards: bool = False) -> None:
        """Add objects, and foreign keys, also of new tables, after the keys that they refer to."""
        new_tables = {table.class_name for table in self.add_tables}
        added = [
            each
            for each in self.add_constraints.add_constraints
            if each.table_class_name not in new_tables or _is_foreign_key(each.constraint)
        ]
        added.sort(key=lambda each: _is_foreign_key(each.constraint), reverse=backwards)
        for each in added:
            table = table_stub(each.table_class_name, each.tablename, each.schema)
            if backwards:
                await self._drop_constraint(table, each.constraint._meta.name)
            else:
                await self._add_constraint(table, each.constraint)

    async def _run_drop_constraints(self, backwards: bool = False) -> None:
        """Drop objects, first foreign keys, while every table has its earlier name."""
        dropped = await self._dropped_constraints()
        dropped.sort(key=lambda each: _names_foreign_key(each[2]), reverse=not backwards)
        for class_name, table, name in dropped:
            if not backwards:
                await self._drop_constraint(table, name)
                continue
            before = await self._snapshot_before(class_name)
            await self._add_constraint(table, before._meta.get_constraint_by_name(name))

    async def _dropped_constraints(self) -> list[tuple[str, type[Table], str]]:
        """Return earlier class, table and name of those that the migration names.

        The foreign keys of the tables that it drops are among them.
        """
        found = []
        for dropped in self.drop_constraints.drop_constraints:
            tablename = self._old_tablename(dropped.tablename)
            table = table_stub(dropped.table_class_name, tablename, dropped.schema)
            old_class = self._old_class_name(dropped.table_class_name)
            found.append((old_class, table, dropped.constraint_name))
        for table in await self._dropped_tables():
            foreign_keys = filter(_is_foreign_key, table._meta.constraints)
            found += [(table.__name__, table, each._meta.name) for each in foreign_keys]
        return found

    def _old_tablename(self, name: str) -> str:
        renames = {rename.new_tablename: rename.old_tablename for rename in self.rename_tables}
        return renames.get(name, name)

    async def _run_add_columns(self, backwards: bool = False) -> None:
        declared = self.add_columns
        ordinary = [it for it in declared.add_columns if not isinstance(it.column, Generated)]
        self.add_columns = AddColumnCollection(ordinary)
        try:
            await super()._run_add_columns(backwards=backwards)
        finally:
            self.add_columns = declared

    async def _run_drop_columns(self, backwards: bool = False) -> None:
        for dropped in self.drop_columns.drop_columns:
            table = table_stub(dropped.table_class_name, dropped.tablename, dropped.schema)
            before = await self._table_before(dropped.table_class_name)
            if dropped.column_name in _generated_names(before):
                continue
            if not backwards:
                await self._run_query(table.alter().drop_column(dropped.db_column_name))
                continue
            column = before._meta.get_column_by_name(dropped.column_name)
            await self._run_query(table.alter().add_column(dropped.column_name, column))
            if column._meta.index:
                method = column._meta.index_method
                await self._run_query(table.create_index([column], method=method))

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


def _rebuilt(column: Column) -> Column:
    """A column of the same class made from the parameters that migrations gave it."""
    fresh = type(column)(**column._meta.params)
    fresh._meta = column._meta
    return fresh


def _named(altered: AlterColumn) -> type[Table]:
    return table_stub(altered.table_class_name, altered.tablename, altered.schema)


def _forget(altered: AlterColumn, *names: str) -> None:
    for params in (altered.params, altered.old_params):
        for name in names:
            params.pop(name, None)


def _generated_names(table: type[Table]) -> set[str]:
    return {column._meta.name for column in table._meta.columns if isinstance(column, Generated)}


def _is_foreign_key(constraint: Constraint) -> bool:
    return isinstance(constraint, ForeignKeyConstraint)


def _names_foreign_key(logical_name: str) -> bool:
    ours = split_logical_name(logical_name)
    return ours is not None and issubclass(ours[1], ForeignKeyConstraint)
