"""Schema objects that a table declares beside its columns and that auto migrations create.

How migrations treat them: :mod:`learner_app.schema.schema_object`.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from piccolo.columns import Column
from piccolo.columns.base import OnDelete, OnUpdate
from piccolo.table import Table

from learner_app.errors import SchemaError
from learner_app.schema.schema_object import SchemaObject, literal, quoted

__all__ = [
    "Check",
    "Deferrable",
    "Exclude",
    "ForeignKeyConstraint",
    "Index",
    "IndexKey",
    "OneOf",
    "Policy",
    "PrimaryKey",
    "RowLevelSecurity",
    "Uncompressed",
    "Unique",
    "UpdatedAtTrigger",
]

OWN_TABLE = "self"
"""Value of ``references`` for a foreign key to its own table, as in Piccolo."""


class Deferrable(Enum):
    """Initial mode of a deferrable constraint, which SET CONSTRAINTS changes per transaction."""

    IMMEDIATE = "INITIALLY IMMEDIATE"
    """Checked at the end of each statement."""
    DEFERRED = "INITIALLY DEFERRED"
    """Checked at COMMIT."""


@dataclass(frozen=True)
class IndexKey:
    """Key of an :class:`Index` or :class:`Exclude` with options.

    Args:
        on: a column, or an SQL expression.
        operator_class: such as ``text_pattern_ops``, ``jsonb_path_ops`` or ``gin_trgm_ops``. An
            operator class of an extension needs ``CREATE EXTENSION`` before.
        collation: name of a collation.
        descending: sort in descending order.
        nulls: ``first`` or ``last``; by default last in ascending, first in descending order.
    """

    on: Column | str
    operator_class: str | None = None
    collation: str | None = None
    descending: bool = False
    nulls: Literal["first", "last"] | None = None

    @property
    def sql(self) -> str:
        """Key as in CREATE INDEX."""
        parts = [_key_sql(self.on) if isinstance(self.on, Column) else f"({self.on})"]
        if self.collation:
            parts.append(f"COLLATE {quoted(self.collation)}")
        if self.operator_class:
            parts.append(self.operator_class)
        if self.descending:
            parts.append("DESC")
        if self.nulls:
            parts.append(f"NULLS {self.nulls.upper()}")
        return " ".join(parts)


def _key_sql(key: Column | str | IndexKey) -> str:
    if isinstance(key, IndexKey):
        return key.sql
    return quoted(key._meta.db_column_name) if isinstance(key, Column) else key


def _column_list(columns: Sequence[str]) -> str:
    return ", ".join(quoted(column) for column in columns)


def _include(columns: Sequence[str]) -> str:
    return f" INCLUDE ({_column_list(columns)})" if columns else ""


class _TableConstraint(SchemaObject):
    """Base class of the objects that ALTER TABLE adds and drops as constraints."""

    @abstractmethod
    def clause(self, table: str) -> str:
        """Generate the SQL after the name of the constraint, for a quoted table name."""

    def create_sql(self, table: str) -> list[str]:
        name = quoted(self.database_name)
        return [f"ALTER TABLE {table} ADD CONSTRAINT {name} {self.clause(table)}"]

    def drop_sql(self, table: str) -> list[str]:
        return [f"ALTER TABLE {table} DROP CONSTRAINT {quoted(self.database_name)}"]

    def _columns(self) -> str:
        return _column_list(self.params["columns"])

    def _options(self) -> str:
        """Return INCLUDE and DEFERRABLE, the last options of a key."""
        return f"{_include(self.params['include'])}{self._deferrable()}"

    def _deferrable(self) -> str:
        deferrable = self.params["deferrable"]
        return f" DEFERRABLE {deferrable}" if deferrable else ""


class PrimaryKey(_TableConstraint):
    """Primary key of several columns.

    A primary key of one column is ``primary_key=True`` on the column. The table inherits from
    :class:`learner_app.schema.tables.SchemaTable`, which makes Piccolo's queries compare all
    columns of the key.

    Args:
        columns: the key.
        include: further columns stored in the index of the key.
        deferrable: initial mode; not deferrable if omitted. Foreign keys and ON CONFLICT cannot use
            a deferrable key.
        name: see :class:`SchemaObject`.
    """

    kind = "pk"

    def __init__(
        self,
        columns: Sequence[Column | str],
        name: str | None = None,
        *,
        include: Sequence[Column | str] = (),
        deferrable: Deferrable | str | None = None,
    ) -> None:
        super().__init__(
            name=name, columns=list(columns), include=list(include), deferrable=deferrable
        )

    def clause(self, table: str) -> str:
        return f"PRIMARY KEY ({self._columns()}){self._options()}"


class Unique(_TableConstraint):
    """Unique constraint of one or several columns.

    Args:
        columns: the columns whose values differ between rows.
        nulls_distinct: False makes two NULLs equal.
        include: further columns stored in the index of the constraint, for index-only scans.
        deferrable: initial mode; not deferrable if omitted. Foreign keys and ON CONFLICT cannot use
            a deferrable constraint.
        name: see :class:`SchemaObject`.
    """

    kind = "unique"

    def __init__(
        self,
        columns: Sequence[Column | str],
        nulls_distinct: bool = True,
        name: str | None = None,
        *,
        include: Sequence[Column | str] = (),
        deferrable: Deferrable | str | None = None,
    ) -> None:
        super().__init__(
            name=name,
            columns=list(columns),
            nulls_distinct=nulls_distinct,
            include=list(include),
            deferrable=deferrable,
        )

    def clause(self, table: str) -> str:
        nulls = "" if self.params["nulls_distinct"] else " NULLS NOT DISTINCT"
        return f"UNIQUE{nulls} ({self._columns()}){self._options()}"


class Exclude(_TableConstraint):
    """Exclusion constraint that rejects a row if all operators are true with another row.

    An example is bookings of one room, whose times must not overlap.

    Args:
        elements: pairs of a column, :class:`IndexKey` or SQL expression and an operator:
            ``[(room, "="), ("tstzrange(starts_at, ends_at)", "&&")]``. ``=`` on scalar types
            needs the extension ``btree_gist``.
        method: the access method, ``gist`` or ``spgist``.
        where: predicate in SQL that restricts the constraint to some rows.
        include: further columns stored in the index of the constraint.
        deferrable: initial mode; if omitted, not deferrable and checked row by row.
        name: see :class:`SchemaObject`.
    """

    kind = "exclude"

    def __init__(
        self,
        elements: Sequence[tuple[Column | str | IndexKey, str]],
        method: str = "gist",
        where: str | None = None,
        *,
        include: Sequence[Column | str] = (),
        deferrable: Deferrable | str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            name=name,
            elements=[list(element) for element in elements],
            method=method,
            where=where,
            include=list(include),
            deferrable=deferrable,
        )

    def resolve_params(self) -> None:
        pairs = self.params["elements"]
        self.params["elements"] = [[_key_sql(key), operator] for key, operator in pairs]
        super().resolve_params()

    def clause(self, table: str) -> str:
        params = self.params
        elements = ", ".join(f"{key} WITH {operator}" for key, operator in params["elements"])
        where = f" WHERE ({params['where']})" if params["where"] else ""
        include = _include(params["include"])
        return f"EXCLUDE USING {params['method']} ({elements}){include}{where}{self._deferrable()}"


class Check(_TableConstraint):
    """Check constraint with a condition in SQL."""

    kind = "check"

    def __init__(self, condition: str, name: str | None = None) -> None:
        super().__init__(name=name, condition=condition)

    def clause(self, table: str) -> str:
        return f"CHECK ({self.params['condition']})"


class OneOf(_TableConstraint):
    """Check constraint that allows the listed values and NULL."""

    kind = "oneof"

    def __init__(
        self, column: Column | str, values: type[Enum] | Sequence[str], name: str | None = None
    ) -> None:
        super().__init__(name=name, column=column, values=list(values))

    def clause(self, table: str) -> str:
        values = ", ".join(literal(value) for value in self.params["values"])
        return f"CHECK ({quoted(self.params['column'])} IN ({values}))"


class ForeignKeyConstraint(_TableConstraint):
    """Foreign key of one or several columns.

    A foreign key of several columns is declared on the table; for a single column use
    :class:`learner_app.schema.columns.Reference`. A migration creates it after the keys that it
    refers to and drops it before them.

    Args:
        columns: the referencing columns.
        references: the referenced table, or its name in the database; ``self`` is the table itself.
        target_columns: the referenced columns in the same order. They need a
            :class:`PrimaryKey`, a :class:`Unique` or a unique :class:`Index`.
        on_delete: action when the referenced row is deleted.
        on_update: action when the referenced key changes.
        name: see :class:`SchemaObject`.
        deferrable: initial mode; not deferrable if omitted.
    """

    kind = "fk"

    def __init__(
        self,
        columns: Sequence[Column | str],
        references: type[Table] | str,
        target_columns: Sequence[Column | str],
        on_delete: OnDelete | str = OnDelete.no_action,
        on_update: OnUpdate | str = OnUpdate.no_action,
        name: str | None = None,
        *,
        deferrable: Deferrable | str | None = None,
    ) -> None:
        super().__init__(
            name=name,
            columns=list(columns),
            references=references,
            target_columns=list(target_columns),
            on_delete=on_delete,
            on_update=on_update,
            deferrable=deferrable,
        )

    def resolve_params(self) -> None:
        columns, targets = self.params["columns"], self.params["target_columns"]
        if len(columns) != len(targets) or not columns:
            raise SchemaError(
                f"{self.database_name}: {len(columns)} columns refer to {len(targets)}; "
                "a foreign key has as many target columns as columns, at least one"
            )
        references = self.params["references"]
        if not isinstance(references, str):
            self.params["references"] = references._meta.tablename
        super().resolve_params()

    def clause(self, table: str) -> str:
        params = self.params
        references = params["references"]
        name = table if references == OWN_TABLE else quoted(references)
        target = f"{name} ({_column_list(params['target_columns'])})"
        actions = f"ON DELETE {params['on_delete']} ON UPDATE {params['on_update']}"
        return f"FOREIGN KEY ({self._columns()}) REFERENCES {target} {actions}{self._deferrable()}"


class Index(SchemaObject):
    """Index on columns or SQL expressions.

    Args:
        on: columns, :class:`IndexKey` objects, or SQL such as ``lower(email)`` or
            ``"started_at" DESC``.
        method: the access method: ``btree``, ``gin`` and so on.
        unique: reject rows with equal keys.
        where: predicate of a partial index, in SQL.
        name: see :class:`SchemaObject`.
        include: further columns stored in the index, for index-only scans.
    """

    kind = "index"

    def __init__(
        self,
        on: Column | str | IndexKey | Sequence[Column | str | IndexKey],
        method: str = "btree",
        unique: bool = False,
        where: str | None = None,
        name: str | None = None,
        *,
        include: Sequence[Column | str] = (),
    ) -> None:
        keys = [on] if isinstance(on, Column | str | IndexKey) else list(on)
        super().__init__(
            name=name, on=keys, method=method, unique=unique, where=where, include=list(include)
        )

    def resolve_params(self) -> None:
        self.params["on"] = [_key_sql(key) for key in self.params["on"]]
        super().resolve_params()

    def create_sql(self, table: str) -> list[str]:
        params = self.params
        unique = "UNIQUE " if params["unique"] else ""
        keys = f"{params['method']} ({', '.join(params['on'])}){_include(params['include'])}"
        where = f" WHERE {params['where']}" if params["where"] else ""
        name = quoted(self.database_name)
        return [f"CREATE {unique}INDEX {name} ON {table} USING {keys}{where}"]

    def drop_sql(self, table: str) -> list[str]:
        return [f"DROP INDEX {quoted(self.database_name)}"]


class RowLevelSecurity(SchemaObject):
    """Row-level security of the table, with ``force`` for its owner too."""

    kind = "rls"

    def __init__(self, force: bool = True, name: str | None = None) -> None:
        super().__init__(name=name, force=force)

    def create_sql(self, table: str) -> list[str]:
        statements = [f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"]
        if self.params["force"]:
            statements.append(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        return statements

    def drop_sql(self, table: str) -> list[str]:
        return [
            f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
        ]


class Policy(SchemaObject):
    """Policy of row-level security.

    Args:
        using: condition in SQL on the rows that a statement sees.
        with_check: condition in SQL on the rows that a statement writes; by default ``using``.
        command: ALL, SELECT, INSERT, UPDATE or DELETE.
        role: the role that the policy applies to.
        name: see :class:`SchemaObject`.
    """

    kind = "policy"

    def __init__(
        self,
        using: str | None = None,
        with_check: str | None = None,
        command: str = "ALL",
        role: str = "PUBLIC",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, using=using, with_check=with_check, command=command, role=role)

    def create_sql(self, table: str) -> list[str]:
        params = self.params
        using = f" USING ({params['using']})" if params["using"] else ""
        check = f" WITH CHECK ({params['with_check']})" if params["with_check"] else ""
        scope = f"FOR {params['command']} TO {params['role']}"
        return [f"CREATE POLICY {quoted(self.database_name)} ON {table} {scope}{using}{check}"]

    def drop_sql(self, table: str) -> list[str]:
        return [f"DROP POLICY {quoted(self.database_name)} ON {table}"]


class Uncompressed(SchemaObject):
    """Uncompressed storage of long values of a column (``SET STORAGE EXTERNAL``).

    For long texts, JSONB and arrays that are rewritten often: PostgreSQL compresses each new
    version of a value over 2 KB, which takes about ten times as long as storing it. The cost is
    disk space and WAL. The type of the column is one that is compressed by default. Existing values
    stay compressed until they are updated.
    """

    kind = "uncompressed"

    def __init__(self, column: Column | str, name: str | None = None) -> None:
        super().__init__(name=name, column=column)

    def create_sql(self, table: str) -> list[str]:
        return [self._set_storage(table, "EXTERNAL")]

    def drop_sql(self, table: str) -> list[str]:
        return [self._set_storage(table, "EXTENDED")]

    def _set_storage(self, table: str, storage: str) -> str:
        column = quoted(self.params["column"])
        return f"ALTER TABLE {table} ALTER COLUMN {column} SET STORAGE {storage}"


class UpdatedAtTrigger(SchemaObject):
    """Trigger that sets a column to the current time at every UPDATE, also by raw SQL.

    The time is ``clock_timestamp()``, not the start of the transaction, so that an update in the
    transaction of the insert is visible. All tables share one function per column name; the drop of
    the last trigger drops the function.
    """

    kind = "touch"
    outlives_table = True

    def __init__(self, column: Column | str, name: str | None = None) -> None:
        super().__init__(name=name, column=column)

    def create_sql(self, table: str) -> list[str]:
        column = quoted(self.params["column"])
        function, trigger = self._function(), quoted(self.database_name)
        body = f"BEGIN NEW.{column} := clock_timestamp(); RETURN NEW; END"
        head = f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql"
        event = f"BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()"
        return [f"{head} AS {literal(body)}", f"CREATE TRIGGER {trigger} {event}"]

    def drop_sql(self, table: str) -> list[str]:
        drop_function = (
            f"DO $$BEGIN DROP FUNCTION {self._function()}();"
            " EXCEPTION WHEN dependent_objects_still_exist THEN NULL; END$$"
        )
        return [f"DROP TRIGGER {quoted(self.database_name)} ON {table}", drop_function]

    def _function(self) -> str:
        return quoted(f"touch_{self.params['column']}")


DROP_UNUSED_TOUCH_FUNCTIONS = r"""DO $$
DECLARE unused regprocedure;
BEGIN
  FOR unused IN
    SELECT p.oid FROM pg_proc p
    WHERE p.pronamespace = quote_ident(current_schema())::regnamespace
      AND p.proname LIKE 'touch\_%' AND p.prorettype = 'trigger'::regtype
      AND strpos(p.prosrc, 'NEW."' || replace(substr(p.proname, 7), '"', '""') || '" :=') > 0
      AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = p.oid)
  LOOP
    EXECUTE format('DROP FUNCTION %s', unused);
  END LOOP;
END $$"""
"""Drops the functions of :class:`UpdatedAtTrigger` that no trigger uses, in the current schema."""
