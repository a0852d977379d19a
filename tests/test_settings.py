"""Settings: the example file, and what a mistake says."""

import re
from pathlib import Path

import pytest

from learner_app.errors import SettingsError
from learner_app.settings import Settings, load_settings

CANARY = "hunter2canary"


def test_env_example_lists_every_setting(checkout: Path):
    lines = (checkout / ".env.example").read_text().splitlines()
    found = {}
    for number, line in enumerate(lines):
        name, separator, value = line.removeprefix("# ").partition("=")
        if separator and name.isupper():
            found[name] = value
            assert lines[number - 1].startswith("# "), f"{name} has no comment above it"
    assert list(found) == [name.upper() for name in Settings.model_fields]
    for name, value in found.items():
        default = Settings.model_fields[name.lower()].default
        shown = "" if default is None else str(default).lower().removesuffix(".0")
        assert value == shown, name


def test_documentation_lists_every_setting_and_default(checkout: Path):
    table = (checkout / "docs/settings.md").read_text()
    rows = re.findall(r"^\| `([A-Z_]+)` \| *`?([^`|]*?)`? *\|", table, re.MULTILINE)
    defaults = {
        name.upper(): "" if field.default is None else str(field.default).lower().removesuffix(".0")
        for name, field in Settings.model_fields.items()
    }
    assert {name: value.strip() for name, value in rows} == defaults


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APP_ENV", "staging"),
        ("DB_PORT", "http"),
        ("DB_PORT", "0"),
        ("DB_PORT", "65536"),
        ("DB_SSL", "maybe"),
        ("DB_POOL_MAX", "0"),
        ("DB_POOL_MAX", "many"),
        ("DB_POOL_MIN", "21"),
        ("DB_POOL_MIN", "-1"),
        ("DB_ACQUIRE_TIMEOUT", "-1"),
        ("DB_COMMAND_TIMEOUT", "inf"),
        ("DB_CONNECT_TIMEOUT", "nan"),
        ("DB_RETRY_ATTEMPTS", "0"),
        ("DB_RETRY_INITIAL", "31"),
        ("DB_RETRY_MULTIPLIER", "0.5"),
    ],
)
def test_wrong_value_names_the_setting_and_not_the_value(monkeypatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as caught:
        load_settings()
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)


def test_echo_is_for_development_only(monkeypatch):
    monkeypatch.setenv("DB_ECHO", "true")
    assert load_settings().db_echo
    monkeypatch.setenv("APP_ENV", "production")
    with pytest.raises(SettingsError, match="DB_ECHO"):
        load_settings()


def test_repr_shows_no_secret():
    settings = Settings(database_url=f"postgresql://u:{CANARY}@h/d", db_password=CANARY)
    assert CANARY not in repr(settings)
    assert CANARY not in str(settings.model_dump())
