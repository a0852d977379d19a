"""Options of the URL: settings of the session, unsupported and ignored ones."""

import pytest

from learner_app.database.dsn import parse_url
from learner_app.database.engine import DatabaseEngine
from learner_app.database.url_options import IGNORED_LIBPQ_OPTIONS, REPLACEMENTS
from learner_app.errors import DatabaseRefused, SettingsError
from learner_app.settings import Settings

CANARY = "hunter2canary"


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ("pgbouncer=true", "DB_PGBOUNCER=true"),
        ("PgBouncer=true", "DB_PGBOUNCER=true"),
        ("schema=app", "search_path"),
        ("connection_limit=5", "DB_POOL_MAX"),
        ("pool_timeout=5", "DB_ACQUIRE_TIMEOUT"),
        ("socket_timeout=5", "DB_COMMAND_TIMEOUT"),
        ("async_fallback=true", "remove it"),
        ("ssl=require", "sslmode"),
        ("prepared_statement_cache_size=0", "DB_PGBOUNCER=true"),
        ("currentSchema=app", "search_path"),
        ("database=other", "dbname"),
        ("service=prod", "host, database and user"),
        ("ssl_min_protocol_version=TLSv1.3", "TLS 1.2"),
    ],
)
def test_unsupported_option_is_reported_with_its_replacement(option: str, instead: str):
    with pytest.raises(SettingsError) as caught:
        parse_url("DATABASE_URL", f"postgresql://u:{CANARY}@h/d?application_name=x&{option}")
    message = str(caught.value)
    assert message.startswith(
        f"DATABASE_URL: the option {option.partition('=')[0]} is not supported: "
    )
    assert instead in message
    assert CANARY not in message


def test_replacements_that_are_settings_exist():
    named = {word for text in REPLACEMENTS.values() for word in text.replace("=", " ").split()}
    settings = {word.rstrip(",") for word in named if word.startswith("DB_")}
    assert settings
    assert {name.lower() for name in settings} <= set(Settings.model_fields)
    assert not IGNORED_LIBPQ_OPTIONS & set(REPLACEMENTS)


@pytest.mark.parametrize("option", ["gssencmode=require", "load_balance_hosts=random"])
def test_unsupported_value_of_an_ignored_option_is_refused(option: str):
    with pytest.raises(SettingsError, match=option):
        parse_url("DATABASE_URL", f"postgresql://u@h/d?{option}")


@pytest.mark.parametrize("name", sorted(IGNORED_LIBPQ_OPTIONS))
def test_option_without_effect_is_accepted(name: str):
    assert parse_url("X", f"postgresql://u@h/d?{name}=1").server_settings == {}


@pytest.mark.parametrize("name", [f"{CANARY}%20x", "1a", "a%3Db", "a..b"])
def test_invalid_option_name_is_refused_without_quoting_it(name: str):
    with pytest.raises(SettingsError) as caught:
        parse_url("DATABASE_URL", f"postgresql://u@h/d?{name}=1")
    assert "DATABASE_URL" in str(caught.value)
    assert CANARY not in str(caught.value)


async def test_session_settings_of_the_url_apply(clone: DatabaseEngine):
    options = "work_mem=5MB&app.tenant=t1&options=-c%20enable_seqscan%3Doff&search_path=public,x"
    engine = DatabaseEngine(f"{clone.url}{'&' if '?' in clone.url else '?'}{options}")
    connection = await engine.get_new_connection()
    try:
        found = [
            await connection.fetchval(f"SHOW {name}")
            for name in ("work_mem", "app.tenant", "enable_seqscan", "search_path")
        ]
    finally:
        await connection.close()
    assert found == ["5MB", "t1", "off", "public,x"]


async def test_option_unknown_to_the_server_is_reported_by_name(clone: DatabaseEngine):
    separator = "&" if "?" in clone.url else "?"
    engine = DatabaseEngine(f"{clone.url}{separator}work_mem=5MB&no_such_setting=1")
    with pytest.raises(DatabaseRefused, match="does not know no_such_setting: remove it"):
        await engine.get_new_connection()
