"""Inputs of every repository: whatever is given, they take it or name the field."""

import json
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from pydantic import BaseModel, TypeAdapter

from learner_app.accounts.repositories import AccountRepository, UserRepository
from learner_app.accounts.rows import UserUpdate
from learner_app.content.repositories import ContentRepository
from learner_app.content.rows import ContentUpdate
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue
from learner_app.generation.repositories import GenerationRepository
from learner_app.generation.rows import GenerationUpdate
from learner_app.learner.rows import LearnerModelStateCreate, UserPreferencesCreate
from learner_app.listening.rows import BehavioralEventCreate
from learner_app.repository.inputs import Input
from learner_app.repository.json_values import MAX_JSON_BYTES
from tests.repository.declarations import parameters, plain, repositories, subclasses

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
    *(
        {"a": float("nan")},
        {"a": 10**5000},
        {"a": "x" * MAX_JSON_BYTES},
        CYCLE,
        {1, SECRET},
        object(),
    ),
    *(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC), b"\xff", int),
]


def validation_error(given: type[Input], **fields: Any) -> InvalidValue | None:
    try:
        given.model_validate(fields)
    except InvalidValue as error:
        return error
    return None


@pytest.mark.parametrize(("given", "name"), FIELDS)
def test_a_value_that_no_column_accepts_is_rejected_with_its_field(given: type[Input], name: str):
    for value in NEVER_TAKEN:
        error = validation_error(given, **{name: value})
        assert error is not None
        assert name in error.fields
        assert error.table == given.table._meta.tablename
        assert SECRET not in str(error)
        assert str(error).isprintable()


@pytest.mark.parametrize("given", INPUTS, ids=lambda it: it.__name__)
def test_columns_that_the_database_sets_are_not_fields(given: type[Input]):
    for name in ("created_at", "updated_at", "row_key", "table", "model_config"):
        error = validation_error(given, **{name: SECRET})
        assert error is not None
        assert name in error.fields
        assert SECRET not in str(error)


EPOCH = 1_700_000_000
CONVERTIBLE: dict[Any, list[Any]] = {
    int: ["1", "10", True, 1.0, Decimal(1)],
    float: ["0.5", True],
    Decimal: ["0.5", "1", True, b"1", "0.5 "],
    datetime: [EPOCH, float(EPOCH), Decimal(EPOCH), str(EPOCH), f"-{EPOCH}", True, "2026-01-01"],
    date: [86_400, 86_400.0, "86400", Decimal(86_400), True],
    bool: [0, 1, "true", "yes", "1", b"1"],
    str: [b"text", 1, 0.5, True],
}
"""What Pydantic would convert to the type."""

TYPED_FIELDS = [
    pytest.param(given, name, kind, id=f"{given.__name__}-{name}")
    for given in INPUTS
    for name, field in given.model_fields.items()
    if (kind := plain(field.annotation)[0]) in CONVERTIBLE
]
URL_FIELDS = [
    pytest.param(given, name, id=f"{given.__name__}-{name}")
    for given in subclasses(Input)
    if given.__module__.startswith("learner_app.")
    for name in given.model_fields
    if name.endswith("url") or name == "image"
]


@pytest.mark.parametrize(("given", "name", "kind"), TYPED_FIELDS)
def test_field_values_are_not_converted(given: type[Input], name: str, kind: Any):
    """Neither in Python nor in JSON: a text is no number, and a number is no time."""
    for value in CONVERTIBLE[kind]:
        error = validation_error(given, **{name: value})
        assert error is not None
        assert name in error.fields, value
        if isinstance(value, str | int | float) and not (kind is int and value == 1.0):
            with pytest.raises(InvalidValue) as caught:
                given.model_validate_json(json.dumps({name: value}))
            assert name in caught.value.fields, value


@pytest.mark.parametrize(
    ("given", "name"),
    [pytest.param(*one.values[:2], id=one.id) for one in TYPED_FIELDS if one.values[2] is datetime],
)
def test_times_are_accepted_as_iso_8601_text(given: type[Input], name: str):
    wanted = datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)
    for text in (
        "2026-01-02T03:04:05.6Z",
        "2026-01-02T05:04:05.600+02:00",
        "2026-01-02 03:04:05.6+00:00",
    ):
        with suppress(InvalidValue):  # of other fields, which are missing
            assert getattr(given.model_validate({name: text}), name) == wanted
        error = validation_error(given, **{name: text})
        assert error is None or name not in error.fields


@pytest.mark.parametrize(("given", "name"), URL_FIELDS)
def test_urls_are_http_or_https(given: type[Input], name: str):
    for url in ("javascript:alert(1)", "data:text/html,x", "ftp://a.example/", "//a.example/", "x"):
        error = validation_error(given, **{name: url})
        assert error is not None
        assert name in error.fields
    for url in ("http://a.example/x", "HTTPS://a.example"):
        error = validation_error(given, **{name: url})
        assert error is None or name not in error.fields


def test_every_url_field_is_under_test():
    found = {one.id for one in URL_FIELDS}
    assert {"ContentCreate-audio_url", "ContentUpdate-audio_url", "Audio-url"} <= found
    assert {"GenerationCreate-webhook_url", "GenerationUpdate-webhook_url"} <= found
    assert {"UserUpdate-image", "ProviderUserCreate-image"} <= found


@pytest.mark.parametrize(
    "made",
    [
        LearnerModelStateCreate(
            session_id="s1", comprehension_level=0.29, difficulty_adjustment=-3
        ),
        UserPreferencesCreate(id="u1", playback_speed=Decimal("1.1")),
        BehavioralEventCreate(
            content_id="c1",
            session_id="s1",
            event_type="play",
            playback_position=Decimal("99999999.99"),
            timestamp=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        ),
    ],
    ids=lambda one: type(one).__name__,
)
def test_an_input_accepts_its_own_json(made: Input):
    again = type(made).model_validate_json(made.model_dump_json())
    assert again == made
    assert type(made).model_validate(made.model_dump()) == made


class Nested(BaseModel):
    """A body of a web service, with an input inside."""

    changes: ContentUpdate


WAYS: dict[str, Callable[[], Any]] = {
    "constructor": lambda: ContentUpdate(duration=SECRET),  # type: ignore[arg-type]
    "model_validate": lambda: ContentUpdate.model_validate({"duration": SECRET}),
    "model_validate of no object": lambda: ContentUpdate.model_validate([SECRET]),
    "model_validate_json": lambda: ContentUpdate.model_validate_json(f'{{"duration": "{SECRET}"}}'),
    "model_validate_json of no object": lambda: ContentUpdate.model_validate_json(f'["{SECRET}"]'),
    "nested": lambda: Nested.model_validate({"changes": {"duration": SECRET}}),
    "nested JSON": lambda: Nested.model_validate_json(f'{{"changes": {{"duration": "{SECRET}"}}}}'),
    "TypeAdapter": lambda: TypeAdapter(list[ContentUpdate]).validate_python([{"duration": SECRET}]),
}


@pytest.mark.parametrize("way", WAYS)
def test_inputs_raise_invalid_value_themselves(way: str):
    with pytest.raises(InvalidValue) as caught:
        WAYS[way]()
    error = caught.value
    assert error.fields == (() if "no object" in way else ("duration",))
    assert (error.__cause__, error.__context__) == (None, None)
    assert SECRET not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("given", INPUTS, ids=lambda it: it.__name__)
def test_assignment_to_a_field_is_rejected_without_its_value(given: type[Input]):
    made = given.model_construct()
    name = next(iter(given.model_fields), "name")
    with pytest.raises(InvalidValue) as caught:
        setattr(made, name, SECRET)
    assert caught.value.fields == (name,)
    assert SECRET not in str(caught.value)


def test_a_datetime_is_rejected_as_a_date():
    for value in (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1)):  # noqa: DTZ001
        error = validation_error(UserUpdate, exam_date=value)
        assert error is not None
        assert error.fields == ("exam_date",)
    assert UserUpdate(exam_date=date(2026, 1, 1)).exam_date == date(2026, 1, 1)


Call = Callable[[Any], Awaitable[Any]]
TAKE_INPUTS: dict[str, Call] = {
    "get_or_create_active new GenerationCreate": GenerationRepository().get_or_create_active,
    "store_for_session new ContentCreate": lambda it: GenerationRepository().store_for_session(
        "s1", it
    ),
    "register new UserCreate": UserRepository().register,
    "register_with_provider new ProviderUserCreate": lambda it: (
        UserRepository().register_with_provider(it, "google", "g1")
    ),
    "update changes UserUpdate": lambda it: UserRepository().update(uuid4(), it),
    "update_tokens changes AccountUpdate": lambda it: AccountRepository().update_tokens(
        uuid4(), it
    ),
    "link tokens AccountUpdate": lambda it: AccountRepository().link(uuid4(), "google", "g1", it),
    "add new ContentCreate": ContentRepository().add,
    "update changes ContentUpdate": lambda it: ContentRepository().update("c1", it),
}


@pytest.mark.parametrize("name", TAKE_INPUTS)
@pytest.mark.parametrize("wrong", ["x", {}, 1, object(), GenerationUpdate()], ids=type)
async def test_objects_other_than_inputs_are_rejected(db: DatabaseEngine, name: str, wrong: Any):
    _, argument, wanted = name.split()
    with pytest.raises(InvalidValue, match=f"must be an? {wanted}") as caught:
        await TAKE_INPUTS[name](wrong)
    assert caught.value.fields == (argument,)
