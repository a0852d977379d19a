"""The migration manager that every migration file of this package imports.

It runs Piccolo's auto migrations with these differences: it creates and drops schema objects with
the SQL that the file stores, it drops the old version of an object before it creates the new
one, and a backwards run executes the inverse steps in reverse order.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from piccolo.apps.migrations.auto.migration_manager import AddColumnClass, AddConstraintClass
from piccolo.apps.migrations.auto.migration_manager import MigrationManager as PiccoloManager
from piccolo.apps.migrations.commands.base import BaseMigrationManager
from piccolo.columns import Column
from piccolo.constraints import Constraint
from piccolo.engine import Engine
from piccolo.query.base import DDL
from piccolo.query.methods.alter import Alter
from piccolo.query.methods.create import Create
from piccolo.query.methods.drop_index import DropIndex
from piccolo.table import Table

from learner_app.errors import MigrationError, SchemaError
from learner_app.schema import column_steps, key_steps, object_steps, table_steps
from learner_app.schema.ddl import alter_table, create_table
from learner_app.schema.migration_engine import MigrationEngine, current_migration_engine
from learner_app.schema.migration_errors import run_statement
from learner_app.schema.migration_run import MigrationRun
from learner_app.schema.piccolo_hooks import configured_engine
from learner_app.schema.schema_object import SchemaObject
from learner_app.schema.snapshots import Snapshots

STEPS = (
    key_steps.drop_dependent_keys,
    object_steps.drop_objects,
    column_steps.drop_generated_columns,
    key_steps.drop_keys,
    table_steps.rename_tables,
    table_steps.drop_tables,
    table_steps.add_tables,
    column_steps.add_columns,
    column_steps.drop_columns,
    column_steps.rename_columns,
    column_steps.alter_columns,
    column_steps.add_generated_columns,
    key_steps.add_keys,
    object_steps.add_objects,
    key_steps.restore_dependent_keys,
)
"""Steps of a migration forwards. Backwards they run in reverse order, each undoing its change."""


class MigrationManager(PiccoloManager):
    """Operations of one migration.

    Functions of ``add_raw`` run first, as in Piccolo. A function with a parameter is called with
    the engine of the database that is migrated.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.engine: MigrationEngine | None = None
        """Database that is migrated; the migration runner sets it."""
        self.report: Callable[[str], None] = print
        """Receives the statements of a preview."""
        self._run: MigrationRun | None = None

    # Operations that Piccolo lacks

    def create_table(
        self,
        class_name: str,
        tablename: str,
        columns: Mapping[str, Column],
        objects: Sequence[SchemaObject] = (),
    ) -> None:
        """Declare that the migration creates a table.

        Args:
            class_name: name of the table's class.
            tablename: name in the database.
            columns: columns by their attribute names, in the order of the table.
            objects: schema objects with stored SQL.
        """
        self.add_table(class_name, tablename)
        for name, column in columns.items():
            column._meta.name = name
            self.add_columns.append(AddColumnClass(column, class_name, tablename, None))
        for declared in objects:
            self.add_object(class_name, tablename, declared)

    def add_object(self, class_name: str, tablename: str, declared: SchemaObject) -> None:
        """Declare that the migration adds a schema object with stored SQL to a table.

        Raises:
            MigrationError: the stored SQL does not match the fingerprint in the name.
        """
        self._verify(declared)
        self.add_constraints.append(AddConstraintClass(declared, class_name, tablename, None))

    def add_constraint(
        self,
        table_class_name: str,
        tablename: str,
        constraint_name: str,
        constraint_class: type[Constraint],
        params: dict[str, Any],
        schema: str | None = None,
    ) -> None:
        """Declare that the migration adds a constraint of Piccolo, which has no stored SQL.

        Raises:
            MigrationError: the constraint is a schema object, as in files of early versions.
        """
        if issubclass(constraint_class, SchemaObject):
            raise MigrationError(
                f"{self._file()}: the file stores no SQL of {constraint_name}, as early versions "
                f"wrote it: delete the migrations of app {self.app_name!r} and write them again "
                f"with `piccolo migrations new {self.app_name} --auto`"
            )
        super().add_constraint(
            table_class_name, tablename, constraint_name, constraint_class, params, schema
        )

    def _verify(self, declared: SchemaObject) -> None:
        name = declared._meta.name
        fingerprint = name.rpartition(".")[2]
        if not declared.is_stored or declared.sql.fingerprint != fingerprint:
            raise MigrationError(
                f"{self._file()}: the stored SQL of {declared.database_name} does not match its "
                f"fingerprint {fingerprint}; restore the file, and change the object on its table "
                f"with a new migration (`piccolo migrations new {self.app_name} --auto`)"
            )

    def _file(self) -> str:
        """Return the name of the migration's file."""
        config = BaseMigrationManager().get_app_config(self.app_name)
        folder = config.resolved_migrations_folder_path
        modules = BaseMigrationManager().get_migration_modules(folder)
        return Path(modules[self.migration_id].__file__ or self.migration_id).name

    # Runs

    async def run(self, backwards: bool = False) -> None:
        """Apply the migration to :attr:`engine`, by default in one transaction.

        Args:
            backwards: undo it instead.
        """
        if self.preview or not self.wrap_in_transaction:
            await self._run_steps(backwards)
            return
        async with self._engine().transaction():
            await self._run_steps(backwards)

    async def _run_steps(self, backwards: bool) -> None:
        if not self.preview:
            await self._call_functions(self.raw_backwards if backwards else self.raw)
        self._run = MigrationRun(self, backwards, self._execute, self._snapshots)
        for step in reversed(STEPS) if backwards else STEPS:
            await step(self._run)

    async def _call_functions(self, functions: Sequence[Callable[..., Any]]) -> None:
        engine = self._engine()
        configured: object = configured_engine()
        for function in functions:
            accepts_engine = _accepts_engine(function)
            is_async = inspect.iscoroutinefunction(function)
            if is_async and not accepts_engine and engine is not configured:
                name = getattr(function, "__name__", "function")
                raise MigrationError(
                    f"{name}() would act on the database of piccolo_conf instead of the one that "
                    f"is migrated: declare it as `async def {name}(engine)` and use this engine"
                )
            result = function(engine) if accepts_engine else function()
            if inspect.isawaitable(result):
                await result

    @cached_property
    def _snapshots(self) -> Snapshots:
        return Snapshots(self.app_name, self.migration_id)

    def _engine(self) -> MigrationEngine:
        return self.engine or current_migration_engine()

    async def _run_query(self, query: Any) -> None:
        """Execute a query of Piccolo's steps, all of which pass through this method."""
        if isinstance(query, Create):
            statements: Sequence[str] = create_table(query.table)
        elif isinstance(query, Alter):
            if self._run is not None:
                await column_steps.complete_types(self._run, query)
            statements = alter_table(query)
        elif isinstance(query, DDL):
            statements = query.ddl
        elif isinstance(query, DropIndex):
            statements = [str(each) for each in query.default_querystrings]
        else:
            raise SchemaError(f"a migration cannot run {type(query).__name__}")
        await self._execute(statements)

    async def _execute(self, statements: Sequence[str]) -> None:
        if self.preview and statements:
            self.report("\n".join(["", *(f"{statement};" for statement in statements)]))
            return
        for statement in statements:
            await run_statement(self._engine(), statement)

    async def get_table_from_snapshot(
        self,
        table_class_name: str,
        app_name: str | None,
        offset: int = 0,
        migration_id: str | None = None,
    ) -> type[Table]:
        """Return the table as a migration leaves it, for queries on the migrated database."""
        table = await self._snapshots.table(
            table_class_name, app_name=app_name, migration_id=migration_id, offset=offset
        )
        table._meta._db = cast("Engine[Any]", self._engine())
        return table


def _accepts_engine(function: Callable[..., Any]) -> bool:
    """Return True if the function has a required positional parameter."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return any(each.default is each.empty and each.kind in positional for each in parameters)
