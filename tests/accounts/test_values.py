"""Validation of the inputs of users."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner_app.accounts.emails import lookup_form, normalise_email
from learner_app.accounts.rows import AccountUpdate, ProviderUserCreate, UserCreate, UserUpdate
from learner_app.errors import InvalidValue
from tests.accounts.factories import PASSWORD


@pytest.mark.parametrize(
    "email",
    [
        "",
        "anna",
        "anna@",
        "@example.com",
        "anna@localhost",
        "anna@@example.com",
        "an na@example.com",
        "anna@example..com",
        "anna@exa_mple.com",
        "Anna <anna@example.com>",
        "anna@example.com\0",
        "anna\ud800@example.com",
        "anna@example.com,b@example.com",
        "a" * 65 + "@example.com",
        "a@" + "b" * 250 + ".com",
        "a" * 100_000 + "@example.com",
        5,
        None,
    ],
)
def test_malformed_addresses_are_rejected(email: Any):
    for create, more in ((UserCreate, {"password": PASSWORD}), (ProviderUserCreate, {})):
        with pytest.raises(InvalidValue) as caught:
            create(email=email, **more)
        assert caught.value.fields == ("email",)


@given(st.text(max_size=30) | st.emails())
@pytest.mark.slow
def test_normalising_an_address_is_idempotent(text: str):
    try:
        normal = normalise_email(text)
    except ValueError:
        lookup_form(text)
        return
    assert normal == normalise_email(normal) == lookup_form(text)
    assert normal == normal.strip().lower()


@pytest.mark.parametrize(
    "password", ["short-1", "x" * 10, "1" * 10, "a1" * 65, "abcdefg1\0", b"abcdefg1", 5, None]
)
def test_passwords_that_break_a_rule_are_rejected(password: Any):
    with pytest.raises(InvalidValue) as caught:
        UserCreate(email="a@example.com", password=password)
    assert caught.value.fields == ("password",)
    assert "abcdefg1" not in str(caught.value)


def test_fields_of_other_operations_are_rejected():
    for name in ("id", "hashed_password", "is_admin", "email_verified", "created_at"):
        with pytest.raises(InvalidValue) as caught:
            UserCreate(email="a@example.com", password=PASSWORD, **{name: True})
        assert caught.value.fields == (name,)
    for name in ("id", "email", "hashed_password", "password", "email_verified", "is_admin"):
        with pytest.raises(InvalidValue) as caught:
            UserUpdate(**{name: "x"})
        assert caught.value.fields == (name,)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", None),
        ("name", "x" * 256),
        ("name", "a\0"),
        ("image", "javascript:alert(1)"),
        ("image", "https://a b"),
        ("image", "x" * 2001),
        ("exam_date", "soon"),
        ("exam_date", date.max),
        ("target_score", -1),
        ("target_score", 101),
        ("target_score", 1.5),
        ("daily_study_time", 0),
        ("daily_study_time", 2**31),
        ("knowledge_level", "beginner"),
        ("motivation", "x" * 10_001),
        ("referral_source", "Ad"),
        ("dark_mode", None),
        ("dark_mode", "dim"),
    ],
)
def test_invalid_values_of_the_profile_are_rejected(field: str, value: Any):
    with pytest.raises(InvalidValue) as caught:
        UserUpdate(**{field: value})
    assert caught.value.fields == (field,)


def test_inputs_show_no_secret():
    secret = "a-secret-1"
    shown = [
        UserCreate(email="a@example.com", password=secret),
        UserCreate.model_validate({"email": "a@example.com", "password": secret}),
        UserCreate.model_validate_json(f'{{"email": "a@example.com", "password": "{secret}"}}'),
        AccountUpdate(access_token=secret, refresh_token=secret, id_token=secret),
    ]
    for one in shown:
        text = f"{one!r} {one} {one.model_dump()} {one.model_dump_json()}"
        assert secret not in text
    assert shown[0].password.get_secret_value() == secret  # type: ignore[attr-defined]
