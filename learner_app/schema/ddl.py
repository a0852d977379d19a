"""SQL that creates and alters declared tables, where Piccolo's own SQL would differ."""

import re
from typing import Any

from piccolo.columns import Column, ForeignKey
from piccolo.constraints import Constraint
from piccolo.query.methods.alter import Alter
from piccolo.table import Table, create_table_class

from learner_app.errors import SchemaError
from learner_app.schema.columns import Generated, Reference
from learner_app.schema.objects import ForeignKeyConstraint, PrimaryKey
from learner_app.schema.schema_object import (
    MAX_IDENTIFIER_BYTES,
    SchemaObject,
    literal,
    quoted,
)


def table_stub(class_name: str, tablename: str, schema: str | None) -> type[Table]:
    """Return a table without columns, for statements that need its name only."""
    return create_table_class(class_name, class_kwargs={"tablename": tablename, "schema": schema})


def quoted_name(table: type[Table]) -> str:
    """Return the quoted name of the table."""
    return table._meta.get_formatted_tablename()


def create_constraint(table: type[Table], constraint: Constraint) -> list[str]:
    """Return the statements that create a schema object or a constraint of Piccolo."""
    if isinstance(constraint, SchemaObject):
        return constraint.sql.create_on(quoted_name(table))
    name = quoted(constraint._meta.name)
    return [f"ALTER TABLE {quoted_name(table)} ADD CONSTRAINT {name} {constraint.ddl}"]


def drop_constraint(table: type[Table], constraint: Constraint) -> list[str]:
    """Return the statements that drop a schema object or a constraint of Piccolo."""
    if isinstance(constraint, SchemaObject):
        return constraint.sql.drop_from(quoted_name(table))
    return [f"ALTER TABLE {quoted_name(table)} DROP CONSTRAINT {quoted(constraint._meta.name)}"]


def create_table(table: type[Table]) -> list[str]:
    """Return the statements for a table without its foreign keys, whose targets may come later."""
    meta = table._meta
    if meta.schema:
        raise SchemaError(
            f"{table.__name__}: remove schema=, tables belong to the connection's schema"
        )
    composite = any(isinstance(constraint, PrimaryKey) for constraint in meta.constraints)
    columns = meta.non_default_columns if composite else meta.columns
    for column in columns:
        _refuse_unnamed_foreign_key(column)
    definitions = ",\n  ".join(_column_definition(column) for column in columns)
    statements = [f"CREATE TABLE {quoted_name(table)} (\n  {definitions}\n)"]
    for column in columns:
        if column._meta.index:
            statements += table.create_index([column], method=column._meta.index_method).ddl
    for constraint in meta.constraints:
        if not isinstance(constraint, ForeignKeyConstraint):
            statements += create_constraint(table, constraint)
    for column in columns:
        statements += comment_on(table, column)
    return statements


def add_column(table: type[Table], column: Column) -> list[str]:
    """Return the statements for a column with its index and its comment."""
    statements = [f"ALTER TABLE {quoted_name(table)} ADD COLUMN {_column_definition(column)}"]
    if column._meta.index:
        statements += table.create_index([column], method=column._meta.index_method).ddl
    return statements + comment_on(table, column)


def comment_on(table: type[Table], column: Column) -> list[str]:
    """Return the statement for the column's ``help_text``, if it has one."""
    text = column._meta.help_text
    return [set_comment(table, column._meta.db_column_name, text)] if text else []


def set_comment(table: type[Table], column: str, text: str | None) -> str:
    """Return the statement that sets or removes the comment of a column."""
    comment = literal(text) if text else "NULL"
    return f"COMMENT ON COLUMN {quoted_name(table)}.{quoted(column)} IS {comment}"


def change_type(table: type[Table], old: Column, new: Column) -> list[str]:
    """Return the statements that change type and default and keep the rows.

    The old default is dropped first, since the server may not be able to cast it.
    """
    _escape_literals(new)
    name = quoted(new._meta.db_column_name)
    property_ = "EXPRESSION" if isinstance(old, Generated) else "DEFAULT"
    actions = [f"DROP {property_}"]
    if old.column_type != new.column_type:
        actions.append(f"TYPE {new.column_type} USING {name}::{cast_type(new.column_type)}")
    default = new.get_default_value()
    if default is not None:
        actions.append(f"SET DEFAULT {new.get_sql_value(default)}")
    return [f"ALTER TABLE {quoted_name(table)} ALTER COLUMN {name} {action}" for action in actions]


def cast_type(sql_type: str) -> str:
    """Return the type without a length of text, for USING.

    A cast to ``varchar(3)`` truncates longer values without an error. Without the length, the
    assignment to the column, which follows the cast, rejects them.
    """
    return re.sub(r"(?i)\b(varchar|character varying)\s*\(\d+\)", r"\1", sql_type)


def _refuse_unnamed_foreign_key(column: Column) -> None:
    if isinstance(column, ForeignKey) and not isinstance(column, Reference):
        table = column._meta.table.__name__
        raise SchemaError(
            f"{table}.{column._meta.name} is a ForeignKey of Piccolo: use learner_app.schema."
            "columns.Reference, whose later changes reach the database"
        )


def _column_definition(column: Column) -> str:
    _escape_literals(column)
    return column.ddl.removesuffix(_NO_DEFAULT)


def alter_table(alter: Alter) -> list[str]:
    """Return the statements of an ALTER TABLE of Piccolo, with corrected literals and comments."""
    for addition in alter._add:
        _refuse_unnamed_foreign_key(addition.column)
        _escape_literals(addition.column)
    for default in alter._set_default:
        _escape_literals(default.column)
    statements = [statement.removesuffix(_NO_DEFAULT) for statement in alter.ddl]
    if alter._add:  # a separate step changes the key of an existing table
        statements = [sql.replace(" PRIMARY KEY NOT NULL", " NOT NULL") for sql in statements]
    for addition in alter._add:
        statements += comment_on(alter.table, addition.column)
    return statements


_NO_DEFAULT = " DEFAULT null"
"""Removed, because on varchar(n) the catalog would keep it as ``NULL::character varying``."""


def _escape_literals(column: Column) -> None:
    """Make this column object escape string defaults, which Piccolo does not."""
    if "get_sql_value" in column.__dict__:
        return
    plain = type(column).get_sql_value

    def get_sql_value(value: Any, delimiter: str = "'") -> str:
        if isinstance(value, str) and delimiter == '"':  # an element of an array
            value = value.replace("\\", "\\\\").replace('"', '\\"')
        text = plain(column, value, delimiter)
        if isinstance(value, str | list) and delimiter == "'":
            return literal(text[1:-1])
        return text

    column.get_sql_value = get_sql_value  # type: ignore[method-assign]  # only of this object


def rename_automatic_names(
    table: type[Table], *, old: str, new: str, column: tuple[str, str] | None, declared: set[str]
) -> str:
    """Return the statement that adapts the names that PostgreSQL and Piccolo derive from a name.

    The derived names are ``table_pkey``, ``table_column_key``, ``table_column_seq``,
    ``table_column_not_null`` and, of an index, ``table_column``. A later migration relies on them.

    Args:
        table: the table with its name at the time of the statement.
        old: the table's earlier name.
        new: its later name, equal to ``old`` if a column is renamed.
        column: earlier and later name of a renamed column, None for a renamed table.
        declared: names of schema objects, which stay as they are.
    """
    name = quoted_name(table)
    if column is None:
        stems, condition = f"{literal(old + '_')} || attname, {literal(new + '_')} || attname", ""
    else:
        earlier, later = column
        stems = f"{literal(f'{old}_{earlier}')}, {literal(f'{new}_{later}')}"
        condition = f" AND attname = {literal(later)}"
    kept = ", ".join(literal(each) for each in sorted(declared)) or "''"
    return f"""DO $$
DECLARE renamed record;
BEGIN
  FOR renamed IN
    WITH stem (earlier, later) AS (
      SELECT {stems} FROM pg_attribute
      WHERE attrelid = {literal(name)}::regclass AND attnum > 0 AND NOT attisdropped{condition}
    ), wanted (kind, earlier, later) AS (
      SELECT 'p', {literal(old + "_pkey")}, {literal(new + "_pkey")}
      UNION ALL SELECT kind, stem.earlier || suffix, stem.later || suffix FROM stem,
        (VALUES ('u', '_key'), ('n', '_not_null'), ('i', ''), ('S', '_seq')) ending (kind, suffix)
    ), existing (kind, name, command) AS (
      SELECT contype::text, conname,
             {literal(f"ALTER TABLE {name} RENAME CONSTRAINT %I TO %I")}
      FROM pg_constraint WHERE conrelid = {literal(name)}::regclass
      UNION ALL SELECT 'i', relname, 'ALTER INDEX %I RENAME TO %I'
      FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
      WHERE indrelid = {literal(name)}::regclass
        AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
      UNION ALL SELECT 'S', relname, 'ALTER SEQUENCE %I RENAME TO %I'
      FROM pg_depend JOIN pg_class ON pg_class.oid = objid AND relkind = 'S'
      WHERE classid = 'pg_class'::regclass AND refobjid = {literal(name)}::regclass
    )
    SELECT format(command, earlier, later) AS statement FROM wanted JOIN existing USING (kind)
    WHERE name = earlier AND earlier <> later AND name NOT IN ({kept})
      AND octet_length(later) <= {MAX_IDENTIFIER_BYTES}
  LOOP
    EXECUTE renamed.statement;
  END LOOP;
END $$"""  # noqa: S608  # every value is a quoted literal
