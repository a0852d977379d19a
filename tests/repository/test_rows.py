"""JSON of rows: exact, and the same for the rows of all tables."""

import gc
import json
import typing
from datetime import UTC, date, datetime
from decimal import Decimal
from types import UnionType
from typing import Any
from uuid import UUID

import msgspec
import pytest

from learner_app.accounts.repositories import UserRepository
from learner_app.accounts.rows import UserCreate
from learner_app.content.repositories import ContentRepository
from learner_app.database.engine import DatabaseEngine
from learner_app.learner.repositories import (
    LearnerModelStateRepository,
    UserPreferencesRepository,
)
from learner_app.learner.rows import UserPreferencesUpdate
from learner_app.listening.repositories import ListeningSessionRepository
from learner_app.repository.json_values import is_same_json
from learner_app.repository.rows import Row, to_json
from tests.content.factories import new_content
from tests.repository.declarations import repositories, subclasses

ROWS = sorted(
    {one.row for one in repositories()}
    | {one for one in subclasses(Row) if one.__module__.startswith("learner_app.")},
    key=lambda one: one.__name__,
)
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
VALUES: dict[Any, tuple[Any, Any]] = {
    str: ('a "text" è\n', 'a "text" è\n'),
    int: (2**63 - 1, Decimal(2**63 - 1)),
    float: (0.1, Decimal("0.1")),
    bool: (True, True),
    Decimal: (Decimal("99999999.10"), Decimal("99999999.10")),
    datetime: (MOMENT, "2026-01-02T03:04:05.678901Z"),
    date: (date(2026, 1, 2), "2026-01-02"),
    UUID: (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    list: (["a"], ["a"]),
    dict: (
        {"n": [1, 2**64, -(10**400), 0.5, True, None], "è": {}},
        {"n": [1, 2**64, -(10**400), Decimal("0.5"), True, None], "è": {}},
    ),
}
"""By type a value, and what a reader of the JSON gets who keeps numbers exact."""


def value_of(annotation: Any) -> tuple[Any, Any]:
    if typing.get_origin(annotation) in {typing.Union, UnionType}:
        annotation = next(one for one in typing.get_args(annotation) if one is not type(None))
    if typing.get_origin(annotation) is typing.Literal:
        return (typing.get_args(annotation)[0],) * 2
    return VALUES[typing.get_origin(annotation) or annotation]


def read(encoded: bytes) -> Any:
    return json.loads(encoded, parse_float=Decimal)


@pytest.mark.parametrize("row", ROWS, ids=lambda one: one.__name__)
def test_every_field_of_every_row_is_exact_json(row: type[Row]):
    types = {field.name: field.type for field in msgspec.structs.fields(row)}
    made = row(**{name: value_of(kind)[0] for name, kind in types.items()})
    wanted = {name: value_of(kind)[1] for name, kind in types.items()}
    for value, expected in ((made, wanted), ([made], [wanted]), ({"row": made}, {"row": wanted})):
        found = read(to_json(value))
        assert found == expected
        assert is_same_json(found, expected)
    empty = row(**dict.fromkeys(types))
    assert read(to_json(empty)) == dict.fromkeys(types)


def test_all_row_types_are_under_test():
    assert {one.row for one in repositories()} <= set(ROWS)
    assert len(ROWS) >= 11


async def test_numeric_columns_of_stored_rows_are_numbers(db: DatabaseEngine):
    content = await ContentRepository().add(
        new_content(quality_score=Decimal("0.1"), metadata={"n": 2**70})
    )
    await ListeningSessionRepository().get_or_create("s1")
    state, _ = await LearnerModelStateRepository().get_or_create("s1")
    speed = UserPreferencesUpdate(playback_speed=Decimal("1.1"))
    chosen = await UserPreferencesRepository().save("s1", speed)
    text = to_json([content, state, chosen])
    assert b'"quality_score":0.10' in text
    assert b'"comprehension_level":0.50' in text
    assert b'"playback_speed":1.10' in text
    assert read(text)[0]["metadata"] == {"n": 2**70}


async def test_the_export_of_a_user_has_numbers(db: DatabaseEngine):
    users = UserRepository()
    user = await users.register(UserCreate(email="anna@example.com", password="correct-horse-7"))
    await UserPreferencesRepository().save(user.id, UserPreferencesUpdate(playback_speed=1.25))
    document = await users.export(user.id)
    assert document["preferences"]["playback_speed"] == 1.25
    assert document["user"]["id"] == str(user.id)


def test_rows_with_json_or_lists_are_not_hashable():
    """As docs/repositories.md says; of all types those that have none are."""
    for row in ROWS:
        types = {field.name: field.type for field in msgspec.structs.fields(row)}
        made = row(**{name: value_of(kind)[0] for name, kind in types.items()})
        if any(isinstance(value, list | dict) for value in map(made.__getattribute__, types)):
            with pytest.raises(TypeError, match="unhashable"):
                hash(made)
        else:
            assert len({made, made}) == 1


def test_the_garbage_collector_does_not_track_rows():
    """A stream of a million rows causes no collection of the objects of the whole process."""
    values: dict[str, Any] = {"a": []}
    for row in ROWS:
        made = row(*[values for _ in row.__struct_fields__])
        assert not gc.is_tracked(made)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": 1, "b": [2]}, {"b": [2.0], "a": 1}, True),
        ({"a": 1}, {"a": True}, False),
        ([False], [0], False),
        ([1], [1, 2], False),
        ({"a": None}, {}, False),
        ({}, [], False),
        ("1", 1, False),
    ],
)
def test_equality_as_json(one: Any, other: Any, same: bool):
    assert is_same_json(one, other) is same


def test_nan_and_infinity_are_null_in_json():
    """Repositories reject them, but NUMERIC columns accept them from other writers."""
    rows = {"a": [Decimal("NaN"), Decimal("-Infinity"), float("nan"), Decimal("1.10")], "b": "NaN"}
    assert to_json(rows) == b'{"a":[null,null,null,1.10],"b":"NaN"}'
    assert to_json({"a": Decimal("NaN"), "b": 10**30}) == b'{"a":null,"b":1%s}' % (b"0" * 30)
