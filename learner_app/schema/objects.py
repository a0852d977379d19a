"""What a table owns beside its columns, declared on the table and carried by auto migrations.

How they are carried: :mod:`learner_app.schema.schema_object`.
"""

from abc import abstractmethod
from collections.abc import Sequence
from enum import Enum

from piccolo.columns import Column
from piccolo.columns.base import OnDelete, OnUpdate

from learner_app.schema.schema_object import SchemaObject, literal, quoted


class _TableConstraint(SchemaObject):
    """What the catalog calls a constraint: ALTER TABLE ADD and DROP CONSTRAINT."""

    @property
    @abstractmethod
    def clause(self) -> str:
        """What stands behind the constraint's name."""

    def create_sql(self, table: str) -> list[str]:
        name = quoted(self.database_name)
        return [f"ALTER TABLE {table} ADD CONSTRAINT {name} {self.clause}"]

    @classmethod
    def drop_sql(cls, table: str, name: str) -> list[str]:
        return [f"ALTER TABLE {table} DROP CONSTRAINT {quoted(name)}"]

    def _columns(self, key: str = "columns") -> str:
        return ", ".join(quoted(column) for column in self.params[key])


class PrimaryKey(_TableConstraint):
    """A key of several columns; a single one is ``primary_key=True`` on the column.

    The table takes :class:`learner_app.schema.tables.Declared`, which makes Piccolo's own queries
    compare all its columns.
    """

    kind = "pk"

    def __init__(self, columns: Sequence[Column | str], name: str | None = None) -> None:
        super().__init__(name=name, columns=list(columns))

    @property
    def clause(self) -> str:
        return f"PRIMARY KEY ({self._columns()})"


class Unique(_TableConstraint):
    """No two rows with the same values; ``nulls_distinct=False`` counts NULLs as equal."""

    kind = "unique"

    def __init__(
        self,
        columns: Sequence[Column | str],
        nulls_distinct: bool = True,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, columns=list(columns), nulls_distinct=nulls_distinct)

    @property
    def clause(self) -> str:
        nulls = "" if self.params["nulls_distinct"] else " NULLS NOT DISTINCT"
        return f"UNIQUE{nulls} ({self._columns()})"


class Check(_TableConstraint):
    """A condition in SQL that every row fulfils."""

    kind = "check"

    def __init__(self, condition: str, name: str | None = None) -> None:
        super().__init__(name=name, condition=condition)

    @property
    def clause(self) -> str:
        return f"CHECK ({self.params['condition']})"


class OneOf(_TableConstraint):
    """The column's value is one of a list; a NULL passes, as in every check."""

    kind = "oneof"

    def __init__(
        self, column: Column | str, values: type[Enum] | Sequence[str], name: str | None = None
    ) -> None:
        super().__init__(name=name, column=column, values=list(values))

    @property
    def clause(self) -> str:
        values = ", ".join(literal(value) for value in self.params["values"])
        return f"CHECK ({quoted(self.params['column'])} IN ({values}))"


class ForeignKeyConstraint(_TableConstraint):
    """The constraint of a :class:`learner_app.schema.columns.Reference`, which makes it."""

    kind = "fk"

    def __init__(
        self,
        columns: Sequence[Column | str],
        references: str,
        target_columns: Sequence[str],
        on_delete: OnDelete | str = OnDelete.no_action,
        on_update: OnUpdate | str = OnUpdate.no_action,
        name: str | None = None,
    ) -> None:
        super().__init__(
            name=name,
            columns=list(columns),
            references=references,
            target_columns=list(target_columns),
            on_delete=on_delete,
            on_update=on_update,
        )

    @property
    def clause(self) -> str:
        target = f"{quoted(self.params['references'])} ({self._columns('target_columns')})"
        actions = f"ON DELETE {self.params['on_delete']} ON UPDATE {self.params['on_update']}"
        return f"FOREIGN KEY ({self._columns()}) REFERENCES {target} {actions}"


class Index(SchemaObject):
    """An index on columns or SQL expressions.

    Args:
        on: columns, or SQL text such as ``lower(email)`` or ``"started_at" DESC``.
        method: the access method, ``btree``, ``gin`` and so on.
        unique: whether it holds the values unique.
        where: the predicate of a partial index, in SQL.
    """

    kind = "index"

    def __init__(
        self,
        on: Column | str | Sequence[Column | str],
        method: str = "btree",
        unique: bool = False,
        where: str | None = None,
        name: str | None = None,
    ) -> None:
        parts = [on] if isinstance(on, Column | str) else list(on)
        super().__init__(name=name, on=parts, method=method, unique=unique, where=where)

    def serialise_self(self) -> None:
        self.params["on"] = [
            quoted(part._meta.db_column_name) if isinstance(part, Column) else part
            for part in self.params["on"]
        ]
        super().serialise_self()

    def create_sql(self, table: str) -> list[str]:
        unique = "UNIQUE " if self.params["unique"] else ""
        where = f" WHERE {self.params['where']}" if self.params["where"] else ""
        parts = ", ".join(self.params["on"])
        name, method = quoted(self.database_name), self.params["method"]
        return [f"CREATE {unique}INDEX {name} ON {table} USING {method} ({parts}){where}"]

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
    WHERE p.pronamespace = current_schema()::regnamespace
      AND p.proname LIKE 'touch\_%' AND p.prorettype = 'trigger'::regtype
      AND p.prosrc LIKE 'BEGIN NEW.% := clock\_timestamp(); RETURN NEW; END'
      AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = p.oid)
  LOOP
    EXECUTE format('DROP FUNCTION %s', unused);
  END LOOP;
END $$"""
