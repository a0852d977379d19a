"""A Piccolo app whose tables change, and a table to change."""

import importlib
import sys
from collections.abc import Callable
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest
from piccolo.apps.migrations.commands.backwards import run_backwards
from piccolo.apps.migrations.commands.forwards import run_forwards
from piccolo.apps.migrations.commands.new import NoChanges, _create_new_migration
from piccolo.columns import UUID, Integer, Varchar
from piccolo.columns.base import OnDelete
from piccolo.conf.apps import AppConfig
from piccolo.table import Table

from learner_app.conf import DB
from learner_app.schema.columns import Reference
from learner_app.schema.tables import SchemaTable
from tests.catalog import read_schema

Tables = list[type[Table]]
_numbers = count(1)


class App:
    """A Piccolo app whose tables change."""

    def __init__(self, folder: Path) -> None:
        self.name = f"changing_{next(_numbers)}"
        self.config = AppConfig(self.name, str(folder), table_classes=[])

    async def migrate(self, tables: Tables, answer: str = "n") -> dict:
        """Write the migration to these tables and apply it; the schema afterwards."""
        await self.write(tables, answer)
        assert (await run_forwards(self.name)).success
        with pytest.raises(NoChanges):
            await _create_new_migration(self.config, auto=True, auto_input="n")
        return await self.schema()

    async def write(self, tables: Tables, answer: str | None = "n") -> str:
        """Write the migration to these tables; its text."""
        self.config.table_classes = tables
        meta = await _create_new_migration(self.config, auto=True, auto_input=answer)
        return Path(meta.migration_path).read_text()  # noqa: ASYNC240  # nothing else runs

    def write_by_hand(
        self, function: str, *, sql: str = "", wrap_in_transaction: bool = True
    ) -> None:
        """Write a migration that calls ``fill``, after those that exist."""
        now = datetime.now()  # noqa: DTZ005  # as Piccolo names its files
        migration_id = now.isoformat(timespec="microseconds").replace(".", ":")
        (Path(self.config.migrations_folder_path) / f"{self.name}_by_hand.py").write_text(
            "from learner_app.conf import DB\n"
            "from learner_app.schema.migrations import MigrationManager\n"
            f"ID = '{migration_id}'\nVERSION = '1'\nDESCRIPTION = ''\n"
            f"SQL = {sql!r}\n"
            "async def forwards():\n"
            f"    manager = MigrationManager(migration_id=ID, app_name='{self.name}',\n"
            f"                               wrap_in_transaction={wrap_in_transaction})\n"
            f"    {function}\n"
            "    manager.add_raw(fill)\n"
            "    return manager\n"
        )

    async def back(self, steps: str = "1") -> dict:
        assert (await run_backwards(self.name, steps, auto_agree=True)).success
        return await self.schema()

    async def schema(self) -> dict:
        connection = await DB.get_new_connection()
        try:
            schema = await read_schema(connection)
        finally:
            await connection.close()
        schema.pop("migration", None)
        return schema

    def forget_modules(self) -> None:
        """Make the next command read the migration files again."""
        for name in [each for each in sys.modules if each.startswith(f"{self.name}_")]:
            del sys.modules[name]
        importlib.invalidate_caches()


def article(**members: object) -> Tables:
    """Two tables: authors, and articles with additional members."""

    class Author(SchemaTable, Table, tablename="author"):
        id = Varchar(40, primary_key=True, default=None)

    namespace = {
        "id": Varchar(40, primary_key=True, default=None),
        "status": Varchar(20, default=None),
        "score": Integer(default=None, null=True),
        "tenant_id": UUID(default=None),
        "__module__": __name__,
    } | {key: value(Author) if callable(value) else value for key, value in members.items()}
    bases = (SchemaTable, Table)
    Article = type(Table)("Article", bases, namespace, tablename="article")
    return [Author, Article]


def reference(action: OnDelete, **options: object) -> Callable[[type[Table]], Reference]:
    return lambda author: Reference(author, "fk_article_author", action, **options)


def without_order(schema: dict) -> dict:
    """The schema with sorted columns: a column that is created again is the last one."""
    return {
        name: {**table, "columns": sorted(table["columns"], key=lambda c: c["name"])}
        for name, table in schema.items()
        if name != "functions"
    } | {"functions": schema["functions"]}


def replace_in(file: Path, old: str, new: str) -> None:
    """Edit a migration file as a careless person would."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
