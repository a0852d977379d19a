"""What a table owns beside its columns, declared on the table and carried by auto migrations.

How they are carried: :mod:`learner_app.schema.schema_object`.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from piccolo.columns import Column
from piccolo.columns.base import OnDelete, OnUpdate
from piccolo.table import Table

from learner_app.errors import SchemaError
from learner_app.schema.schema_object import SchemaObject, literal, quoted

OWN_TABLE = "self"
"""The ``references`` of a foreign key to its own table, as in Piccolo."""


class Deferrable(Enum):
    """When a constraint that may be deferred is checked, unless SET CONSTRAINTS says otherwise."""

    IMMEDIATE = "INITIALLY IMMEDIATE"
    """At the end of each statement."""
    DEFERRED = "INITIALLY DEFERRED"
    """At COMMIT."""


@dataclass(frozen=True)
class IndexKey:
    """One key of an :class:`Index` or :class:`Exclude` with options beside its column.

    Args:
        on: a column, or an SQL expression.
        operator_class: such as ``text_pattern_ops``, ``jsonb_path_ops`` or ``gin_trgm_ops``; those
            of extensions need ``CREATE EXTENSION`` before.
        collation: name of a collation.
        descending: sort order.
        nulls: ``first`` or ``last``; last in ascending, first in descending order when left out.
    """

    on: Column | str
    operator_class: str | None = None
    collation: str | None = None
    descending: bool = False
    nulls: Literal["first", "last"] | None = None

    @property
    def sql(self) -> str:
        is_column = isinstance(self.on, Column)
        parts = [_key_sql(self.on) if is_column else f"({self.on})"]
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


def _given(**options: Any) -> dict[str, Any]:
    """The options that differ from their defaults: others would change existing fingerprints."""
    return {name: value for name, value in options.items() if value}


class _TableConstraint(SchemaObject):
    """Base of the objects that ALTER TABLE adds and drops as constraints."""

    @abstractmethod
    def clause(self, table: str) -> str:
        """Return the SQL after the constraint's name. ``table`` is quoted already."""

    def create_sql(self, table: str) -> list[str]:
        name = quoted(self.database_name)
        return [f"ALTER TABLE {table} ADD CONSTRAINT {name} {self.clause(table)}"]

    @classmethod
    def drop_sql(cls, table: str, name: str) -> list[str]:
        return [f"ALTER TABLE {table} DROP CONSTRAINT {quoted(name)}"]

    def _columns(self, key: str = "columns") -> str:
        return ", ".join(quoted(column) for column in self.params[key])

    def _include(self) -> str:
        return f" INCLUDE ({self._columns('include')})" if "include" in self.params else ""

    def _deferrable(self) -> str:
        return f" DEFERRABLE {self.params['deferrable']}" if "deferrable" in self.params else ""


class PrimaryKey(_TableConstraint):
    """A primary key of several columns.

    That of a single column is ``primary_key=True`` on the column. The table inherits from
    :class:`learner_app.schema.tables.SchemaTable`, which makes Piccolo's own queries compare all
    columns of the key.

    Args:
        columns: the key.
        include: further columns stored in its index.
        deferrable: a foreign key and ON CONFLICT need a key that is not deferrable.
        name: as of :class:`SchemaObject`.
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
        options = _given(include=list(include), deferrable=deferrable)
        super().__init__(name=name, columns=list(columns), **options)

    def clause(self, table: str) -> str:
        return f"PRIMARY KEY ({self._columns()}){self._include()}{self._deferrable()}"


class Unique(_TableConstraint):
    """No two rows with the same values.

    Args:
        columns: the values that differ.
        nulls_distinct: False counts NULLs as equal.
        include: further columns stored in the constraint's index, for index-only scans.
        deferrable: a foreign key and ON CONFLICT need a constraint that is not deferrable.
        name: as of :class:`SchemaObject`.
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
        options = _given(include=list(include), deferrable=deferrable)
        super().__init__(name=name, columns=list(columns), nulls_distinct=nulls_distinct, **options)

    def clause(self, table: str) -> str:
        nulls = "" if self.params["nulls_distinct"] else " NULLS NOT DISTINCT"
        return f"UNIQUE{nulls} ({self._columns()}){self._include()}{self._deferrable()}"


class Exclude(_TableConstraint):
    """No two rows for which every operator is true, such as overlapping bookings of a room.

    Args:
        elements: pairs of a column, :class:`IndexKey` or SQL expression and an operator:
            ``[(room, "="), ("tstzrange(starts_at, ends_at)", "&&")]``. ``=`` on scalar types
            needs the extension ``btree_gist``.
        method: the access method, ``gist`` or ``spgist``.
        where: restricts the constraint to some rows, in SQL.
        include: further columns stored in its index.
        deferrable: when it is checked; at once, row by row, when left out.
        name: as of :class:`SchemaObject`.
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
        options = _given(where=where, include=list(include), deferrable=deferrable)
        pairs = [list(element) for element in elements]
        super().__init__(name=name, elements=pairs, method=method, **options)

    def serialise_self(self) -> None:
        pairs = self.params["elements"]
        self.params["elements"] = [[_key_sql(key), operator] for key, operator in pairs]
        super().serialise_self()

    def clause(self, table: str) -> str:
        elements = ", ".join(f"{key} WITH {operator}" for key, operator in self.params["elements"])
        where = f" WHERE ({self.params['where']})" if "where" in self.params else ""
        method = self.params["method"]
        return f"EXCLUDE USING {method} ({elements}){self._include()}{where}{self._deferrable()}"


class Check(_TableConstraint):
    """A condition in SQL that every row fulfils."""

    kind = "check"

    def __init__(self, condition: str, name: str | None = None) -> None:
        super().__init__(name=name, condition=condition)

    def clause(self, table: str) -> str:
        return f"CHECK ({self.params['condition']})"


class OneOf(_TableConstraint):
    """The column's value is one of a list; a NULL passes, as in every check."""

    kind = "oneof"

    def __init__(
        self, column: Column | str, values: type[Enum] | Sequence[str], name: str | None = None
    ) -> None:
        super().__init__(name=name, column=column, values=list(values))

    def clause(self, table: str) -> str:
        values = ", ".join(literal(value) for value in self.params["values"])
        return f"CHECK ({quoted(self.params['column'])} IN ({values}))"


class ForeignKeyConstraint(_TableConstraint):
    """A foreign key of one or several columns.

    One of several columns is declared on the table; that of a single column comes with
    :class:`learner_app.schema.columns.Reference`. A migration creates it after the keys that it
    refers to and drops it before them, whichever tables it creates or drops.

    Args:
        columns: those that refer.
        references: the other table, or its name in the database; ``self`` is the table itself.
        target_columns: those referred to, in the same order; they need a :class:`PrimaryKey`,
            a :class:`Unique` or a unique :class:`Index` of their own.
        on_delete: what happens to the row when the referenced one is deleted.
        on_update: what happens when its key changes.
        name: as of :class:`SchemaObject`.
        deferrable: when it is checked; at the end of each statement when left out.
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
            **_given(deferrable=deferrable),
        )

    def serialise_self(self) -> None:
        columns, targets = self.params["columns"], self.params["target_columns"]
        if len(columns) != len(targets) or not columns:
            raise SchemaError(
                f"{self.database_name}: {len(columns)} columns refer to {len(targets)}; "
                "a foreign key has as many target columns as columns, at least one"
            )
        references = self.params["references"]
        if not isinstance(references, str):
            self.params["references"] = references._meta.tablename
        super().serialise_self()

    def clause(self, table: str) -> str:
        references = self.params["references"]
        name = table if references == OWN_TABLE else quoted(references)
        target = f"{name} ({self._columns('target_columns')})"
        actions = f"ON DELETE {self.params['on_delete']} ON UPDATE {self.params['on_update']}"
        return f"FOREIGN KEY ({self._columns()}) REFERENCES {target} {actions}{self._deferrable()}"


class Index(SchemaObject):
    """An index on columns or SQL expressions.

    Args:
        on: columns, :class:`IndexKey` objects, or SQL text such as ``lower(email)`` or
            ``"started_at" DESC``.
        method: the access method, ``btree``, ``gin`` and so on.
        unique: whether two rows may not have the same values.
        where: the predicate of a partial index, in SQL.
        name: as of :class:`SchemaObject`.
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
        options = _given(include=list(include))
        super().__init__(name=name, on=keys, method=method, unique=unique, where=where, **options)

    def serialise_self(self) -> None:
        self.params["on"] = [_key_sql(key) for key in self.params["on"]]
        super().serialise_self()

    def create_sql(self, table: str) -> list[str]:
        params = self.params
        unique = "UNIQUE " if params["unique"] else ""
        keys = ", ".join(params["on"])
        included = ", ".join(quoted(column) for column in params.get("include", ()))
        include = f" INCLUDE ({included})" if included else ""
        where = f" WHERE {params['where']}" if params["where"] else ""
        name, method = quoted(self.database_name), params["method"]
        tail = f"{include}{where}"
        return [f"CREATE {unique}INDEX {name} ON {table} USING {method} ({keys}){tail}"]

    @classmethod
    def drop_sql(cls, table: str, name: str) -> list[str]:
        return [f"DROP INDEX {quoted(name)}"]


class RowLevelSecurity(SchemaObject):
    """Row level security, enabled; ``force`` binds the owner of the table too."""

    kind = "rls"

    def __init__(self, force: bool = True, name: str | None = None) -> None:
        super().__init__(name=name, force=force)

    def create_sql(self, table: str) -> list[str]:
        statements = [f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"]
        if self.params["force"]:
            statements.append(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        return statements

    @classmethod
    def drop_sql(cls, table: str, name: str) -> list[str]:
        return [
            f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY",
            f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY",
        ]


class Policy(SchemaObject):
    """A row security policy.

    Args:
        using: the rows that are seen, in SQL.
        with_check: the rows that may be written; as ``using`` when left out.
        command: ALL, SELECT, INSERT, UPDATE or DELETE.
        role: to whom it applies.
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

    @classmethod
    def drop_sql(cls, table: str, name: str) -> list[str]:
        return [f"DROP POLICY {quoted(name)} ON {table}"]


class Uncompressed(SchemaObject):
    """Store long values of a column as they are, not compressed (``SET STORAGE EXTERNAL``).

    For long arrays and texts that are rewritten often: PostgreSQL compresses every new version of a
    value over 2 KB, which takes about ten times as long as storing it. The price is disk space and
    WAL. The column has a type that is compressed by default, such as text, JSONB or an array.
    Stored values stay compressed until they change.
    """

    kind = "uncompressed"

    def __init__(self, column: Column | str) -> None:
        super().__init__(name=None, column=column)

    def serialise_self(self) -> None:
        """Take the column's name, which is all that a later drop knows, and resolve the rest."""
        column = self.params["column"]
        is_column = isinstance(column, Column)
        self.given_name = column._meta.db_column_name if is_column else column
        super().serialise_self()

    def create_sql(self, table: str) -> list[str]:
        return [_set_storage(table, self.params["column"], "EXTERNAL")]

    @classmethod
    def drop_sql(cls, table: str, name: str) -> list[str]:
        return [_set_storage(table, name, "EXTENDED")]


def _set_storage(table: str, column: str, storage: str) -> str:
    return f"ALTER TABLE {table} ALTER COLUMN {quoted(column)} SET STORAGE {storage}"


class UpdatedAtTrigger(SchemaObject):
    """Sets a column to the time of every UPDATE, by whatever path it comes.

    The time is the clock's, not the transaction's: a row that is inserted and updated in one
    transaction moves too. One function per column name serves all tables; it goes with the last
    trigger that uses it.
    """

    kind = "touch"
    outlives_table = True

    def __init__(self, column: Column | str, name: str | None = None) -> None:
        super().__init__(name=name, column=column)

    def create_sql(self, table: str) -> list[str]:
        column = self.params["column"]
        function, trigger = quoted(f"touch_{column}"), quoted(self.database_name)
        body = f"BEGIN NEW.{quoted(column)} := clock_timestamp(); RETURN NEW; END"
        head = f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql"
        when = f"BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()"
        return [f"{head} AS {literal(body)}", f"CREATE TRIGGER {trigger} {when}"]

    @classmethod
    def drop_sql(cls, table: str, name: str) -> list[str]:
        return [f"DROP TRIGGER {quoted(name)} ON {table}", DROP_UNUSED_TOUCH_FUNCTIONS]


DROP_UNUSED_TOUCH_FUNCTIONS = r"""DO $$
DECLARE unused regprocedure;
BEGIN
  FOR unused IN
    SELECT p.oid FROM pg_proc p
    WHERE p.pronamespace = quote_ident(current_schema())::regnamespace
      AND p.proname LIKE 'touch\_%' AND p.prorettype = 'trigger'::regtype
      AND p.prosrc LIKE 'BEGIN NEW.% := clock\_timestamp(); RETURN NEW; END'
      AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = p.oid)
  LOOP
    EXECUTE format('DROP FUNCTION %s', unused);
  END LOOP;
END $$"""
