"""Base class of schema objects: indexes, constraints, policies and triggers of a table.

Piccolo's migrations know columns and constraints, and compare constraints by name only. A schema
object is such a constraint with a *logical name*, ``<database name>@<kind>.<fingerprint>``. The
fingerprint is a hash of the SQL that creates and drops the object. A changed definition, or a
corrected implementation in this package, therefore has another name: auto migrations drop the old
object and add the new one. A migration file stores the SQL, and only stored SQL is executed.
"""

from abc import abstractmethod
from collections.abc import Sequence
from copy import copy
from enum import Enum
from typing import Any, ClassVar, Self

from piccolo.columns import Column
from piccolo.constraints import Constraint

from learner_app.errors import SchemaError
from learner_app.schema.object_sql import ObjectSql

MAX_IDENTIFIER_BYTES = 63
"""NAMEDATALEN - 1; PostgreSQL truncates longer names without an error."""


def quoted(identifier: str) -> str:
    """Return the identifier in double quotes."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return the text as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


class SchemaObject(Constraint):
    """Database object that is declared as an attribute of its table.

    Args:
        name: the name in the database, by default the name of the attribute. In a mixin,
            ``{table}`` is replaced by the name of the table that inherits the object.
        params: the definition, repeated in migration files as keyword arguments of the class.
            Once columns are resolved to names, only strings, booleans, None and lists of them.
    """

    kind: ClassVar[str]
    """Short name of the class in logical names."""

    outlives_table = False
    """True if a part of the object remains after DROP TABLE."""

    def __init__(self, *, name: str | None, **params: Any) -> None:
        super().__init__(name=name, **params)
        self.declared_name = name
        self._sql: ObjectSql | None = None
        self._is_stored = False

    @property
    def params(self) -> dict[str, Any]:
        """Definition of the object, see ``params`` in the docstring of the class."""
        params: dict[str, Any] = self._meta.params
        return params

    @property
    def database_name(self) -> str:
        """Name in the catalog, without kind and fingerprint."""
        name = self.declared_name or self._meta.name
        return name.rpartition("@")[0] or name

    @property
    def sql(self) -> ObjectSql:
        """Statements of the object: stored ones in a migration, generated ones on a table."""
        if self._sql is None:
            raise SchemaError(
                f"{self.database_name} has no SQL yet: declare it as an attribute of a table"
            )
        return self._sql

    @property
    def is_stored(self) -> bool:
        """True if the SQL comes from a migration file."""
        return self._is_stored

    def stored(self, name: str, *, create: str | Sequence[str], drop: str | Sequence[str]) -> Self:
        """Attach the logical name and the SQL that a migration file stores.

        The migration manager verifies that the SQL matches the fingerprint in the name.

        Args:
            name: the logical name.
            create: one or several statements, with ``{table}`` as in :class:`ObjectSql`.
            drop: one or several statements that drop the object, in the same form.
        """
        self.declared_name = self._meta.name = name
        self._sql = ObjectSql(_statements(create), _statements(drop))
        self._is_stored = True
        return self

    def for_table(self, tablename: str) -> Self:
        """Return a copy for one table, because the tables of a mixin would share its objects."""
        own = copy(self)
        own._meta = copy(self._meta)
        own._meta.params = dict(self.params)
        if self.declared_name:
            own.declared_name = self.declared_name.format(table=tablename)
        return own

    def resolve_params(self) -> None:
        """Replace columns by their names and enum members by their values."""
        for key, value in self.params.items():
            self.params[key] = _resolved(value)

    def serialise_self(self) -> None:
        """Generate the SQL and set the logical name, called by Piccolo for each table."""
        if self._is_stored:
            self._meta.name = self.declared_name or self._meta.name
            return
        self.resolve_params()
        name = self.database_name
        if len(name.encode()) > MAX_IDENTIFIER_BYTES:
            raise SchemaError(
                f"the name {name!r} is longer than {MAX_IDENTIFIER_BYTES} bytes: shorten it"
            )
        self._meta.name = name  # read by create_sql through database_name
        self._sql = ObjectSql.generate(self.create_sql, self.drop_sql)
        self._meta.name = f"{name}@{self.kind}.{self._sql.fingerprint}"

    @abstractmethod
    def create_sql(self, table: str) -> list[str]:
        """Generate the statements that create the object on the table of that quoted name."""

    @abstractmethod
    def drop_sql(self, table: str) -> list[str]:
        """Generate the statements that drop the object."""

    @property
    def ddl(self) -> str:
        """Not available: only the migration manager of this package creates schema objects."""
        raise SchemaError(
            f"{self.database_name} is created by learner_app.schema.migrations.MigrationManager "
            "only: write a migration with `piccolo migrations new APP --auto`"
        )

    def _table_str(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.params.items())
        return f"{self.database_name} = {type(self).__name__}({arguments})"


def _statements(sql: str | Sequence[str]) -> tuple[str, ...]:
    return (sql,) if isinstance(sql, str) else tuple(sql)


def _resolved(value: Any) -> Any:
    if isinstance(value, Column):
        return value._meta.db_column_name
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [_resolved(item) for item in value]
    return value
