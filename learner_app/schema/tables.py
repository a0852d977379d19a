"""Mixin of tables with schema objects: ``class X(SchemaTable, Table, tablename="x")``."""

from collections.abc import Sequence
from functools import reduce
from operator import and_
from typing import Any, NamedTuple, cast

from piccolo.columns import Column
from piccolo.columns.combination import And, Where
from piccolo.table import Table

from learner_app.errors import SchemaError
from learner_app.schema.columns import Generated
from learner_app.schema.objects import PrimaryKey
from learner_app.schema.schema_object import SchemaObject

__all__ = [
    "CompositeKey",
    "SchemaTable",
]

ROW_KEY = "row_key"


class SchemaTable:
    """Mixin that copies the schema objects of mixins for the table and sets up a composite key.

    It is not a ``Table``: subclasses of a table class would inherit its ``id``.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if not issubclass(cls, Table):
            super().__init_subclass__(**kwargs)
            _name_columns(cls)
            return
        tablename = kwargs.get("tablename")
        if not tablename:
            raise SchemaError(f"{cls.__name__}: add tablename=, the name of the table")
        if kwargs.get("schema"):
            raise SchemaError(
                f"{cls.__name__}: remove schema=, tables belong to the connection's schema"
            )
        for name, inherited in _inherited_objects(cls).items():
            setattr(cls, name, inherited.for_table(tablename))
        super().__init_subclass__(**kwargs)
        for constraint in cls._meta.constraints:
            if isinstance(constraint, PrimaryKey):
                _install_composite_key(cls, constraint)

    def save(self, columns: Sequence[Column | str] | None = None) -> Any:
        """Insert or update the row as in Piccolo, but write no generated column."""
        declared: list[Column] = self._meta.columns  # type: ignore[attr-defined]  # the class is a Table
        if columns is None and any(isinstance(column, Generated) for column in declared):
            columns = [
                column
                for column in declared
                if not column._meta.primary_key and not isinstance(column, Generated)
            ]
        return super().save(columns)  # type: ignore[misc]  # the same


def _name_columns(mixin: type) -> None:
    """Set the names of a mixin's columns, to which its schema objects refer.

    A table may replace such a column by another one of the same name.
    """
    for name, value in vars(mixin).items():
        if isinstance(value, Column):
            value._meta.name = name


def _inherited_objects(table: type) -> dict[str, SchemaObject]:
    return {
        name: value
        for base in reversed(table.__mro__[1:])
        for name, value in vars(base).items()
        if isinstance(value, SchemaObject)
    }


def _install_composite_key(table: type[Table], declared: PrimaryKey) -> None:
    """Replace the serial ``id`` that Piccolo adds by a key of several columns."""
    meta = table._meta
    if meta.default_columns:
        serial = meta.default_columns.pop()
        meta.columns.remove(serial)
        delattr(table, serial._meta.name)
    names = declared.params["columns"]
    columns = [meta.get_column_by_name(name, match_db_column_name=True) for name in names]
    meta.primary_key = CompositeKey(table, columns)
    setattr(table, ROW_KEY, property(meta.primary_key.of_row, _ignore))


def _ignore(_row: Table, _value: object) -> None:
    """Ignore the key that Piccolo assigns after an insert, because it follows from the columns."""


class CompositeKey(Column):
    """Value of ``_meta.primary_key`` for a key of several columns, compared column by column.

    With it, ``save``, ``remove``, ``refresh`` and ``get`` affect exactly one row. It is not a
    column of the table: no query selects or writes it as a column.
    """

    def __init__(self, table: type[Table], columns: list[Column]) -> None:
        super().__init__(primary_key=True)
        self._meta.name = ROW_KEY
        self._meta._table = table
        # Piccolo adds the outer quotes: RETURNING "content_id", "session_id"
        self._meta.db_column_name = '", "'.join(c._meta.db_column_name for c in columns)
        self.columns = columns
        self.key_type = cast(
            "type[tuple[Any, ...]]",
            NamedTuple(f"{table.__name__}Key", [(c._meta.name, Any) for c in columns]),
        )

    def of_row(self, row: Table) -> tuple[Any, ...] | None:
        """Return the key of a row as a named tuple, or None if a part of it is missing."""
        values = [getattr(row, column._meta.name) for column in self.columns]
        return None if None in values else self.key_type(*values)

    def __eq__(self, value: object) -> And | Where:  # type: ignore[override]  # as in Piccolo's columns
        if not isinstance(value, tuple) or len(value) != len(self.columns):
            raise ValueError(f"the key is a tuple of {[c._meta.name for c in self.columns]}")
        pairs = zip(self.columns, value, strict=True)
        condition: And | Where = reduce(and_, (column == part for column, part in pairs))
        return condition

    __hash__ = Column.__hash__
