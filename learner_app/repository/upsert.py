"""Statements with ON CONFLICT, and the query for the conflicting row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from operator import and_
from typing import Any

from piccolo.columns.combination import WhereRaw
from piccolo.querystring import QueryString

from learner_app.repository.conflict_targets import ConflictTarget
from learner_app.repository.filters import Combinable
from learner_app.repository.inputs import Input
from learner_app.repository.queries import StatementCache
from learner_app.repository.sql import Param, Statement
from learner_app.schema.schema_object import quoted


def insert_or_update(
    statements: StatementCache,
    new: type[Input],
    target: ConflictTarget,
    names: Sequence[str],
    computed: tuple[str, ...],
) -> Statement:
    """Return the statement that inserts a row, or updates these fields of the existing row.

    ``computed`` is that of :meth:`StatementCache.insert`.
    Parameters: the fields of the input. The last column of the record, after those of the row, is
    true if the row was inserted.
    """

    def make() -> Statement:
        # xmax is 0 in a row version that this statement inserted. In one that it updated, xmax is
        # the own transaction id, since ON CONFLICT DO UPDATE locks a row before the update.
        return statements.compile(
            "upsert",
            QueryString(
                f"{{}} DO UPDATE SET {{}} RETURNING {_columns(statements)}, (xmax = 0)",
                _insert(statements, new, target, computed),
                _assignments(statements, names),
            ),
        )

    return statements.cached(("upsert", new, target, tuple(names), computed), make)


def insert_if_absent(
    statements: StatementCache,
    new: type[Input],
    target: ConflictTarget,
    computed: tuple[str, ...],
) -> Statement:
    """Return the statement that inserts a row, or returns no record if a conflicting row exists.

    ``computed`` is that of :meth:`StatementCache.insert`.
    Parameters: the fields of the input.
    """

    def make() -> Statement:
        insert = _insert(statements, new, target, computed)
        query = QueryString(f"{{}} DO NOTHING RETURNING {_columns(statements)}", insert)
        return statements.compile("add_if_absent", query)

    return statements.cached(("add_if_absent", new, target, computed), make)


def find_conflicting(
    statements: StatementCache, target: ConflictTarget, values: Mapping[str, Any]
) -> Statement:
    """Return the statement for the row with these values in the fields of the target.

    Parameters: the fields of the target that are not None.
    """
    nulls = tuple(name for name in target.names if values[name] is None)

    def make() -> Statement:
        conditions = [_equals(statements, name, name in nulls) for name in target.names]
        if target.predicate:
            conditions.append(WhereRaw(f"({_escaped(target.predicate)})"))
        return statements.compile("find_conflicting", statements.select([reduce(and_, conditions)]))

    return statements.cached(("find_conflicting", target, nulls), make)


def _insert(
    statements: StatementCache,
    new: type[Input],
    target: ConflictTarget,
    computed: tuple[str, ...],
) -> QueryString:
    """Return the INSERT up to the conflict target."""
    table = statements.table
    predicate = f" WHERE {_escaped(target.predicate)}" if target.predicate else ""
    columns = _quoted(statements, [column._meta.name for column in table._meta.columns])
    return QueryString(
        f"INSERT INTO {table._meta.get_formatted_tablename()} ({columns}) VALUES {{}} "
        f"ON CONFLICT ({_quoted(statements, target.names)}){predicate}",
        statements.stored_values(new, computed),
    )


def _assignments(statements: StatementCache, names: Collection[str]) -> QueryString:
    """Return the SET list: the inserted values of these fields, and what every update sets."""
    assignments = ["{0} = EXCLUDED.{0}".format(_quoted(statements, [name])) for name in names]
    expressions = []
    for column, expression in statements.on_update.items():
        assignments.append(f"{quoted(column._meta.db_column_name)} = {{}}")
        expressions.append(expression)
    return QueryString(", ".join(assignments), *expressions)


def _equals(statements: StatementCache, name: str, is_null: bool) -> Combinable:
    column = statements.table._meta.get_column_by_name(name)
    return WhereRaw("{} IS NULL", column) if is_null else column == Param(name)


def _columns(statements: StatementCache) -> str:
    return ", ".join(quoted(column._meta.db_column_name) for column in statements.columns)


def _quoted(statements: StatementCache, names: Collection[str]) -> str:
    columns = map(statements.table._meta.get_column_by_name, names)
    return ", ".join(quoted(column._meta.db_column_name) for column in columns)


def _escaped(sql: str) -> str:
    """Return SQL for a template of Piccolo's query builder, in which braces are placeholders."""
    return sql.replace("{", "{{").replace("}", "}}")
