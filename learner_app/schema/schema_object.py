"""How things beside columns travel through auto migrations: as constraints with logical names.

Piccolo's migrations know one kind of thing beside columns: constraints, told apart by name.
Every object here is such a constraint with a *logical* name,
``<database name>@<kind>.<fingerprint of the definition>``. A changed definition is therefore
another name, that is a drop and an add, and a drop knows from the name what it drops. The SQL is
run by :class:`learner_app.schema.migrations.MigrationManager`; Piccolo's own fails on the ``@``.
"""

import hashlib
from abc import abstractmethod
from copy import copy
from enum import Enum
from typing import Any, ClassVar, Self

from piccolo.columns import Column
from piccolo.constraints import Constraint

from learner_app.errors import SchemaError

MAX_IDENTIFIER_BYTES = 63
"""PostgreSQL cuts longer names silently (NAMEDATALEN)."""

type_of_kind: dict[str, type["SchemaObject"]] = {}


def quoted(identifier: str) -> str:
    """The identifier in double quotes, as SQL wants it."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def split_logical_name(name: str) -> tuple[str, type["SchemaObject"]] | None:
    """Return database name and class of a schema object, None for a constraint of Piccolo."""
    database_name, separator, rest = name.rpartition("@")
    if not separator:
        return None
    kind = rest.partition(".")[0]
    if kind not in type_of_kind:
        raise SchemaError(f"{name!r} is of no known kind of schema object")
    return database_name, type_of_kind[kind]


class SchemaObject(Constraint):
    """Base of the objects.

    Args:
        name: the name in the database; the attribute's name when left out. In a mixin
            ``{table}`` stands for the name of the table that takes it.
        params: the definition as the migration file repeats it: keyword arguments of the class,
            only strings, booleans, None and lists of them once columns are resolved.
    """

    kind: ClassVar[str]
    outlives_table = False
    """Whether something of the object stays behind when its table is dropped."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "kind" in cls.__dict__:
            type_of_kind[cls.kind] = cls

    def __init__(self, *, name: str | None, **params: Any) -> None:
        super().__init__(name=name, **params)
        self.given_name = name

    @property
    def params(self) -> dict[str, Any]:
        params: dict[str, Any] = self._meta.params
        return params

    @property
    def database_name(self) -> str:
        """The name in the catalog, without kind and fingerprint."""
        return (self.given_name or self._meta.name).rpartition("@")[0] or (
            self.given_name or self._meta.name
        )

    def for_table(self, tablename: str) -> Self:
        """A copy for one table: a mixin's object would otherwise be shared by all its tables."""
        twin = copy(self)
        twin._meta = copy(self._meta)
        twin._meta.params = dict(self.params)
        if self.given_name:
            twin.given_name = self.given_name.format(table=tablename)
        return twin

    def serialise_self(self) -> None:
        """Resolve column references and set the logical name. Piccolo calls it per table."""
        for key, value in self.params.items():
            self.params[key] = _resolved(value)
        name = self.database_name
        if len(name.encode()) > MAX_IDENTIFIER_BYTES:
            raise SchemaError(f"the name {name!r} is longer than {MAX_IDENTIFIER_BYTES} bytes")
        definition = repr((self.kind, sorted(self.params.items())))
        fingerprint = hashlib.sha256(definition.encode()).hexdigest()[:8]
        self._meta.name = f"{name}@{self.kind}.{fingerprint}"

    @abstractmethod
    def create_sql(self, table: str) -> list[str]:
        """Return the statements that create the object. ``table`` is quoted already."""

    @classmethod
    @abstractmethod
    def drop_sql(cls, table: str, name: str) -> list[str]:
        """The statements that remove the object of that database name."""

    @property
    def ddl(self) -> str:
        raise SchemaError(
            f"{self.database_name} is made by learner_app.schema.migrations.MigrationManager only"
        )

    def _table_str(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.params.items())
        return f"{self.database_name} = {type(self).__name__}({arguments})"


def _resolved(value: Any) -> Any:
    if isinstance(value, Column):
        return value._meta.db_column_name
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [_resolved(item) for item in value]
    return value
