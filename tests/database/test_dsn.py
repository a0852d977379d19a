"""Database URLs: parsing, precedence of settings, TLS."""

import ssl
from pathlib import Path

import pytest

from learner_app.database.dsn import find_database_url, parse_url, require_unambiguous_database
from learner_app.errors import DatabaseNotConfigured, SettingsError
from learner_app.settings import Settings, warn_once

CANARY = "hunter2canary"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_schemes_and_escaped_parts(scheme: str):
    target = parse_url("X", f"{scheme}://us%40er:p%23%2F%3F%20w@h:5433/d%C3%A9b")
    assert (target.user, target.password, target.database) == ("us@er", "p#/? w", "déb")
    assert (target.hosts, target.ports) == (("h",), (5433,))


def test_several_hosts():
    target = parse_url("X", "postgresql://u@a:1,b,[::1]:3/d?target_session_attrs=primary")
    assert target.hosts == ("a", "b", "::1")
    assert target.ports == (1, 5432, 3)
    assert target.session_attributes == "primary"


@pytest.mark.parametrize(
    "url",
    ["postgresql://u@/d?host=/run/my%20sockets&port=6000", "postgresql://u@%2Frun%2Fmy sockets/d"],
)
def test_unix_sockets(url: str):
    target = parse_url("X", url)
    assert target.hosts == ("/run/my sockets",)
    assert target.is_local


def test_socket_directory_as_host_may_have_a_port():
    target = parse_url("X", "postgresql://u@%2Frun%2Fpostgresql:6000/d")
    assert (target.hosts, target.ports) == (("/run/postgresql",), (6000,))


def test_other_options_are_server_settings():
    target = parse_url("X", "postgresql://u@h/d?application_name=mine&search_path=a")
    assert target.server_settings == {"application_name": "mine", "search_path": "a"}


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        (f"mysql://u:{CANARY}@h/d", "postgresql+asyncpg://"),
        (f"u:{CANARY}@h/d", "postgresql://"),
        (CANARY, "postgresql://"),
        (f"postgresql://u:{CANARY}#@h/d", "%23"),
        (f"postgresql://u:{CANARY}@@h/d", "%40"),
        (f"postgresql://u:{CANARY}@h:54x/d", "a port must be a number"),
        (f"postgresql://u:{CANARY}@h:99999/d", "a port must be a number"),
        (f"postgresql://u:{CANARY}@h:1,g:0/d", "a port must be a number"),
        (f"postgresql://u:{CANARY}@h/d?port={CANARY}", "a port must be a number"),
        (f"postgresql://u:{CANARY}@h/d?sslmode={CANARY}", "verify-full"),
        (f"postgresql://u:{CANARY}@h/d?{CANARY}", "not a valid URL"),
        (f"postgresql://u:{CANARY}@[h/d", "not a valid URL"),
    ],
)
def test_errors_contain_setting_and_hint_but_no_value(url: str, hint: str):
    with pytest.raises(SettingsError) as caught:
        parse_url("DATABASE_URL", url)
    assert "DATABASE_URL" in str(caught.value)
    assert hint in str(caught.value)
    assert CANARY not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_text_of_a_url_contains_no_password():
    target = parse_url("X", f"postgresql://u:{CANARY}@h/d")
    assert CANARY not in f"{target} {target!r}"
    assert str(target) == "u@h:5432/d"


def test_url_precedes_parts_and_parts_precede_learner_up(tmp_path: Path):
    (tmp_path / "running.json").write_text('{"url": "postgresql://learner@/learner?host=/tmp/x"}')
    settings = Settings(learner_data=tmp_path)
    assert find_database_url(settings).is_development
    assert str(find_database_url(settings)) == "learner@/tmp/x/learner"
    settings.db_host, settings.db_name, settings.db_user = "h", "n", "u"
    assert str(find_database_url(settings)) == "u@h:5432/n"
    settings = settings.model_validate(
        settings.model_dump() | {"database_url": "postgresql://a@b/c"}
    )
    assert str(find_database_url(settings)) == "a@b:5432/c"


def test_error_without_a_database_contains_the_remedy(tmp_path: Path):
    with pytest.raises(DatabaseNotConfigured, match="learner up"):
        find_database_url(Settings(learner_data=tmp_path))


def test_an_unreadable_file_of_a_running_database_is_not_configured(tmp_path: Path):
    (tmp_path / "running.json").mkdir()
    with pytest.raises(DatabaseNotConfigured, match="learner up"):
        find_database_url(Settings(learner_data=tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"db_host": "h", "db_user": "u"}, "DB_HOST is set without DB_NAME"),
        ({"db_host": "h", "db_name": "n"}, "DB_HOST is set without DB_USER"),
        ({"db_host": "h"}, "DB_HOST is set without DB_NAME and DB_USER"),
        ({"db_name": "n"}, "DB_NAME is set without DB_HOST"),
        ({"db_name": "n", "db_user": "u"}, "DB_NAME and DB_USER are set without DB_HOST"),
    ],
)
def test_missing_part_is_named(settings: dict, message: str):
    with pytest.raises(SettingsError, match=message):
        find_database_url(Settings(**settings))


URL = f"postgresql://u:{CANARY}@h:5433/n"
SAME = {"db_host": "h", "db_port": 5433, "db_name": "n", "db_user": "u", "db_password": CANARY}


def test_parts_that_agree_with_the_url_are_accepted(caplog):
    warn_once.cache_clear()
    settings = Settings(database_url=URL, **SAME)
    assert str(find_database_url(settings)) == "u@h:5433/n"
    require_unambiguous_database(settings)
    for name, value in SAME.items():
        require_unambiguous_database(Settings(database_url=URL, **{name: value}))
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "value"),
    [("db_name", "x"), ("db_user", "x"), ("db_password", "x"), ("db_port", 5432)],
)
def test_part_that_differs_from_the_url_without_host_is_an_error(name: str, value: object):
    with pytest.raises(SettingsError) as caught:
        find_database_url(Settings(database_url=URL, **{name: value}))
    assert "DATABASE_URL" in str(caught.value)
    assert name.upper() in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("name", SAME)
def test_url_takes_precedence_over_another_database_with_a_warning(caplog, name: str):
    warn_once.cache_clear()
    settings = Settings(database_url=URL, **SAME | {name: 1 if name == "db_port" else "other"})
    assert str(find_database_url(settings)) == "u@h:5433/n"
    assert f"{name.upper()} differ from it" in caplog.text
    assert CANARY not in caplog.text
    with pytest.raises(SettingsError, match=f"{name.upper()} name different databases"):
        require_unambiguous_database(settings)


@pytest.mark.parametrize("part", ["u%00x", "u:p%00x", "u@h%00x"])
def test_nul_in_the_url_is_refused(part: str):
    with pytest.raises(SettingsError, match="NUL"):
        parse_url("X", f"postgresql://{part if '@' in part else part + '@h'}/d")
    with pytest.raises(SettingsError, match="NUL"):
        parse_url("X", "postgresql://u@h/d?application_name=x%00database%00other")


def security(url_options: str = "", **settings: object) -> str:
    """Describe the encryption of the connection."""
    target = parse_url("X", f"postgresql://u@h/d{url_options}")
    context = target.tls.ssl_argument(Settings(**settings))
    if not isinstance(context, ssl.SSLContext):
        return str(context)
    if context.verify_mode is ssl.CERT_NONE:
        return "encrypted"
    return "verified" if context.check_hostname else "authority verified"


@pytest.mark.parametrize(
    ("options", "settings", "expected"),
    [
        ("", {}, "prefer"),
        ("", {"db_ssl": True}, "verified"),
        ("", {"db_ssl": False}, "False"),
        ("", {"db_ssl": True, "db_ssl_verify": False}, "encrypted"),
        ("?sslmode=disable", {"db_ssl": True}, "False"),
        ("?sslmode=require", {}, "verified"),
        ("?sslmode=require", {"db_ssl_verify": False}, "encrypted"),
        ("?sslmode=verify-ca", {"db_ssl_verify": False}, "authority verified"),
        ("", {"app_env": "production"}, "verified"),
        ("?sslmode=require", {"app_env": "production"}, "verified"),
        ("?sslmode=require", {"app_env": "production", "db_ssl_verify": False}, "encrypted"),
        ("", {"app_env": "production", "db_ssl_verify": False}, "encrypted"),
        ("?sslmode=verify-full", {"app_env": "production", "db_ssl_verify": False}, "verified"),
        ("?sslrootcert=system", {}, "verified"),
    ],
)
def test_encryption(options: str, settings: dict, expected: str):
    assert security(options, **settings) == expected


@pytest.mark.parametrize(
    ("options", "settings", "name"),
    [
        ("?sslmode=disable", {}, "sslmode"),
        ("?sslmode=allow", {}, "sslmode"),
        ("?sslmode=prefer", {}, "sslmode"),
        ("", {"db_ssl": False}, "DB_SSL"),
    ],
)
def test_unencrypted_is_refused_in_production(options: str, settings: dict, name: str):
    with pytest.raises(SettingsError, match=name):
        security(options, app_env="production", **settings)


def test_unreadable_authority_names_the_setting(tmp_path: Path):
    wrong = tmp_path / "ca.pem"
    wrong.write_text("no certificate")
    for path in (tmp_path / "missing.pem", wrong):
        with pytest.raises(SettingsError, match="DB_SSL_ROOT_CERT"):
            security(db_ssl=True, db_ssl_root_cert=path)
