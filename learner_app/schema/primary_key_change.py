"""Changes of a table's primary key, which Piccolo's migrations pass over in silence."""

from dataclasses import dataclass

from piccolo.table import Table

from learner_app.errors import SchemaError
from learner_app.schema.objects import PrimaryKey
from learner_app.schema.schema_object import quoted


@dataclass(frozen=True)
class Key:
    """How a table is keyed: by one column, or by a :class:`PrimaryKey` that is an object itself."""

    column: str | None
    is_implicit: bool
    """Whether it is the serial ``id`` that Piccolo adds to a table without a key."""

    def drop_sql(self, table: type[Table]) -> list[str]:
        if self.column is None:
            return []
        name = quoted(f"{table._meta.tablename}_pkey")
        return [f"ALTER TABLE {_name(table)} DROP CONSTRAINT {name}"]

    def add_sql(self, table: type[Table]) -> list[str]:
        if self.column is None:
            return []
        name, column = quoted(f"{table._meta.tablename}_pkey"), quoted(self.column)
        return [f"ALTER TABLE {_name(table)} ADD CONSTRAINT {name} PRIMARY KEY ({column})"]


@dataclass(frozen=True)
class KeyChange:
    """A table that exists before and after a migration, with another key."""

    class_name: str
    old_tablename: str
    new_tablename: str
    old: Key
    new: Key


def key_change(
    class_name: str, before: type[Table], after: type[Table], renamed: dict[str, str]
) -> KeyChange | None:
    """The change of the key between two states of a table, if there is one.

    ``renamed`` has new column names by the old ones; a renamed key is still the same key.

    Raises:
        SchemaError: the serial ``id`` that Piccolo adds by itself comes or goes.
    """
    old, new = table_key(before), table_key(after)
    if renamed.get(old.column or "", old.column) == new.column and (
        old.is_implicit == new.is_implicit
    ):
        return None
    if old.is_implicit or new.is_implicit:
        raise SchemaError(
            f"{class_name}: the serial id that Piccolo adds cannot become another key, nor the "
            "other way round; declare a new table and move the rows"
        )
    return KeyChange(class_name, before._meta.tablename, after._meta.tablename, old, new)


def table_key(table: type[Table]) -> Key:
    """Return the table's key. Between migrations a composite key is a constraint only."""
    meta = table._meta
    if any(isinstance(constraint, PrimaryKey) for constraint in meta.constraints):
        return Key(column=None, is_implicit=False)
    return Key(meta.primary_key._meta.db_column_name, is_implicit=bool(meta.default_columns))


def _name(table: type[Table]) -> str:
    return table._meta.get_formatted_tablename()
