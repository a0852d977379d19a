"""Rejected inputs leave no value in the local variables of a traceback."""

import io
import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from types import FrameType, MappingProxyType
from typing import Any

import pytest
from pydantic import TypeAdapter, type_adapter
from rich.console import Console
from rich.traceback import Traceback

from learner_app.accounts.rows import AccountUpdate, ProviderUserCreate, UserCreate, UserUpdate
from learner_app.errors import InvalidValue
from learner_app.repository.inputs import Input
from tests.accounts.error_chains import chained

SECRET = "canary-in-hand"  # breaks the policy: no digit
GOOD = "canary-in-hand-1"
ADDRESS = "anna@example.com"
OF_THE_CALLER = (__file__, type_adapter.__file__)
INPUTS: tuple[type[Input], ...] = (UserCreate, ProviderUserCreate, UserUpdate, AccountUpdate)


class Strange(Mapping[str, Any]):
    """Mapping that is not a dict."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self.fields = fields

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)


def frames(error: BaseException) -> Iterator[FrameType]:
    for one in chained(error):
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if frame.f_code.co_filename not in OF_THE_CALLER:
                yield frame


def assert_shows_nothing(error: BaseException) -> None:
    """Assert that neither the error, nor a frame below the caller, nor a report shows a value."""
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "canary" not in f"{error} {error!r} {vars(error)}"
    for frame in frames(error):
        assert "/pydantic/" not in frame.f_code.co_filename
        for name, value in frame.f_locals.items():
            assert "canary" not in f"{value!r} {value}", (frame.f_code, name)
    found = error.__traceback__
    while found is not None and found.tb_frame.f_code.co_filename in OF_THE_CALLER:
        found = found.tb_next
    error = error.with_traceback(found)
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert "canary" not in "".join(told.format())
    out = io.StringIO()
    shown = Traceback.from_exception(type(error), error, found, show_locals=True)
    Console(file=out, width=200).print(shown)
    assert "canary" not in out.getvalue()


USER = {"email": "x", "password": SECRET}
TOKENS = {"access_token": GOOD, "scope": 5}
MISSPELT = {"email": ADDRESS, "passwrd": GOOD}

REFUSED: dict[str, tuple[Callable[[], Any], set[str]]] = {
    "made": (lambda: UserCreate(**USER), {"password"}),
    "misspelt": (lambda: UserCreate(**MISSPELT), {"password", "passwrd"}),
    "bytes": (lambda: UserCreate(email=ADDRESS, password=GOOD.encode()), {"password"}),
    "list": (lambda: UserCreate(email=ADDRESS, password=[GOOD]), {"password"}),
    "nested": (lambda: UserCreate(email=ADDRESS, password={"new": GOOD}), {"password"}),
    "secret as address": (lambda: UserCreate(email=f"{GOOD}\0", password=GOOD), {"email"}),
    "validated": (lambda: UserCreate.model_validate(USER), {"password"}),
    "validated text": (lambda: UserCreate.model_validate(GOOD), set()),
    "validated bytes": (lambda: UserCreate.model_validate(GOOD.encode()), set()),
    "validated list": (lambda: UserCreate.model_validate([USER]), set()),
    "validated mapping": (lambda: UserCreate.model_validate(MappingProxyType(USER)), {"password"}),
    "validated strange": (lambda: UserCreate.model_validate(Strange(MISSPELT)), {"password"}),
    "validated user": (lambda: UserCreate.model_validate(AccountUpdate(id_token=GOOD)), set()),
    "JSON": (lambda: UserCreate.model_validate_json(json.dumps(USER)), {"password"}),
    "JSON bytes": (lambda: UserCreate.model_validate_json(json.dumps(USER).encode()), {"password"}),
    "JSON list": (lambda: UserCreate.model_validate_json(json.dumps([USER])), set()),
    "no JSON": (lambda: UserCreate.model_validate_json(json.dumps(USER)[:-1]), set()),
    "surrogate": (lambda: UserCreate.model_validate_json(f'"{GOOD}\ud800"'), set()),
    "JSON as dict": (lambda: UserCreate.model_validate_json(USER), set()),
    "strings": (lambda: UserCreate.model_validate_strings(USER), {"password"}),
    "scope": (lambda: AccountUpdate(**TOKENS), {"scope"}),
    "NUL": (lambda: AccountUpdate(access_token=f"{GOOD}\0"), {"access_token"}),
    "token as bytes": (lambda: AccountUpdate(id_token=GOOD.encode()), {"id_token"}),
    "validated tokens": (lambda: AccountUpdate.model_validate(TOKENS), {"scope"}),
    "JSON tokens": (lambda: AccountUpdate.model_validate_json(json.dumps(TOKENS)), {"scope"}),
    "no JSON tokens": (lambda: AccountUpdate.model_validate_json(json.dumps(TOKENS)[1:]), set()),
    "hash": (lambda: UserUpdate(hashed_password=GOOD), {"hashed_password"}),
    "password of a provider": (
        lambda: ProviderUserCreate(email=ADDRESS, password=GOOD),
        {"password"},
    ),
}
ADAPTERS = {
    "adapter": (lambda: TypeAdapter(UserCreate).validate_python(USER), {"password"}),
    "adapter of text": (lambda: TypeAdapter(UserCreate).validate_python(GOOD), set()),
    "adapter of a list": (lambda: TypeAdapter(list[UserCreate]).validate_python([USER]), USER),
    "adapter of JSON": (lambda: TypeAdapter(UserCreate).validate_json(json.dumps(USER)), USER),
    "adapter of strings": (lambda: TypeAdapter(UserCreate).validate_strings(USER), USER),
    "adapter of tokens": (lambda: TypeAdapter(AccountUpdate).validate_python(TOKENS), {"scope"}),
    "adapter of a NUL": (
        lambda: TypeAdapter(AccountUpdate).validate_python({"access_token": f"{GOOD}\0"}),
        {"access_token"},
    ),
    "adapter of a hash": (
        lambda: TypeAdapter(UserUpdate).validate_python({"hashed_password": GOOD}),
        {"hashed_password"},
    ),
}
CASES = {**REFUSED, **ADAPTERS}


@pytest.mark.parametrize("case", CASES)
def test_an_error_of_an_input_shows_no_value(case: str):
    make, fields = CASES[case]
    with pytest.raises(InvalidValue) as caught:
        make()
    assert set(fields) <= {*caught.value.fields, "email"}
    assert caught.value.table in ("users", "accounts")
    assert_shows_nothing(caught.value)


def test_an_interrupt_shows_no_value():
    """The error may also come from a signal handler."""

    class Interrupting(Strange):
        def __getitem__(self, name: str) -> Any:
            raise KeyboardInterrupt

        def __iter__(self) -> Iterator[str]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        UserCreate.model_validate(Interrupting({"password": GOOD}))
    assert_shows_nothing(caught.value)


def test_assignment_to_an_input_is_rejected_without_its_value():
    new = UserCreate(email=ADDRESS, password=GOOD)
    with pytest.raises(InvalidValue, match="password: cannot be changed") as caught:
        new.password = f"{GOOD}0"  # type: ignore[misc,assignment]
    assert_shows_nothing(caught.value)


@pytest.mark.parametrize("given", INPUTS)
def test_malformed_json_is_an_invalid_value(given: type[Input]):
    with pytest.raises(InvalidValue) as caught:
        given.model_validate_json(f'{{"a": "{GOOD}')
    assert str(caught.value) == f"{given.table._meta.tablename}: is not valid JSON"
    assert caught.value.fields == ()


def test_valid_inputs_are_created_by_every_constructor():
    fields = {"email": "Anna@Example.com", "password": GOOD}
    wanted = UserCreate(**fields)
    assert wanted.set_fields().keys() == fields.keys()
    assert wanted.email == ADDRESS
    assert wanted.password.get_secret_value() == GOOD
    for one in (
        UserCreate.model_validate(fields),
        UserCreate.model_validate(wanted),
        UserCreate.model_validate_json(json.dumps(fields)),
        UserCreate.model_validate_strings(fields),
        TypeAdapter(UserCreate).validate_python(fields),
        TypeAdapter(list[UserCreate]).validate_json(json.dumps([fields]))[0],
        wanted.model_copy(),
    ):
        assert one == wanted
        assert one.model_fields_set == wanted.model_fields_set
    assert UserUpdate(name="A").set_fields() == {"name": "A"}
    assert AccountUpdate().set_fields() == {}


def test_an_error_raised_while_another_is_handled_has_no_context():
    try:
        int(GOOD)
    except ValueError:
        with pytest.raises(InvalidValue) as caught:
            UserCreate(**USER)
    assert_shows_nothing(caught.value)
