"""Migrations that replace former ones, and count as applied where all of these are.

A migration file may set ``REPLACES`` to the ids of the former migrations of its app that it
combines. In a database with all of them it counts as applied. The next command that changes the
database verifies that the tables and objects exist and rewrites the history.
"""

from collections.abc import AsyncIterator, Collection, Iterator
from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager as PiccoloManager

from learner_app.errors import MigrationError
from learner_app.schema.ddl import set_comment, table_stub
from learner_app.schema.objects import RowLevelSecurity, Uncompressed
from learner_app.schema.schema_object import SchemaObject

REPLACES = "REPLACES"

_RELATION = "SELECT to_regclass(quote_ident(current_schema()) || '.' || quote_ident($1))::oid"

_NAMES = """
SELECT 'column', attname::text FROM pg_attribute
WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'object', conname::text FROM pg_constraint WHERE conrelid = $1
UNION ALL SELECT 'object', relname::text FROM pg_index JOIN pg_class ON oid = indexrelid
WHERE indrelid = $1
UNION ALL SELECT 'object', tgname::text FROM pg_trigger WHERE tgrelid = $1
UNION ALL SELECT 'object', polname::text FROM pg_policy WHERE polrelid = $1
UNION ALL SELECT 'uncompressed column', attname::text FROM pg_attribute
WHERE attrelid = $1 AND attstorage = 'e'
UNION ALL SELECT 'row-level security',
  CASE WHEN relforcerowsecurity THEN 'forced' ELSE 'enabled' END
FROM pg_class WHERE oid = $1 AND relrowsecurity
"""
"""Query of the kinds and names of a table's parts, with one row for enabled row-level security."""


def replaced_by(module: Any) -> frozenset[str]:
    """Return the ids of the former migrations that a migration file replaces."""
    return frozenset(getattr(module, REPLACES, ()))


def is_replacement_due(module: Any, migration_id: str, applied: Collection[str]) -> bool:
    """Return True if all migrations that this one replaces are recorded, and it is not.

    Raises:
        MigrationError: only some of them are recorded, and the files of the others no longer exist.
    """
    replaced = replaced_by(module)
    recorded = replaced.intersection(applied)
    if migration_id in applied or not recorded:
        return False
    if missing := sorted(replaced - recorded):
        raise MigrationError(
            f"migration {migration_id} replaces {', '.join(sorted(replaced))}, but {missing[0]} is "
            "not applied: migrate with the earlier version of learner_app first, or delete the "
            "data with `learner reset`"
        )
    return True


async def verify_replaced(connection: Any, migration_id: str, manager: PiccoloManager) -> None:
    """Raise MigrationError if a table, column or object of the migration does not exist.

    Only names are verified, since the recorded ids already identify the definitions.
    """
    missing = [name async for name in _missing(connection, manager)]
    if missing:
        raise MigrationError(
            f"according to the history, the migrations before {migration_id} are applied, but "
            f"the database lacks {', '.join(missing[:5])}: restore a backup, or delete the data "
            "with `learner reset`"
        )


def comment_statements(manager: PiccoloManager) -> Iterator[str]:
    """Yield the statements that set the comments of the migration's columns.

    Comments may have been reworded when the former migrations were combined.
    """
    for added in manager.add_columns.add_columns:
        table = table_stub(added.table_class_name, added.tablename, added.schema)
        meta = added.column._meta
        yield set_comment(table, meta.db_column_name, meta.help_text)


async def _missing(connection: Any, manager: PiccoloManager) -> AsyncIterator[str]:
    for table in manager.add_tables:
        name = table.tablename
        relation = await connection.fetchval(_RELATION, name)
        if relation is None:
            yield f"table {name}"
            continue
        found = {tuple(row) for row in await connection.fetch(_NAMES, relation)}
        for kind, expected in _expected(manager, table.class_name):
            if (kind, expected) not in found:
                yield f"{kind} {expected} of table {name}"


def _expected(manager: PiccoloManager, class_name: str) -> Iterator[tuple[str, str]]:
    for added in manager.add_columns.columns_for_table_class_name(class_name):
        yield "column", added._meta.db_column_name
    for declared in manager.add_constraints.constraints_for_table_class_name(class_name):
        match declared:
            case RowLevelSecurity():
                yield "row-level security", "forced" if declared.params["force"] else "enabled"
            case Uncompressed():
                yield "uncompressed column", declared.params["column"]
            case SchemaObject():
                yield "object", declared.database_name
            case _:
                yield "object", declared._meta.name
