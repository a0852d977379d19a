"""Changes of a table's primary key, which Piccolo's migrations ignore."""

from dataclasses import dataclass

from piccolo.table import Table

from learner_app.errors import SchemaError
from learner_app.schema.ddl import quoted_name
from learner_app.schema.objects import PrimaryKey
from learner_app.schema.schema_object import quoted


@dataclass(frozen=True)
class DeclaredKey:
    """Primary key of a table: one column, or None if a :class:`PrimaryKey` is declared."""

    column: str | None
    is_implicit: bool
    """True for the serial ``id`` that Piccolo adds to a table without a key."""

    def drop_sql(self, table: type[Table]) -> list[str]:
        """Return the statements that drop the key, none for a schema object."""
        if self.column is None:
            return []
        name = quoted(f"{table._meta.tablename}_pkey")
        return [f"ALTER TABLE {quoted_name(table)} DROP CONSTRAINT {name}"]

    def add_sql(self, table: type[Table]) -> list[str]:
        """Return the statements that add the key, none for a schema object."""
        if self.column is None:
            return []
        name, column = quoted(f"{table._meta.tablename}_pkey"), quoted(self.column)
        return [f"ALTER TABLE {quoted_name(table)} ADD CONSTRAINT {name} PRIMARY KEY ({column})"]


@dataclass(frozen=True)
class KeyChange:
    """Change of the key of a table that exists before and after a migration."""

    class_name: str
    old_tablename: str
    new_tablename: str
    old: DeclaredKey
    new: DeclaredKey


def key_change(
    class_name: str, before: type[Table], after: type[Table], renamed: dict[str, str]
) -> KeyChange | None:
    """Return the change of the key between two states of a table, or None.

    ``renamed`` maps old column names to new ones. Renaming a key column does not change the key.

    Raises:
        SchemaError: the serial ``id`` that Piccolo adds is added or removed.
    """
    old, new = table_key(before), table_key(after)
    if renamed.get(old.column or "", old.column) == new.column and (
        old.is_implicit == new.is_implicit
    ):
        return None
    if old.is_implicit or new.is_implicit:
        raise SchemaError(
            f"{class_name}: the serial id that Piccolo adds cannot be replaced by another key, and "
            "cannot replace one: declare a new table and copy the rows"
        )
    return KeyChange(class_name, before._meta.tablename, after._meta.tablename, old, new)


def table_key(table: type[Table]) -> DeclaredKey:
    """Return the table's key, which is a constraint if it has several columns."""
    meta = table._meta
    if any(isinstance(constraint, PrimaryKey) for constraint in meta.constraints):
        return DeclaredKey(column=None, is_implicit=False)
    return DeclaredKey(
        meta.primary_key._meta.db_column_name, is_implicit=bool(meta.default_columns)
    )
