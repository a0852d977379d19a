"""Database URL of the owner role, from the settings."""

import json
from pathlib import Path
from typing import Any

import pytest

from learner_app.database.dsn import find_database_url
from learner_app.database.owner import find_owner_url
from learner_app.errors import SettingsError
from learner_app.settings import Settings, load_settings

URL = "postgresql://app:one@db.example.com:5433/learner"
CANARY = "hunter2canary"


def owner_of(**settings: Any) -> str:
    return str(find_owner_url(Settings(**settings)))


def test_without_an_owner_the_application_role_is_used():
    settings = Settings(database_url=URL)
    assert find_owner_url(settings) == find_database_url(settings)


def test_owner_on_the_server_of_the_application():
    settings = Settings(database_url=f"{URL}?sslmode=verify-ca", db_owner_user="boss")
    target = find_owner_url(settings)
    assert str(target) == "boss@db.example.com:5433/learner"
    assert (target.password, target.tls.sslmode) == (None, "verify-ca")
    parts = {"db_host": "h", "db_name": "d", "db_user": "app", "db_password": "one"}
    target = find_owner_url(Settings(**parts, db_owner_user="boss", db_owner_password=CANARY))
    assert (str(target), target.password) == ("boss@h:5432/d", CANARY)
    assert CANARY not in repr(target)


def test_owner_may_use_another_server_address_for_the_same_database():
    direct = "postgresql://boss@direct.example.com/learner"
    assert owner_of(database_url=URL, database_owner_url=direct) == (
        "boss@direct.example.com:5432/learner"
    )
    aliased = URL.replace("/learner", "/pooled")
    assert "direct" in owner_of(database_url=aliased, database_owner_url=direct, db_pgbouncer=True)


@pytest.mark.parametrize(
    ("owner", "message"),
    [
        ("postgresql://boss@h/other", "must name the database of the application"),
        ("postgresql://boss@h/learner?search_path=a", "must have the same search_path"),
        ("mysql://boss@h/learner", "DATABASE_OWNER_URL must begin with"),
    ],
)
def test_owner_of_another_database_is_refused(owner: str, message: str):
    with pytest.raises(SettingsError, match=message):
        owner_of(database_url=URL, database_owner_url=owner)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"DATABASE_OWNER_URL": URL}, "DATABASE_OWNER_URL requires DATABASE_URL"),
        ({"DB_OWNER_USER": "boss"}, "DB_OWNER_USER requires DATABASE_URL"),
        ({"DATABASE_URL": URL, "DB_OWNER_PASSWORD": CANARY}, "DB_OWNER_PASSWORD requires"),
        (
            {"DATABASE_URL": URL, "DATABASE_OWNER_URL": URL, "DB_OWNER_USER": "boss"},
            "DATABASE_OWNER_URL or DB_OWNER_USER, not both",
        ),
    ],
)
def test_incomplete_owner_settings_are_reported_by_name(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], message: str
):
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=message) as caught:
        load_settings()
    assert CANARY not in str(caught.value)


def test_owner_of_the_file_is_not_used_for_the_database_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / ".env").write_text(
        "DATABASE_URL=postgresql://app@production/learner\n"
        "DATABASE_OWNER_URL=postgresql://boss@production/learner\n"
    )
    monkeypatch.setattr("learner_app.settings.project_folder", lambda: tmp_path)
    assert str(find_owner_url(load_settings())) == "boss@production:5432/learner"
    monkeypatch.setenv("DATABASE_URL", "postgresql://app@scratch/learner")
    assert str(find_owner_url(load_settings())) == "app@scratch:5432/learner"
    monkeypatch.setenv("DATABASE_OWNER_URL", "postgresql://boss@scratch/learner")
    assert str(find_owner_url(load_settings())) == "boss@scratch:5432/learner"


@pytest.mark.parametrize(
    ("owner", "user"), [({"owner": "learner_owner"}, "learner_owner"), ({}, "learner")]
)
def test_owner_of_a_running_learner_up(tmp_path: Path, owner: dict[str, str], user: str):
    running = {"url": "postgresql://learner@/learner?host=/tmp/x", **owner}
    (tmp_path / "running.json").write_text(json.dumps(running))
    target = find_owner_url(Settings(learner_data=tmp_path))
    assert (target.user, target.is_development) == (user, True)
