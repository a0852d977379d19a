"""Settings: what is accepted, and what a mistake says."""

from pathlib import Path

import pytest

from learner_app.errors import DatabaseNotConfigured, SettingsError
from learner_app.settings import Settings, checked_url, find_database_url, load_settings

CANARY = "hunter2canary"


def test_env_example_lists_every_setting(checkout: Path):
    lines = (checkout / ".env.example").read_text().splitlines()
    names = [line.lstrip("# ").partition("=")[0] for line in lines if "=" in line]
    assert names == [name.upper() for name in Settings.model_fields]
    for number, line in enumerate(lines):
        if "=" in line:
            assert lines[number - 1].startswith("# "), f"{line} has no comment above it"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
def test_schemes_are_normalised(scheme: str):
    assert checked_url("X", f"{scheme}://u:p%40@h:5432/d") == "postgresql://u:p%40@h:5432/d"


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        (f"mysql://u:{CANARY}@h/d", "must begin with postgresql://"),
        (f"u:{CANARY}@h/d", "must begin with postgresql://"),
        (f"postgresql://u:{CANARY}#@h/d", "%23"),
        (f"postgresql://u:{CANARY}@@h/d", "%40"),
        (f"postgresql://u:{CANARY}@h:54x/d", "a port is a number"),
        (f"postgresql://u:{CANARY}@h:99999/d", "a port is a number"),
        (f"postgresql://u:{CANARY}@h:1,g:0/d", "a port is a number"),
    ],
)
def test_wrong_url_names_setting_and_hint_only(url: str, hint: str):
    with pytest.raises(SettingsError) as caught:
        checked_url("DATABASE_URL", url)
    assert "DATABASE_URL" in str(caught.value)
    assert hint in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("APP_ENV", "staging"),
        ("DB_POOL_MAX", "0"),
        ("DB_POOL_MAX", "many"),
        ("DB_POOL_MIN", "21"),
        ("DB_ACQUIRE_TIMEOUT", "-1"),
    ],
)
def test_wrong_value_names_the_setting(monkeypatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


def test_without_a_database_it_says_what_to_do(tmp_path: Path):
    with pytest.raises(DatabaseNotConfigured, match="learner up"):
        find_database_url(Settings(learner_data=tmp_path))


def test_running_product_is_found(tmp_path: Path):
    (tmp_path / "running.json").write_text('{"url": "postgresql://learner@/learner?host=/tmp/x"}')
    found = find_database_url(Settings(learner_data=tmp_path))
    assert found == "postgresql://learner@/learner?host=/tmp/x"


def test_repr_shows_no_secret():
    assert CANARY not in repr(Settings(database_url=f"postgresql://u:{CANARY}@h/d"))
