"""Error classes that inherit from a class of this package and from one of asyncpg.

Code written for asyncpg, such as PiccoloCRUD, catches ``asyncpg.CheckViolationError``; code written
for this package catches ``InvalidValue``, which several SQLSTATEs share. The error has to be an
instance of both, so a class is created for each pair that occurs.
"""

from __future__ import annotations

import types
from functools import cache
from typing import Any, TypeVar

from learner_app.errors import DatabaseError

E = TypeVar("E", bound=DatabaseError)

COPIED_ATTRIBUTES = (
    "message",
    "severity",
    "severity_en",
    "schema_name",
    "table_name",
    "column_name",
    "data_type_name",
    "constraint_name",
)
"""Attributes of asyncpg's errors without row values; ``detail`` quotes rows and is not copied."""


def with_driver_class(kind: type[E], driver: type[Exception]) -> type[E]:
    """Return the class that inherits from both and has the name of ``kind``.

    Args:
        kind: error class of this package.
        driver: error class of asyncpg.
    """
    if issubclass(kind, driver):
        return kind
    combined: type[E] = _combined(kind, driver)  # type: ignore[arg-type]  # classes are hashable
    return combined


@cache
def _combined(kind: Any, driver: Any) -> Any:
    def reduce(error: DatabaseError) -> tuple[Any, ...]:
        return _restore, (kind, driver, error.args, error.__dict__)

    def fill(namespace: dict[str, Any]) -> None:
        # so that tracebacks, logs and responses show the documented name
        namespace["__module__"] = kind.__module__
        namespace["__qualname__"] = kind.__qualname__
        namespace["__doc__"] = kind.__doc__
        namespace["__reduce__"] = reduce

    return types.new_class(kind.__name__, (kind, driver), exec_body=fill)


def copy_attributes(error: DatabaseError, source: Exception) -> None:
    """Copy the attributes of asyncpg's error that contain no row value."""
    found = {name: getattr(source, name, None) for name in COPIED_ATTRIBUTES}
    error.__dict__.update(found)


def _restore(
    kind: type[E], driver: type[Exception], args: tuple[Any, ...], state: dict[str, Any]
) -> E:
    """Rebuild a pickled or copied error, whose class cannot be imported by name."""
    error = with_driver_class(kind, driver)(*args)
    error.__dict__.update(state)
    return error
