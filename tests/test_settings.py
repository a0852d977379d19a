"""Settings: example file, documentation and error messages."""

import re
from pathlib import Path

import pytest

from learner_app.errors import SettingsError
from learner_app.settings import Settings, load_settings, warn_once

CANARY = "hunter2canary"


def compose_variables(checkout: Path) -> dict[str, str]:
    """Variables that compose.yaml substitutes, with their defaults."""
    text = (checkout / "compose.yaml").read_text()
    found = re.findall(r"\$\{([A-Z_]+)(?::-([^}]*))?", text)
    return {name: default for name, default in found if name.lower() not in Settings.model_fields}


def test_env_example_lists_every_setting(checkout: Path):
    lines = (checkout / ".env.example").read_text().splitlines()
    found = {}
    for number, line in enumerate(lines):
        name, separator, value = line.removeprefix("# ").partition("=")
        if separator and name.isupper():
            found[name] = value
            assert lines[number - 1].startswith("# "), f"{name} has no comment above it"
    of_compose = compose_variables(checkout)
    assert {name: found.pop(name, None) for name in of_compose} == of_compose
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


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DB_POOLMAX", "DB_POOL_MAX"),
        ("db_poolmax", "DB_POOL_MAX"),
        ("DB_HSOT", "DB_HOST"),
        ("DB_HOSTNAME", "DB_HOST"),
        ("DB_USERNAME", "DB_USER"),
        ("DB_PASS", "DB_PASSWORD"),
        ("DB_DATABASE", "DB_NAME"),
        ("DB_URL", "DATABASE_URL"),
        ("DB_SSLMODE", "DB_SSL"),
        ("DB_SSLROOTCERT", "DB_SSL_ROOT_CERT"),
        ("DATABSE_URL", "DATABASE_URL"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("TEST_DATABSE_URL", "TEST_DATABASE_URL"),
    ],
)
def test_misspelt_setting_is_an_error_that_names_the_setting(monkeypatch, name, meant):
    monkeypatch.setenv(name, CANARY)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == f"{name.upper()} is not a setting: did you mean {meant}?"


def test_misspelt_settings_in_the_env_file_are_errors(monkeypatch, tmp_path: Path):
    monkeypatch.setattr("learner_app.settings.project_folder", lambda: tmp_path)
    (tmp_path / ".env").write_text("DB_POOLMAX=3\nDB_NMAE=x\n")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "DB_POOLMAX is not a setting: did you mean DB_POOL_MAX?" in str(caught.value)
    assert "DB_NMAE is not a setting: did you mean DB_NAME?" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "closest"),
    [
        ("DB_BACKUP_DIR", None),
        ("DB_CONNECTION", "DB_CONNECT_TIMEOUT"),
        ("DB_ROOT_PASSWORD", "DB_PASSWORD"),
    ],
)
def test_variable_of_another_program_is_reported_and_ignored(monkeypatch, caplog, name, closest):
    warn_once.cache_clear()
    monkeypatch.setenv(name, CANARY)
    load_settings()
    load_settings()
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{name} is not a setting of learner_app and is ignored")
    assert closest is None or record.getMessage().endswith(f"the closest setting is {closest}")
    assert CANARY not in caplog.text


@pytest.mark.parametrize(
    "name",
    ["DATABASE_PUBLIC_URL", "DATABASE_URL_UNPOOLED", "AUTH_DATABASE_URL", "DATABASE_PRIVATE_URL"],
)
def test_urls_that_providers_add_are_neither_errors_nor_reported(monkeypatch, caplog, name):
    monkeypatch.setenv(name, "postgresql://h/d")
    assert not load_settings().has_database
    assert not caplog.records


def test_url_that_resembles_one_that_is_set_is_no_error(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://h/d")
    monkeypatch.setenv("DATABASE_URI", "postgresql://h/e")
    assert load_settings().has_database


PARTS = {
    "DB_NAME": "scratch",
    "DB_USER": "me",
    "DB_PASSWORD": CANARY,
    "DB_PORT": "5433",
    "DB_SSL": "true",
    "DB_SSL_ROOT_CERT": "ca.pem",
    "DB_SSL_CERT": "client.pem",
    "DB_SSL_KEY": "client.key",
    "db_name": "scratch",
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("place", ["environment", ".env"])
def test_part_of_a_database_without_host_is_an_error(monkeypatch, tmp_path, place: str, name: str):
    monkeypatch.setattr("learner_app.settings.project_folder", lambda: tmp_path)
    if place == ".env":
        (tmp_path / ".env").write_text(f"{name}={PARTS[name]}\n")
    else:
        monkeypatch.setenv(name, PARTS[name])
        monkeypatch.setenv("DB_HOST", "")
    with pytest.raises(SettingsError) as caught:
        _ = load_settings().has_database
    assert str(caught.value).startswith(f"{name.upper()} is set without DB_HOST")


@pytest.mark.parametrize("setting", [{"db_ssl": False}, {"db_pool_max": 5}, {"app_env": "test"}])
def test_settings_that_describe_no_server_require_no_host(setting: dict):
    assert not Settings(**setting).has_database


def test_url_of_the_environment_replaces_the_parts_of_the_env_file(monkeypatch, tmp_path: Path):
    monkeypatch.setattr("learner_app.settings.project_folder", lambda: tmp_path)
    (tmp_path / ".env").write_text("DB_HOST=h\nDB_NAME=n\nDB_USER=u\nDB_PASSWORD=p\nDB_PORT=1\n")
    monkeypatch.setenv("DATABASE_URL", "postgresql://a@b/c")
    assert not load_settings().model_fields_set & {"db_host", "db_name", "db_user", "db_port"}


@pytest.mark.parametrize("name", ["DB_HOST", "DB_NAME", "DB_USER", "DB_PASSWORD", "DB_PORT"])
def test_part_in_the_environment_and_url_in_the_env_file_is_an_error(monkeypatch, tmp_path, name):
    monkeypatch.setattr("learner_app.settings.project_folder", lambda: tmp_path)
    (tmp_path / ".env").write_text(f"DATABASE_URL=postgresql://a:{CANARY}@b/c\n")
    monkeypatch.setenv(name, "1")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert name in str(caught.value)
    assert "DATABASE_URL in .env" in str(caught.value)
    assert CANARY not in str(caught.value)


def test_part_in_the_environment_replaces_that_of_the_env_file(monkeypatch, tmp_path: Path):
    monkeypatch.setattr("learner_app.settings.project_folder", lambda: tmp_path)
    (tmp_path / ".env").write_text("DB_HOST=h\nDB_NAME=n\nDB_USER=u\n")
    monkeypatch.setenv("DB_NAME", "scratch")
    settings = load_settings()
    assert (settings.db_host, settings.db_name, settings.db_user) == ("h", "scratch", "u")


def test_echo_is_for_development_only(monkeypatch):
    monkeypatch.setenv("DB_ECHO", "true")
    assert load_settings().db_echo
    monkeypatch.setenv("APP_ENV", "production")
    with pytest.raises(SettingsError, match="DB_ECHO"):
        load_settings()


def test_repr_shows_no_secret():
    settings = Settings(
        database_url=f"postgresql://u:{CANARY}@h/d",
        db_password=CANARY,
        db_ssl_key_password=CANARY,
    )
    assert CANARY not in repr(settings)
    assert CANARY not in str(settings.model_dump())
