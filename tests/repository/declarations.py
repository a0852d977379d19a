"""Mismatches between the table, row, inputs and filters of a repository."""

import importlib
import importlib.util
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import annotated_types
import msgspec
from piccolo.columns import JSON, Array, Column
from piccolo.columns.combination import WhereRaw
from piccolo.columns.defaults.base import Default
from piccolo.table import Table
from pydantic import AwareDatetime, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from learner_app.errors import InvalidValue
from learner_app.repository.base import (
    DeletingRepository,
    KeyedRepository,
    ReadOnlyRepository,
    Repository,
)
from learner_app.repository.filters import Filters
from learner_app.repository.inputs import Input
from learner_app.repository.keys import TableKey
from learner_app.repository.rows import Row
from learner_app.repository.values import new_key, new_uuid
from learner_app.schema.tenant_fields import TenantFields

DOMAINS = ("content", "listening", "learner", "generation", "accounts", "tenancy")


EXTENSION_POINTS = {
    "changed_fields",
    "count_rows",
    "error",
    "execute",
    "fetch_records",
    "fetch_row",
    "fetch_row_by_key",
    "fetch_rows",
    "fetch_value",
    "get_or_create_row",
    "invisible_conflict",
    "joined_transaction",
    "list_rows",
    "missing_reference",
    "not_found",
    "page_rows",
    "require_row",
    "require_transaction",
    "stream_rows",
    "update_row",
}
"""Methods of the base classes for subclasses; all others are operations for services."""


def subclasses(base: type) -> Iterator[type]:
    for child in base.__subclasses__():
        yield child
        yield from subclasses(child)


def repositories() -> list[type[ReadOnlyRepository[Any, Any]]]:
    """Return the repositories of all domains, without base classes."""
    for domain in DOMAINS:
        name = f"learner_app.{domain}.repositories"
        if importlib.util.find_spec(name):
            importlib.import_module(name)
    found = [one for one in subclasses(ReadOnlyRepository) if not one.__subclasses__()]
    return [one for one in found if one.__module__.startswith("learner_app.")]


def parameters(repository: type) -> tuple[Any, ...]:
    """Return the type parameters of a repository: row, key and inputs.

    A read-only repository has row and key only: its inputs are the parameters of its operations.
    """
    for base in repository.__orig_bases__:  # type: ignore[attr-defined]
        if typing.get_origin(base) in {KeyedRepository, Repository, DeletingRepository}:
            return typing.get_args(base)
        if typing.get_origin(base) is ReadOnlyRepository:
            return (*typing.get_args(base), *inputs_of_operations(repository))
    raise AssertionError(f"{repository.__name__} names no row, key and inputs")


def inputs_of_operations(repository: type) -> list[type[Input]]:
    """Return the inputs of the repository's own table."""
    table = repository.table  # type: ignore[attr-defined]
    found: dict[type[Input], None] = {}
    for _, method in inspect.getmembers(repository, inspect.isfunction):
        for hint in typing.get_type_hints(method).values():
            for one in (hint, *typing.get_args(hint)):
                if isinstance(one, type) and issubclass(one, Input) and one.table is table:
                    found[one] = None
    return list(found)


def kind_of(column: Column) -> Any:
    """Return the Python type of a column, without None."""
    if isinstance(column, Array):
        return list[kind_of(column.base_column)]
    if choices := column._meta.choices:
        assert isinstance(choices, type)
        assert issubclass(choices, Enum)
        return frozenset(item.value for item in choices)
    name = column.column_type.partition("(")[0]
    return {
        "VARCHAR": str,
        "TEXT": str,
        "INTEGER": int,
        "BIGINT": int,
        "NUMERIC": Decimal,
        "JSONB": dict[str, Any],
        "TIMESTAMPTZ": datetime,
        "BOOLEAN": bool,
        "UUID": UUID,
        "DATE": date,
        "INET": str,
    }[name]


def plain(annotation: Any) -> tuple[Any, bool]:
    """Return a type without constraints and None, and whether it includes None."""
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return plain(args[0])
    if origin in {typing.Union, types.UnionType}:
        (one,) = (arg for arg in args if arg is not type(None))
        return plain(one)[0], True
    if origin is typing.Literal:
        return frozenset(args), False
    if annotation in {AwareDatetime, SecretStr}:
        return datetime if annotation is AwareDatetime else str, False
    if origin is list:
        return list[plain(args[0])[0]], False  # type: ignore[misc]  # made at run time
    return annotation, False


def fits(column: Column, kind: Any) -> bool:
    """Return whether the column accepts values of a type; a Literal may be narrower."""
    wanted = kind_of(column)
    if wanted == dict[str, Any]:
        return typing.get_origin(kind) is dict or typing.is_typeddict(kind)
    if typing.get_origin(kind) is typing.get_origin(wanted) is list:
        kind, wanted = kind.__args__[0], wanted.__args__[0]
    if isinstance(kind, frozenset) and wanted is str:
        return all(isinstance(value, str) for value in kind)
    return bool(kind == wanted)


def max_length(annotation: Any) -> int | None:
    """Return the maximum length of a string, or of the items of a list of strings."""
    found = None
    for part in typing.get_args(annotation):
        if typing.get_origin(annotation) is typing.Annotated:
            for item in getattr(part, "metadata", None) or [part]:
                found = item.max_length if isinstance(item, annotated_types.MaxLen) else found
        found = max_length(part) or found
    return found


def default_of(column: Column) -> Any:
    """Return the default of the database, None without one, Ellipsis for an expression."""
    default = getattr(column, "default", None)
    if isinstance(column, JSON) and isinstance(default, str):
        return json.loads(default)
    if isinstance(default, Enum):
        return default.value
    return ... if isinstance(default, Default) else default


def columns_of(table: type[Table]) -> dict[str, Column]:
    return {column._meta.name: column for column in table._meta.columns}


def row_mistakes(table: type[Table], row: type[Row]) -> Iterator[str]:
    columns, fields = columns_of(table), msgspec.structs.fields(row)
    names = [field.name for field in fields]
    visible = [name for name, column in columns.items() if not column._meta.secret]
    if issubclass(table, TenantFields):  # its columns come before those of the table
        names, visible = sorted(names), sorted(visible)
    if names != visible:
        yield "row: other fields than the table has columns, or in another order"
    for field in fields:
        if (column := columns.get(field.name)) is None:
            continue
        kind, nullable = plain(field.type)
        if nullable != column._meta.null:
            yield f"row.{field.name}: nullable here or there only"
        if not fits(column, kind):
            yield f"row.{field.name}: another type than the column's"


def field_mistakes(column: Column, name: str, field: FieldInfo) -> Iterator[str]:
    annotation: Any = field.annotation
    if field.metadata:
        annotation = typing.Annotated[annotation, *field.metadata]
    kind, _ = plain(annotation)
    if not fits(column, kind):
        yield f"{name}: another type than the column's"
    length = re.fullmatch(r"VARCHAR\((\d+)\)", column.column_type)
    if kind is str and length and max_length(annotation) != int(length[1]):
        yield f"{name}: another length than the column's"


def create_mistakes(
    table: type[Table], create: type[Input], stored_as: typing.Collection[str]
) -> Iterator[str]:
    columns = columns_of(table)
    for name in set(create.model_fields) - set(columns):
        yield f"create.{name}: no column"
    for name, column in columns.items():
        default, field = default_of(column), create.model_fields.get(name)
        fills = default is not None or name in stored_as
        if field is None:
            if not column._meta.null and not fills:
                yield f"create.{name}: the column needs a value"
            continue
        yield from field_mistakes(column, f"create.{name}", field)
        _, nullable = plain(field.annotation)
        if nullable and not column._meta.null and not (default is ... or name in stored_as):
            yield f"create.{name}: None for a column that takes none"
        if column._meta.null and not nullable:
            yield f"create.{name}: no None for a column that takes it"
        is_key = name in TableKey(table).names
        if not field.is_required() and not _same_default(field, default, is_key):
            yield f"create.{name}: another default than the column's"
        if field.is_required() and (column._meta.null or default is not None):
            yield f"create.{name}: required, although the column has a default"


def _same_default(field: FieldInfo, default: Any, is_key: bool) -> bool:
    if is_key and field.default_factory in {new_key, new_uuid}:
        return True
    given = field.get_default(call_default_factory=True, validated_data={})
    return bool(given == (None if default is ... else default))


def update_mistakes(table: type[Table], update: type[Input]) -> Iterator[str]:
    columns, key = columns_of(table), TableKey(table).names
    for name, field in update.model_fields.items():
        if (column := columns.get(name)) is None:
            yield f"update.{name}: no column"
            continue
        if name in key:
            yield f"update.{name}: the key never changes"
        if field.is_required():
            yield f"update.{name}: required"
        elif field.get_default() not in {None, PydanticUndefined}:
            yield f"update.{name}: a default that looks like a change"
        yield from field_mistakes(column, f"update.{name}", field)
        if plain(field.annotation)[1] != column._meta.null:
            yield f"update.{name}: nullable here or there only"
        elif takes_none(update, name) != column._meta.null:
            yield f"update.{name}: None is not taken as the column takes it"


def takes_none(update: type[Input], name: str) -> bool:
    try:
        update.model_validate({name: None})
    except InvalidValue:
        return False
    return True


def filter_mistakes(table: type[Table], filters: Filters) -> Iterator[str]:
    named = typing.get_type_hints(filters.typed, include_extras=True)
    if set(named) != set(filters.conditions):
        yield "filters: names without a condition, or conditions without a name"
    if filters.typed.__total__:
        yield "filters: must be given all together"
    for name, annotation in named.items():
        if name not in filters.conditions:
            continue
        column = filtered_column(table, filters, name)
        kind, nullable = plain(annotation)
        items = kind.__args__[0] if typing.get_origin(kind) is list else kind
        if nullable or column is None:
            yield f"filters.{name}: None, or the condition is about no column"
        elif not (fits(column, kind) or fits(column, items) or _may_be_any(column, items)):
            yield f"filters.{name}: another type than the column's"


def _may_be_any(column: Column, kind: Any) -> bool:
    """Return whether a filter by string may be wider than the choices of the column."""
    return kind is str and isinstance(kind_of(column), frozenset)


def filtered_column(table: type[Table], filters: Filters, name: str) -> Column | None:
    """Return the column of the condition."""
    (condition,) = [filters.condition((name,))]
    column = getattr(condition, "column", None)
    if column is None:
        assert isinstance(condition, WhereRaw)
        column = next(iter(condition.querystring.columns), None)
    return column if column is None or column._meta.table is table else None
