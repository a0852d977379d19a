"""Columns and defaults that Piccolo lacks, or whose SQL has to differ from Piccolo's."""

import ipaddress
from typing import Any

from piccolo.columns import Array, Column, ForeignKey
from piccolo.columns.base import OnDelete
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.querystring import QueryString
from piccolo.table import Table

from learner_app.schema.objects import Deferrable, ForeignKeyConstraint
from learner_app.schema.schema_object import quoted

__all__ = [
    "Generated",
    "Inet",
    "Now",
    "Reference",
]


class Now(TimestamptzNow):
    """Default ``now()``, where Piccolo's own writes CURRENT_TIMESTAMP into the catalog."""

    @property
    def postgres(self) -> str:
        return "now()"


class Inet(Column):
    """Column of IPv4 and IPv6 addresses with an optional network prefix."""

    value_type: Any = (
        ipaddress.IPv4Address
        | ipaddress.IPv6Address
        | ipaddress.IPv4Interface
        | ipaddress.IPv6Interface
    )

    def __init__(self, default: str | None = None, **kwargs: Any) -> None:
        self.default = default
        super().__init__(default=default, **kwargs)


class Reference(ForeignKey[Any]):
    """Foreign key column whose constraint is a schema object with a name of its own.

    Differs from Piccolo's ``ForeignKey``: the declaration names the constraint, the column is NOT
    NULL by default, the default actions are NO ACTION, and a changed action reaches the database.

    Args:
        references: the referenced table, whose primary key determines the type of the column.
        constraint: name of the constraint. Only migration files pass None, because they list the
            constraint among the schema objects.
        on_delete: action when the referenced row is deleted.
        null: allow NULL.
        default: default of the column.
        column_type: SQL type of the referenced key, passed by migration files only.
        deferrable: initial mode; not deferrable if omitted.
    """

    def __init__(
        self,
        references: type[Table],
        constraint: str | None = None,
        on_delete: OnDelete = OnDelete.no_action,
        null: bool = False,
        default: Any = None,
        column_type: str | None = None,
        deferrable: Deferrable | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(references=references, default=default, null=null, **kwargs)
        for action in ("on_delete", "on_update"):
            self._meta.params.pop(action)
        self._meta.params["column_type"] = self._stored_type = column_type
        self._constraint_name = constraint
        self._on_delete = on_delete
        self._deferrable = deferrable

    def _setup(self, table_class: type[Table]) -> Any:
        """Add the constraint to the table, after Piccolo has set up its columns."""
        response = super()._setup(table_class)
        # The type is a parameter, so that auto migrations see when the type of the key changes.
        self._meta.params["column_type"] = self.column_type
        if self._constraint_name:
            target = self._foreign_key_meta.resolved_references
            constraint = ForeignKeyConstraint(
                columns=[self],
                references=target._meta.tablename,
                target_columns=[target._meta.primary_key._meta.db_column_name],
                on_delete=self._on_delete,
                deferrable=self._deferrable,
                name=self._constraint_name.format(table=table_class._meta.tablename),
            )
            constraint._meta.name = constraint.database_name
            table_class._meta.constraints.append(constraint)
        return response

    @property
    def column_type(self) -> str:
        """SQL type of the referenced key, in a migration the type at the time of the migration."""
        return self._stored_type or str(super().column_type)

    @property
    def ddl(self) -> str:
        key = " PRIMARY KEY" if self._meta.primary_key else ""
        nullable = "" if self._meta.null else " NOT NULL"
        return f"{quoted(self._meta.db_column_name)} {self.column_type}{key}{nullable}"


class Generated(Column):
    """Column that the server computes: ``GENERATED ALWAYS AS (…) STORED``.

    Piccolo's inserts send DEFAULT for it, and ``save()`` of a :class:`~learner_app.schema.tables.
    SchemaTable` leaves it out; a row object has the value after ``refresh()``. A migration that
    changes type or expression drops and adds the column, with its indexes and constraints.

    Args:
        base_column: the type, such as ``Varchar(80)``.
        expression: immutable SQL on other columns of the row, none of them generated.
        kwargs: options of every column except ``default``.
    """

    def __init__(self, base_column: Column, expression: str, **kwargs: Any) -> None:
        kwargs.pop("default", None)
        base_column._meta._name = type(base_column).__name__
        self.base_column = base_column
        self.expression = expression
        self.value_type = base_column.value_type
        super().__init__(base_column=base_column, expression=expression, **kwargs)

    def default(self) -> QueryString:
        """Return DEFAULT for Piccolo's INSERT, the only value that the server accepts."""
        return QueryString("DEFAULT")

    @property
    def column_type(self) -> str:
        self.base_column._meta._table = self._meta.table
        if isinstance(self.base_column, Array):
            self.base_column._setup_base_column(self._meta.table)
        return str(self.base_column.column_type)

    @property
    def ddl(self) -> str:
        unique = " UNIQUE" if self._meta.unique else ""
        nullable = "" if self._meta.null else " NOT NULL"
        generated = f"GENERATED ALWAYS AS ({self.expression}) STORED"
        name = quoted(self._meta.db_column_name)
        return f"{name} {self.column_type} {generated}{unique}{nullable}"
