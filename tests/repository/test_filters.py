"""Filters of every repository: no value of the caller's ends in an error of the driver's."""

import typing
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue
from learner_app.repository.reading import ReadingRepository
from tests.repository.declarations import plain, repositories

VALUES: dict[Any, list[Any]] = {
    int: [2**31 - 1, -(2**31) - 1, 2**31, 2**63, -(2**70), True],
    Decimal: [*map(Decimal, ("NaN", "-Infinity", "1E+1000000", "1E-99999", "-1", "1E+20", "0"))],
    datetime: [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)],
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


async def outcome(repository: ReadingRepository[Any, Any], name: str, value: Any) -> Any:
    """How many rows there are, or what the error is about and comes from."""
    try:
        return await repository._count({name: value})
    except InvalidValue as error:
        return error.table, error.fields, error.__cause__


@pytest.mark.parametrize(("repository", "name", "kind"), FILTERS)
async def test_a_value_counts_or_is_refused_by_its_name(
    db: DatabaseEngine, repository: type[ReadingRepository[Any, Any]], name: str, kind: Any
):
    table = repository.table._meta.tablename
    for value in values_for(kind):
        assert await outcome(repository(), name, value) in {0, (table, (name,), None)}
    for value in ALWAYS_WRONG:
        assert await outcome(repository(), name, value) == (table, (name,), None)
