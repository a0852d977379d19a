"""Inputs of every repository: whatever is given, they take it or name the field."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from learner_app.errors import InvalidValue
from learner_app.repository.inputs import Input
from learner_app.repository.values import JSON_BYTES
from tests.repository.declarations import parameters, repositories

INPUTS = [given for repository in repositories() for given in parameters(repository)[2:]]
FIELDS = [
    pytest.param(given, name, id=f"{given.__name__}-{name}")
    for given in INPUTS
    for name in given.model_fields
]
SECRET = "5ecret"
CYCLE: dict[str, Any] = {}
CYCLE["me"] = [CYCLE]
NEVER_TAKEN: list[Any] = [
    *(float("nan"), float("-inf"), 10**5000, *map(Decimal, ("sNaN", "1E+1000000", "-1E+99999"))),
    *("\0", "\ud800", [f"{SECRET}\0"], {"a": f"{SECRET}\0"}, {"a": "\ud800"}, {"a": {1: SECRET}}),
    *({"a": float("nan")}, {"a": 10**5000}, {"a": "x" * JSON_BYTES}, CYCLE, {1, SECRET}, object()),
    *(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), b"\xff", int),
]


def complaint(given: type[Input], **fields: Any) -> InvalidValue | None:
    try:
        given.model_validate(fields)
    except InvalidValue as error:
        return error
    return None


@pytest.mark.parametrize(("given", "name"), FIELDS)
def test_what_no_column_takes_is_refused_by_the_field(given: type[Input], name: str):
    for value in NEVER_TAKEN:
        error = complaint(given, **{name: value})
        assert error is not None
        assert name in error.fields
        assert error.table == given.table._meta.tablename
        assert SECRET not in str(error)
        assert str(error).isprintable()


@pytest.mark.parametrize("given", INPUTS, ids=lambda it: it.__name__)
def test_columns_of_the_databases_own_are_no_fields(given: type[Input]):
    for name in ("created_at", "updated_at", "row_key", "table", "model_config"):
        error = complaint(given, **{name: SECRET})
        assert error is not None
        assert name in error.fields
        assert SECRET not in str(error)
