"""The SQL that makes and alters declared tables, where Piccolo's own text would differ."""

from typing import Any

from piccolo.columns import Column, ForeignKey
from piccolo.constraints import Constraint
from piccolo.query.methods.alter import Alter
from piccolo.table import Table, create_table_class

from learner_app.errors import SchemaError
from learner_app.schema.columns import Reference
from learner_app.schema.objects import PrimaryKey
from learner_app.schema.schema_object import SchemaObject, literal, quoted


def bare_table(class_name: str, tablename: str, schema: str | None) -> type[Table]:
    return create_table_class(class_name, class_kwargs={"tablename": tablename, "schema": schema})


def formatted(table: type[Table]) -> str:
    return table._meta.get_formatted_tablename()


def create_constraint(table: type[Table], constraint: Constraint) -> list[str]:
    if isinstance(constraint, SchemaObject):
        return constraint.create_sql(formatted(table))
    name = quoted(constraint._meta.name)
    return [f"ALTER TABLE {formatted(table)} ADD CONSTRAINT {name} {constraint.ddl}"]


def create_table(table: type[Table]) -> list[str]:
    meta = table._meta
    if meta.schema:
        raise SchemaError(f"{table.__name__}: tables stand in the connection's own schema")
    composite = any(isinstance(constraint, PrimaryKey) for constraint in meta.constraints)
    columns = meta.non_default_columns if composite else meta.columns
    for column in columns:
        _refuse_unnamed_foreign_key(column)
    definitions = ",\n  ".join(_column_definition(column) for column in columns)
    statements = [f"CREATE TABLE {formatted(table)} (\n  {definitions}\n)"]
    for column in columns:
        if column._meta.index:
            statements += table.create_index([column], method=column._meta.index_method).ddl
    for constraint in meta.constraints:
        statements += create_constraint(table, constraint)
    return statements


def _refuse_unnamed_foreign_key(column: Column) -> None:
    if isinstance(column, ForeignKey) and not isinstance(column, Reference):
        table = column._meta.table.__name__
        raise SchemaError(
            f"{table}.{column._meta.name} is a piccolo ForeignKey: use learner_app.schema.columns."
            "Reference, whose later changes reach the database"
        )


def _column_definition(column: Column) -> str:
    _escape_literals(column)
    return column.ddl.removesuffix(_NO_DEFAULT)


def alter_table(alter: Alter) -> list[str]:
    for addition in alter._add:
        _refuse_unnamed_foreign_key(addition.column)
        _escape_literals(addition.column)
    for default in alter._set_default:
        _escape_literals(default.column)
    statements = [statement.removesuffix(_NO_DEFAULT) for statement in alter.ddl]
    if alter._add:  # the key of an existing table changes by a statement of its own
        return [statement.replace(" PRIMARY KEY NOT NULL", " NOT NULL") for statement in statements]
    return statements


_NO_DEFAULT = " DEFAULT null"
"""Left out, since on varchar(n) it would stay in the catalog as ``NULL::character varying``."""


def _escape_literals(column: Column) -> None:
    """Make this column object write its string defaults escaped, which Piccolo's do not."""
    plain = type(column).get_sql_value

    def get_sql_value(value: Any, delimiter: str = "'") -> str:
        if isinstance(value, str) and delimiter == '"':  # an element of an array
            value = value.replace("\\", "\\\\").replace('"', '\\"')
        text = plain(column, value, delimiter)
        if isinstance(value, str | list) and delimiter == "'":
            return literal(text[1:-1])
        return text

    column.get_sql_value = get_sql_value  # type: ignore[method-assign]  # of this object only


def rename_primary_key(table: type[Table], old: str, new: str) -> str:
    name, old_key, new_key = formatted(table), f"{old}_pkey", f"{new}_pkey"
    return f"""DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_constraint
             WHERE conrelid = {literal(name)}::regclass AND conname = {literal(old_key)}) THEN
    ALTER TABLE {name} RENAME CONSTRAINT {quoted(old_key)} TO {quoted(new_key)};
  END IF;
END $$"""
