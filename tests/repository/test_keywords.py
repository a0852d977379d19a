"""Arguments of every operation: nothing is converted, a wrong type is rejected."""

import inspect
import typing
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any
from uuid import UUID

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue
from learner_app.repository.base import ReadOnlyRepository
from learner_app.repository.inputs import Input
from tests.repository.declarations import EXTENSION_POINTS, repositories

POSITIONAL = {"key", "session_id", "reaction", "tokens", "job"}
"""Optional parameters that an operation also accepts by position: what it acts on or stores."""

EPOCH = 1_700_000_000
WRONG: dict[type, list[Any]] = {
    int: ["10", "1", True, 2.0, Decimal(2), b"1"],
    datetime: [EPOCH, float(EPOCH), str(EPOCH), "2026-01-01T00:00:00Z", True, date(2026, 1, 1)],
    timedelta: [60, 60.0, "60", "PT1M", True],
    Decimal: ["1", "0.5", True, b"1"],
    float: ["1", "0.5", True, b"1"],
    bool: [0, 1, "true", "no", ""],
}
FIELDS = {"score": "quality_score"}
"""Names in errors of parameters that have another name than their field."""

GIVEN: dict[Any, Any] = {
    str: "s1",
    UUID: UUID(int=1),
    datetime: datetime(2026, 1, 1, tzinfo=UTC),
    timedelta: timedelta(hours=1),
    int: 1,
    bool: True,
}


def kinds(annotation: Any) -> set[Any]:
    """Return the types that an annotation accepts, without None."""
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    is_union = typing.get_origin(annotation) in {typing.Union, UnionType}
    parts = typing.get_args(annotation) if is_union else (annotation,)
    return {part for part in parts if part is not NoneType}


def operations() -> typing.Iterator[tuple[type[ReadOnlyRepository[Any, Any]], str, Any]]:
    for repository in repositories():
        for operation, method in inspect.getmembers(repository, inspect.isfunction):
            if not operation.startswith("_") and operation not in EXTENSION_POINTS:
                yield repository, operation, method


def typed_parameters() -> typing.Iterator[Any]:
    for repository, operation, method in operations():
        hints = typing.get_type_hints(method)
        for name in inspect.signature(method).parameters:
            for kind in kinds(hints.get(name)) & set(WRONG) - {float}:
                case = f"{repository.__name__}-{operation}-{name}"
                yield pytest.param(repository, operation, name, kind, id=case)


PARAMETERS = list(typed_parameters())


async def nothing() -> AsyncIterator[Any]:
    for event in ():
        yield event


def valid(annotation: Any) -> Any:
    """Return a valid value of a type."""
    kind = min(kinds(annotation), key=str)
    if typing.get_origin(kind) is typing.Literal:
        return typing.get_args(kind)[0]
    if typing.get_origin(kind) is Sequence:
        return []
    if typing.get_origin(kind) is AsyncIterable:
        return nothing()
    if typing.get_origin(kind) is dict:
        return {"genre": "mystery"}
    if isinstance(kind, type) and issubclass(kind, Input) and kind.__name__.endswith("Update"):
        return kind()
    return GIVEN.get(kind)


def arguments(method: Any, name: str, value: Any) -> dict[str, Any]:
    """Return the required arguments, with valid values, and the one under test."""
    hints = typing.get_type_hints(method)
    if "changes" in hints:
        hints["changes"] = getattr(method.__self__, "update_type", hints["changes"])
    given = {
        one.name: valid(hints[one.name])
        for one in inspect.signature(method).parameters.values()
        if one.default is one.empty and one.kind is not one.VAR_KEYWORD
    }
    return {**given, name: value}


async def outcome(call: Any) -> Any:
    if isinstance(call, AsyncIterator):
        return await anext(call, None)
    return await call


@pytest.mark.parametrize(("repository", "operation", "name", "kind"), PARAMETERS)
async def test_an_argument_of_another_type_is_rejected_with_its_name(
    db: DatabaseEngine,
    repository: type[ReadOnlyRepository[Any, Any]],
    operation: str,
    name: str,
    kind: type,
):
    method = getattr(repository(), operation)
    for value in WRONG[kind]:
        with pytest.raises(InvalidValue) as caught:
            await outcome(method(**arguments(method, name, value)))
        assert FIELDS.get(name, name) in caught.value.fields, value
        assert caught.value.__cause__ is None


def test_the_parameters_under_test_are_those_of_all_repositories():
    names = {one.id.partition("-")[0] for one in PARAMETERS}
    assert names == {one.__name__ for one in repositories()}
    assert len(PARAMETERS) > 60


def test_limits_times_and_other_options_are_keyword_only():
    by_position = {
        one.name
        for _, _, method in operations()
        for one in inspect.signature(method).parameters.values()
        if one.default is not one.empty and one.kind is not one.KEYWORD_ONLY
    }
    assert by_position == POSITIONAL
