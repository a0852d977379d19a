"""Filters of every repository: no value causes an error of the driver."""

import typing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue
from learner_app.repository.base import ReadOnlyRepository
from tests.repository.declarations import plain, repositories

VALUES: dict[Any, list[Any]] = {
    int: [2**31 - 1, -(2**31) - 1, 2**31, 2**63, -(2**70), True],
    Decimal: [*map(Decimal, ("NaN", "-Infinity", "1E+1000000", "1E-99999", "-1", "1E+20", "0"))],
    datetime: [
        *(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
        datetime(2999, 1, 1),  # noqa: DTZ001  # no time zone
    ],
    str: ["", "\0", "\ud800", "x" * 10_000],
    bool: [True, False],
    UUID: [UUID(int=0), str(UUID(int=0)), "", "\0", "\ud800", "x" * 10_000, 5],
    list[str]: [[], ["\0", "a"], ["\ud800"], ["x" * 10_000]],
    dict[str, Any]: [{}, {"a": "\0"}, {"a": float("nan")}, {"a": {1: 2}}],
}
ALWAYS_WRONG: list[Any] = [None, object(), b"\xff", {1}, float("nan")]

FILTERS = [
    pytest.param(repository, name, plain(kind)[0], id=f"{repository.__name__}-{name}")
    for repository in repositories()
    for name, kind in typing.get_type_hints(repository.filters.typed, include_extras=True).items()
]


def values_for(kind: Any) -> list[Any]:
    return [*kind, "other"] if isinstance(kind, frozenset) else VALUES[kind]


async def outcome(repository: ReadOnlyRepository[Any, Any], name: str, value: Any) -> Any:
    """Return the number of rows, or table, fields and cause of the error."""
    try:
        return await repository.count(**{name: value})
    except InvalidValue as error:
        return error.table, error.fields, error.__cause__


@pytest.mark.parametrize(("repository", "name", "kind"), FILTERS)
async def test_a_value_is_accepted_or_rejected_with_its_filter(
    db: DatabaseEngine, repository: type[ReadOnlyRepository[Any, Any]], name: str, kind: Any
):
    table = repository.table._meta.tablename
    for value in values_for(kind):
        assert await outcome(repository(), name, value) in {0, (table, (name,), None)}
    for value in ALWAYS_WRONG:
        assert await outcome(repository(), name, value) == (table, (name,), None)


CONVERTIBLE: dict[Any, list[Any]] = {
    int: ["1", True, 1.0, Decimal(1), "2026"],
    Decimal: ["0.5", True, b"0.5"],
    datetime: ["2026-01-01T00:00:00Z", 1_700_000_000, 1.7e9, "1700000000", Decimal(1), True],
    bool: [0, 1, "true", "yes", b"1"],
    str: [b"s1", bytearray(b"s1"), 1],
    list[str]: [["play", b"pause"], "play"],
}
"""Values that Pydantic would convert to the type."""


@pytest.mark.parametrize(("repository", "name", "kind"), FILTERS)
async def test_filter_values_are_not_converted(
    db: DatabaseEngine, repository: type[ReadOnlyRepository[Any, Any]], name: str, kind: Any
):
    for value in CONVERTIBLE.get(kind, []):
        result = await outcome(repository(), name, value)
        assert result == (repository.table._meta.tablename, (name,), None), value


@pytest.mark.parametrize(("repository", "name", "kind"), FILTERS)
async def test_a_filter_set_to_none_is_rejected(
    db: DatabaseEngine, repository: type[ReadOnlyRepository[Any, Any]], name: str, kind: Any
):
    with pytest.raises(InvalidValue) as caught:
        await repository().count(**{name: None})
    table = repository.table._meta.tablename
    assert str(caught.value) == f"{table}: {name}: must not be None; omit the filter instead"
