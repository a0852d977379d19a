"""Input models of add() and update(), and validation of arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import wraps
from types import UnionType
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, Self, TypeVar

from piccolo.table import Table
from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails

from learner_app.errors import InvalidValue

__all__ = [
    "UNSET",
    "Input",
    "SecretInput",
    "invalid_field",
    "require_instance",
    "require_list",
    "validate",
]

T = TypeVar("T")
P = ParamSpec("P")

UNSET: Any = None
"""Default of a field of an update input whose column is not nullable.

The value is never read: an update changes the fields that were passed, see
:meth:`Input.set_fields`. Passing None raises ``InvalidValue``.
"""

MAX_NAME_LENGTH = 63
"""Characters of an unknown field's name that an error message shows."""


class Input(BaseModel):
    """Base class of the input models: ``class ContentCreate(Input, table=ContentTable)``.

    Raises:
        InvalidValue: a field is invalid. The error names all invalid fields, without their values.
    """

    # defer_build: the first input of a class builds its validator, not the import of its module
    model_config = ConfigDict(
        extra="forbid", hide_input_in_errors=True, frozen=True, defer_build=True
    )

    table: ClassVar[type[Table]]

    def __init_subclass__(cls, *, table: type[Table] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if table is not None:
            cls.table = table

    @model_validator(mode="wrap")
    @classmethod
    def _raise_invalid_value(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            mistakes = error.errors(include_input=False, include_url=False, include_context=False)
        finally:
            del data  # an error reporter may show the local variables of this frame
        # Raised outside of `except`: Pydantic's error must not be the context of this one.
        raise invalid_input(cls.table, mistakes)

    if not TYPE_CHECKING:  # type checkers use the declarations of Pydantic

        def __setattr__(self, name: str, value: Any) -> None:
            del value  # Pydantic's own error would contain the value
            raise invalid_field(self.table, name, "cannot be changed: create another input")

        @classmethod
        def model_validate_json(cls, json_data: Any, **options: Any) -> Self:
            with suppress(ValidationError):
                return super().model_validate_json(json_data, **options)
            name = cls.table._meta.tablename
            raise InvalidValue(f"{name}: is not valid JSON", table=name)

    def set_fields(self) -> dict[str, Any]:
        """Return the fields that were passed, including those passed as None, without defaults."""
        passed = self.model_fields_set
        return {name: value for name, value in vars(self).items() if name in passed}


def _without_traceback_locals(method: Callable[P, T]) -> Callable[P, T]:
    """Return the method with errors whose traceback has neither its frames nor its arguments."""

    @wraps(method)  # copies Pydantic's marker of an __init__ that validation does not call
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except BaseException as error:
            error.__traceback__ = error.__cause__ = error.__context__ = None
            raise
        finally:
            del args, kwargs

    return call


class SecretInput(Input):
    """Base class of the input models whose arguments may contain a secret.

    If validation fails, only the frames of the caller contain the arguments.
    """

    if not TYPE_CHECKING:  # type checkers derive the constructor from the fields
        __init__ = _without_traceback_locals(Input.__init__)
        model_validate = classmethod(_without_traceback_locals(Input.model_validate.__func__))
        model_validate_json = classmethod(
            _without_traceback_locals(Input.model_validate_json.__func__)
        )
        model_validate_strings = classmethod(
            _without_traceback_locals(Input.model_validate_strings.__func__)
        )


def validate(adapter: TypeAdapter[T], value: Any, field: str, table: type[Table]) -> T:
    """Return a valid argument, without conversion between types.

    A string is rejected where a number, time or boolean is expected, and a number where a time is.

    Raises:
        InvalidValue: the value is not valid for the field.
    """
    try:
        valid: T = adapter.validator.validate_python(value)
    except ValidationError as error:
        mistakes = error.errors(include_input=False, include_url=False)
        raise invalid_field(table, field, "; ".join(map(_reason, mistakes))) from None
    if expected := _expected_type(value, valid):
        raise invalid_field(table, field, f"must be {expected}")
    return valid


ACCEPTED_TYPES: dict[type, tuple[type | UnionType, str]] = {
    bool: (bool, "True or False"),
    int: (int, "an integer"),
    float: (int | float | Decimal, "a number"),
    Decimal: (int | float | Decimal, "a number"),
    str: (str, "a string"),
    datetime: (datetime, "a datetime with a time zone"),
    date: (date, "a date"),
    timedelta: (timedelta, "a timedelta"),
}
"""Accepted types of an argument and their description, by the type after validation."""


def _expected_type(value: Any, valid: Any) -> str | None:
    """Return a description of the accepted type if Pydantic converted the value, else None."""
    if isinstance(valid, list):
        return next(filter(None, map(_expected_type, value, valid)), None)
    kind = type(valid)
    if kind is type(value) or kind not in ACCEPTED_TYPES:
        return None
    accepted, description = ACCEPTED_TYPES[kind]
    is_same = isinstance(value, accepted) and isinstance(value, bool) == (kind is bool)
    return None if is_same else description


def require_list(values: Sequence[T], field: str, table: type[Table]) -> list[T]:
    """Return the values as a list.

    Raises:
        InvalidValue: the argument is not a sequence, or it is a str or bytes.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise invalid_field(table, field, "must be a list")
    return list(values)


def require_instance(kind: type[T], value: Any, field: str, table: type[Table]) -> T:
    """Return the value if it is an instance of the class.

    Raises:
        InvalidValue: the value is of another class.
    """
    if not isinstance(value, kind):
        article = "an" if kind.__name__.startswith(("A", "E", "I", "O")) else "a"
        raise invalid_field(table, field, f"must be {article} {kind.__name__}")
    return value


def invalid_field(table: type[Table], field: str, reason: str) -> InvalidValue:
    """Return the error for an invalid argument or field."""
    name = table._meta.tablename
    return InvalidValue(f"{name}: {field}: {reason}", table=name, fields=[field])


def invalid_input(table: type[Table], mistakes: Sequence[ErrorDetails]) -> InvalidValue:
    """Return one error for all invalid fields of an input."""
    name = table._meta.tablename
    reasons = [(_field(item), _reason(item)) for item in mistakes]
    text = "; ".join(f"{field}: {reason}" if field else reason for field, reason in reasons)
    fields = dict.fromkeys(field for field, _ in reasons if field)
    return InvalidValue(f"{name}: {text}", table=name, fields=list(fields))


def _field(item: ErrorDetails) -> str:
    """Return the name of the field, escaped and truncated, since the caller may have chosen it."""
    name = str(item["loc"][0]) if item["loc"] else ""
    return (name if name.isidentifier() else ascii(name)[1:-1])[:MAX_NAME_LENGTH]


def _reason(item: ErrorDetails) -> str:
    if item["type"] == "extra_forbidden":
        return "is not a field that can be set"
    if item["type"] == "uuid_parsing":  # Pydantic's message shows a part of the value
        return "must be a UUID"
    text = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return text[:1].lower() + text[1:]
