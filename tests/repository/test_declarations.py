"""Table, row, inputs and filters of every repository say the same."""

from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from piccolo.columns import JSONB, Array, BigInt, Integer, Numeric, Text, Timestamptz, Varchar
from piccolo.table import Table
from pydantic import Field
from typing_extensions import TypedDict

from learner_app.repository.base import ReadOnlyRepository
from learner_app.repository.filters import Filters, at_least, equals, one_of
from learner_app.repository.inputs import UNSET, Input
from learner_app.repository.rows import Row
from learner_app.repository.values import Text50, UtcDatetime, new_key
from learner_app.schema.columns import Now
from tests.repository.declarations import (
    DOMAINS,
    create_mistakes,
    filter_mistakes,
    parameters,
    repositories,
    row_mistakes,
    subclasses,
    update_mistakes,
)

REPOSITORIES = repositories()

DEFAULTS_OF_THE_PRODUCT = {
    "learner_model_state": (
        "preference_weights",
        "comprehension_level",
        "content_type_preferences",
    ),
    "user_preferences": ("difficulty_preference", "preferred_formats"),
    "tenant_members": ("role",),
}
"""Fields by table whose default in the input is not the one of the database."""

INPUTS = [
    one
    for one in subclasses(Input)
    if one.__module__.startswith(tuple(f"learner_app.{domain}." for domain in DOMAINS))
]


def of_table(table: type[Table], suffix: str) -> list[type[Input]]:
    return [one for one in INPUTS if one.table is table and one.__name__.endswith(suffix)]


HASHED = {
    "UserCreate": (
        "create.password: no column",
        "create.hashed_password: the column needs a value",
    ),
    "ProviderUserCreate": ("create.hashed_password: the column needs a value",),
}
"""A password is given, a hash is stored; some have neither."""


@pytest.mark.parametrize("repository", REPOSITORIES, ids=lambda one: one.__name__)
def test_table_row_inputs_and_filters_of_a_repository_agree(
    repository: type[ReadOnlyRepository[Any, Any]],
):
    table = repository.table
    row, _, *inputs = parameters(repository)
    assert row is repository.row
    assert {given.table for given in inputs} <= {table}
    assert [*row_mistakes(table, row), *filter_mistakes(table, repository.filters)] == []
    own_defaults = DEFAULTS_OF_THE_PRODUCT.get(table._meta.tablename, ())
    for given in inputs:
        if given.__name__.endswith("Update"):
            assert list(update_mistakes(table, given)) == []
            continue
        assert sorted(create_mistakes(table, given, repository.stored_as)) == sorted(
            [
                *HASHED.get(given.__name__, ()),
                *(f"create.{name}: another default than the column's" for name in own_defaults),
            ]
        )


def test_every_input_belongs_to_a_repository():
    used = {one for repository in REPOSITORIES for one in parameters(repository)[2:]}
    kept = {
        one
        for repository in REPOSITORIES
        for suffix in ("Create", "Update")
        for one in of_table(repository.table, suffix)
    }
    assert kept == used


class Other(Table):
    name = Varchar(50, default=None)


class Kind(str, Enum):
    a = "a"
    b = "b"


class Thing(Table):
    id = Varchar(255, primary_key=True, default=None)
    name = Varchar(50, default=None)
    kind = Varchar(50, default=None, choices=Kind)
    size = Integer(default=3, null=True)
    score = Numeric((3, 2), default=None, null=True)
    tags = Array(Text(), default=None, null=True)
    made_at = Timestamptz(default=Now())
    more = JSONB(default=None, null=True)
    bytes = BigInt(default=None, null=True)


class ThingRow(Row, frozen=True):
    id: str
    name: str
    kind: Literal["a", "b"]
    size: int | None
    score: Decimal | None
    tags: list[str] | None
    made_at: datetime
    more: dict[str, Any] | None
    bytes: int | None


class Stranger(Row, frozen=True):
    id: str
    kind: Literal["a", "c"]
    name: str | None
    size: int
    score: float | None
    tags: list[int] | None
    made_at: Decimal
    more: str | None
    bytes: int | None


ID = Annotated[str, Field(max_length=255)]


class ThingCreate(Input, table=Thing):
    id: ID = Field(default_factory=new_key)
    name: Text50
    kind: Literal["a", "b"]
    size: int | None = 3
    score: Decimal | None = None
    tags: list[str] | None = None
    made_at: UtcDatetime | None = None
    more: dict[str, Any] | None = None
    bytes: int | None = None


class StrangeCreate(Input, table=Thing):
    id: Text50
    kind: str
    size: int | None = None
    score: Decimal
    tags: list[str] = Field(default_factory=list)
    made_at: UtcDatetime
    more: list[str] | None = None
    bytes: int | None = 5
    other: int


class ThingUpdate(Input, table=Thing):
    name: Text50 = UNSET
    score: Decimal | None = None
    made_at: UtcDatetime = UNSET


class StrangeUpdate(Input, table=Thing):
    id: ID = UNSET
    name: Text50 | None = None
    kind: Literal["a", "b"]
    size: int = UNSET
    score: Decimal | None = Decimal(1)
    other: int = UNSET


class ThingFilters(TypedDict, total=False):
    kind: Literal["a", "b"]
    names: list[str]
    made_from: UtcDatetime


class StrangeFilters(TypedDict):
    kind: int
    names: list[int]
    name: str | None
    more: int


CONDITIONS = {
    "kind": equals(Thing.kind),
    "names": one_of(Thing.name),
    "made_from": at_least(Thing.made_at),
}


def test_matching_declarations_pass():
    assert [
        *row_mistakes(Thing, ThingRow),
        *create_mistakes(Thing, ThingCreate, ()),
        *update_mistakes(Thing, ThingUpdate),
        *filter_mistakes(Thing, Filters(Thing, ThingFilters, CONDITIONS)),
    ] == []


def test_a_mismatching_row_is_found():
    found = {mistake.partition(":")[0] for mistake in row_mistakes(Thing, Stranger)}
    wrong = {"kind", "name", "size", "score", "tags", "made_at", "more"}
    assert found == {"row", *(f"row.{name}" for name in wrong)}


def test_mismatching_inputs_are_found():
    found = {mistake.partition(":")[0] for mistake in create_mistakes(Thing, StrangeCreate, ())}
    assert found == {f"create.{name}" for name in {*StrangeCreate.model_fields, "name"}}
    found = {mistake.partition(":")[0] for mistake in update_mistakes(Thing, StrangeUpdate)}
    assert found == {f"update.{name}" for name in StrangeUpdate.model_fields}


def test_an_expression_replaces_a_field_of_the_input():
    assert "create.name" in str(list(create_mistakes(Thing, StrangeCreate, ())))
    assert "create.name" not in str(list(create_mistakes(Thing, StrangeCreate, {"name"})))


def test_mismatching_filters_are_found():
    other = {**CONDITIONS, "name": equals(Other.name)}
    found = [*filter_mistakes(Thing, Filters(Thing, StrangeFilters, other))]
    assert {mistake.partition(":")[0] for mistake in found} == {
        "filters",
        "filters.kind",
        "filters.names",
        "filters.name",
        "filters.more",
    }
