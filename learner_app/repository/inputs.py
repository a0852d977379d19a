"""What may be given to add and update: checked before anything is sent, in the caller's words."""

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

T = TypeVar("T")
P = ParamSpec("P")

UNSET: Any = None
"""The default of a field that cannot be cleared: left out it changes nothing, None is refused.

Never read: what counts is which fields were given, see :meth:`Input.given`.
"""

SHOWN_NAME = 63


class Input(BaseModel):
    """Base of the inputs: ``class ContentCreate(Input, table=ContentTable)``.

    Raises:
        InvalidValue: names all fields that are wrong, shows none of their values.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)

    table: ClassVar[type[Table]]

    def __init_subclass__(cls, *, table: type[Table] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if table is not None:
            cls.table = table

    @model_validator(mode="wrap")
    @classmethod
    def _in_our_words(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            mistakes = error.errors(include_input=False, include_url=False, include_context=False)
        finally:
            del data  # tracebacks may be rendered with their locals
        raise invalid_input(cls.table, mistakes)  # out here, the error has no other one in its context

    if not TYPE_CHECKING:  # the type checkers know pydantic's own

        def __setattr__(self, name: str, value: Any) -> None:
            del value  # pydantic's error has it in its text
            raise invalid_field(self.table, name, "cannot be changed")

        @classmethod
        def model_validate_json(cls, json_data: Any, **options: Any) -> Self:
            with suppress(ValidationError):
                return super().model_validate_json(json_data, **options)
            name = cls.table._meta.tablename
            raise InvalidValue(f"{name}: is no JSON", table=name)

    def given(self) -> dict[str, Any]:
        """The fields that were given, those given as None among them, and no others."""
        given = self.model_fields_set
        return {name: value for name, value in vars(self).items() if name in given}


def _closed(method: Callable[P, T]) -> Callable[P, T]:
    """The method, whose errors bring neither its frames nor what it was given."""

    @wraps(method)  # also pydantic's mark: an __init__ that validation goes past
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
    """Base of the inputs whose callers may have a secret in hand, be it in a wrong field.

    No frame of a refusal holds anything that was given, except the caller's own.
    """

    if not TYPE_CHECKING:  # the type checkers make the constructor of the fields
        __init__ = _closed(Input.__init__)
        model_validate = classmethod(_closed(Input.model_validate.__func__))
        model_validate_json = classmethod(_closed(Input.model_validate_json.__func__))
        model_validate_strings = classmethod(_closed(Input.model_validate_strings.__func__))


def validate(adapter: TypeAdapter[T], value: Any, field: str, table: type[Table]) -> T:
    """Validate a keyword argument.

    Nothing is parsed: a text is no number, time or boolean, and a number is no time.

    Raises:
        InvalidValue: names the field.
    """
    try:
        valid = adapter.validate_python(value)
    except ValidationError as error:
        mistakes = error.errors(include_input=False, include_url=False)
        raise invalid_field(table, field, "; ".join(_says(item) for item in mistakes)) from None
    if wanted := _conversion(value, valid):
        raise invalid_field(table, field, f"must be {wanted}")
    return valid


CONVERTED_FROM: dict[type, tuple[type | UnionType, str]] = {
    bool: (bool, "True or False"),
    int: (int, "a whole number"),
    float: (int | float | Decimal, "a number"),
    Decimal: (int | float | Decimal, "a number"),
    str: (str, "text"),
    datetime: (datetime, "a datetime with a time zone"),
    date: (date, "a date"),
    timedelta: (timedelta, "a timedelta"),
}
"""By type of a valid value: the types that may be given for it, and their description."""


def _conversion(value: Any, valid: Any) -> str | None:
    """Return what should have been given, None if Pydantic did not parse the value."""
    if isinstance(valid, list):
        return next(filter(None, map(_conversion, value, valid)), None)
    kind = type(valid)
    if kind not in CONVERTED_FROM:
        return None
    accepted, wanted = CONVERTED_FROM[kind]
    is_same = isinstance(value, accepted) and isinstance(value, bool) == (kind is bool)
    return None if is_same else wanted


def require_list(values: Sequence[T], field: str, table: type[Table]) -> list[T]:
    """The values of a list; a text is none, although it is a sequence of texts.

    Raises:
        InvalidValue: names the field.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise invalid_field(table, field, "must be a list")
    return list(values)


def require_instance(kind: type[T], value: Any, field: str, table: type[Table]) -> T:
    """Return the value, an instance of the class.

    Raises:
        InvalidValue: it is none; names the field and the class.
    """
    if not isinstance(value, kind):
        article = "an" if kind.__name__.startswith(("A", "E", "I", "O")) else "a"
        raise invalid_field(table, field, f"must be {article} {kind.__name__}")
    return value


def invalid_field(table: type[Table], field: str, reason: str) -> InvalidValue:
    """The error for a value of the caller's that cannot be taken."""
    name = table._meta.tablename
    return InvalidValue(f"{name}: {field}: {reason}", table=name, fields=[field])


def invalid_input(table: type[Table], mistakes: Sequence[ErrorDetails]) -> InvalidValue:
    """One error for all mistakes of an input."""
    name = table._meta.tablename
    told = [(_field(item), _says(item)) for item in mistakes]
    text = "; ".join(f"{field}: {says}" if field else says for field, says in told)
    fields = dict.fromkeys(field for field, _ in told if field)
    return InvalidValue(f"{name}: {text}", table=name, fields=list(fields))


def _field(item: ErrorDetails) -> str:
    """Its name; one that the caller made up is shown only as far as it looks like one."""
    name = str(item["loc"][0]) if item["loc"] else ""
    return (name if name.isidentifier() else ascii(name)[1:-1])[:SHOWN_NAME]


def _says(item: ErrorDetails) -> str:
    if item["type"] == "extra_forbidden":
        return "is not a field that can be set"
    text = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return text[:1].lower() + text[1:]
