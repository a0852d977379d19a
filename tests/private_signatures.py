"""Signatures of the private parts of Piccolo in use, read without importing the package.

``python -m tests.private_signatures`` prints them as JSON. It runs in a process of its own, because
importing ``learner_app.conf`` replaces some of the parts.
"""

import inspect
import json
from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.apps.migrations.auto.schema_differ import SchemaDiffer
from piccolo.apps.migrations.commands import backwards, base, check, forwards, new
from piccolo.apps.user.tables import BaseUser
from piccolo.columns import Array, ForeignKey, Varchar
from piccolo.conf.apps import AppConfig, Finder
from piccolo.constraints import Constraint
from piccolo.engine import PostgresEngine
from piccolo.engine.postgres import PostgresTransaction
from piccolo.query import Insert, Select
from piccolo.table import Table, TableMeta


class Shelf(Table, db=None):
    pass


class Book(Table, db=None):
    title = Varchar()
    shelf = ForeignKey(Shelf)


RUNS = ("add_columns", "add_tables", "alter_columns", "query", "rename_columns")
OF_PICCOLO: dict[str, Any] = {
    **{f"_run_{name}": (MigrationManager, f"_run_{name}") for name in RUNS},
    "AppConfig.get_commands": (AppConfig, "get_commands"),
    "Finder.get_engine": (Finder, "get_engine"),
    "Finder.get_piccolo_conf_module": (Finder, "get_piccolo_conf_module"),
    "TableMeta.db": (TableMeta, "db"),
    "_add": (Insert(Book).add_delegate, "_add"),
    "_committed": (PostgresTransaction, "_committed"),
    "_foreign_key_meta": (Book.shelf, "_foreign_key_meta"),
    "_get_snapshot_table": (SchemaDiffer, "_get_snapshot_table"),
    "_limit": (Select(Book, []).limit_delegate, "_limit"),
    "_min_password_length": (BaseUser, "_min_password_length"),
    "_offset": (Select(Book, []).offset_delegate, "_offset"),
    "_order_by": (Select(Book, []).order_by_delegate, "_order_by"),
    "_parent": (PostgresTransaction, "_parent"),
    "_process_results": (Select, "_process_results"),
    "_run_in_new_connection": (PostgresEngine, "_run_in_new_connection"),
    "_run_in_pool": (PostgresEngine, "_run_in_pool"),
    "_set_column_type": (Book.alter(), "_set_column_type"),
    "_set_default": (Book.alter(), "_set_default"),
    "_setup": (ForeignKey, "_setup"),
    "_setup_base_column": (Array, "_setup_base_column"),
    "_table_str": (Constraint, "_table_str"),
    "add_delegate": (Insert(Book), "add_delegate"),
    "backwards.BackwardsMigrationManager": (backwards, "BackwardsMigrationManager"),
    "base.BaseMigrationManager.create_migration_table": (
        base.BaseMigrationManager,
        "create_migration_table",
    ),
    "check.CheckMigrationManager.get_migration_statuses": (
        check.CheckMigrationManager,
        "get_migration_statuses",
    ),
    "columns_delegate": (Select(Book, []), "columns_delegate"),
    "forwards.ForwardsMigrationManager": (forwards, "ForwardsMigrationManager"),
    "limit_delegate": (Select(Book, []), "limit_delegate"),
    "new.JINJA_ENV.loader": (new.JINJA_ENV, "loader"),
    "new.SchemaDiffer": (new, "SchemaDiffer"),
    "offset_delegate": (Select(Book, []), "offset_delegate"),
    "order_by_delegate": (Select(Book, []), "order_by_delegate"),
}


def signature(owner: Any, name: str) -> str:
    found = inspect.getattr_static(owner, name)
    if inspect.isclass(found):
        return f"class{inspect.signature(found)}"
    return str(inspect.signature(found)) if callable(found) else "data"


if __name__ == "__main__":
    found = {name: signature(*place) for name, place in sorted(OF_PICCOLO.items())}
    print(json.dumps(found, indent=1))
