"""Python source of migration files: columns and schema objects without default parameters.

A parameter is left out where the class sets the same value by itself. A file therefore depends on
the defaults of the column classes, which are those of the exactly pinned version of Piccolo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from piccolo.apps.migrations.auto.schema_differ import AlterStatements
from piccolo.apps.migrations.auto.serialisation import (
    Definition,
    Import,
    SerialisedTableType,
    serialise_params,
)
from piccolo.columns import Column

from learner_app.schema.schema_object import SchemaObject


@dataclass
class Source:
    """Python expression with the imports and definitions that it needs."""

    text: str
    imports: list[Import] = field(default_factory=list)
    definitions: list[Definition] = field(default_factory=list)

    @classmethod
    def call(cls, function: str, *arguments: Source | str, **keywords: Source | str) -> Source:
        """Return the call of a function with arguments that are Python source."""
        named = [(f"{key}=", value) for key, value in keywords.items()]
        parts = [*(("", value) for value in arguments), *named]
        return _joined(parts, f"{function}(", ")")

    @classmethod
    def mapping(cls, items: Iterable[tuple[str, Source]]) -> Source:
        """Return a dictionary with text keys."""
        return _joined([(f"{key!r}: ", value) for key, value in items], "{", "}")

    @classmethod
    def sequence(cls, items: Iterable[Source]) -> Source:
        """Return a list."""
        return _joined([("", item) for item in items], "[", "]")

    def statement(self) -> AlterStatements:
        """Return the expression as a statement of a migration."""
        return AlterStatements([self.text], self.imports, self.definitions)


def _joined(parts: Iterable[tuple[str, Source | str]], start: str, end: str) -> Source:
    whole, texts = Source(""), []
    for prefix, part in parts:
        source = Source(part) if isinstance(part, str) else part
        texts.append(prefix + source.text)
        whole.imports += source.imports
        whole.definitions += source.definitions
    whole.text = f"{start}{', '.join(texts)}{end}"
    return whole


@dataclass(frozen=True)
class TableDefinition(Definition):
    """Class of a table that a foreign key refers to, with its key at the time of the migration."""

    source: str

    def __repr__(self) -> str:
        return self.source

    def warn_if_is_conflicting_with_global_name(self) -> None:
        """Accept every name."""


def column_source(column: Column) -> Source:
    """Return the expression that creates the column."""
    cls = type(column)
    params = essential_params(column)
    arguments = {key: value_source(key, value) for key, value in params.items()}
    source = Source.call(cls.__name__, **arguments)
    source.imports.append(import_of(cls))
    return source


def essential_params(column: Column) -> dict[str, Any]:
    """Return the parameters of the column that differ from the defaults of its class."""
    params = dict(column._meta.params)
    if column._meta.help_text:
        params["help_text"] = column._meta.help_text
    return _essential(params, _column_writer(type(column)))


def value_source(key: str, value: Any) -> Source:
    """Return the expression of one parameter of a column."""
    if isinstance(value, Column) and key != "target_column":
        return column_source(value)
    serialised = serialise_params({key: value})
    definitions = [_without_defaults(each) for each in serialised.extra_definitions]
    return Source(repr(serialised.params[key]), serialised.extra_imports, definitions)


def import_of(cls: type) -> Import:
    """Return the import of a class."""
    return Import(module=cls.__module__, target=cls.__name__)


def _without_defaults(definition: Definition) -> Definition:
    if not isinstance(definition, SerialisedTableType):
        return definition
    table = definition.table_type
    key = table._meta.primary_key
    head = f'class {table.__name__}(Table, tablename="{table._meta.tablename}")'
    return TableDefinition(f"{head}: {key._meta.name} = {_key_source(key).text}")


def _key_source(key: Column) -> Source:
    without_comment = key.copy()
    without_comment._meta.help_text = None
    return column_source(without_comment)


def object_source(declared: SchemaObject) -> Source:
    """Return the expression that creates the object with its stored SQL."""
    cls = type(declared)
    params = _essential(declared.params, _object_writer(cls))
    made = Source.call(cls.__name__, **{key: repr(value) for key, value in params.items()})
    sql = {"create": _sql_source(declared.sql.create), "drop": _sql_source(declared.sql.drop)}
    stored = Source.call(f"{made.text}.stored", repr(declared._meta.name), **sql)
    stored.imports.append(import_of(cls))
    return stored


def _sql_source(statements: tuple[str, ...]) -> str:
    return repr(statements[0] if len(statements) == 1 else list(statements))


def _column_writer(cls: type[Column]) -> Callable[[dict[str, Any]], str]:
    def write(params: dict[str, Any]) -> str:
        column = cls(**params)
        return repr((serialise_params(column._meta.params).params, column._meta.help_text))

    return write


def _object_writer(cls: type[SchemaObject]) -> Callable[[dict[str, Any]], str]:
    def write(params: dict[str, Any]) -> str:
        declared = cls(**params)
        declared.resolve_params()
        return repr(declared.params)

    return write


def _essential(params: dict[str, Any], write: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
    """Return the parameters that change the written result when they are left out.

    Leaves each one out in turn instead of reading signatures, because subclasses pass parameters to
    their base class.
    """
    whole, kept = write(params), dict(params)
    for key in params:
        rest = {name: value for name, value in kept.items() if name != key}
        try:
            is_default = write(rest) == whole
        except (TypeError, ValueError):  # a required parameter
            continue
        if is_default:
            kept = rest
    return kept
