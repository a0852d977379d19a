"""Connecting to real servers: TLS, certificates, passwords, refusals, retries."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import DatabaseRefused, DatabaseUnavailable, LearnerError, SettingsError
from learner_app.settings import Settings
from tests.database.tcp_server import CANARY, TcpServer, start_tcp_server
from tests.ports import free_port


@pytest.fixture(scope="module")
def encrypted() -> Iterator[TcpServer]:
    server, tcp = start_tcp_server("localhost", encrypted=True)
    yield tcp
    server.stop()


@pytest.fixture(scope="module")
def misnamed() -> Iterator[TcpServer]:
    server, tcp = start_tcp_server("elsewhere.example", encrypted=True)
    yield tcp
    server.stop()


@pytest.fixture(scope="module")
def unencrypted() -> Iterator[TcpServer]:
    server, tcp = start_tcp_server("localhost", encrypted=False)
    yield tcp
    server.stop()


async def is_encrypted(engine: DatabaseEngine) -> bool:
    connection = await engine.get_new_connection()
    try:
        return await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    finally:
        await connection.close()


async def refusal(engine: DatabaseEngine) -> str:
    with pytest.raises(DatabaseRefused) as caught:
        await engine.get_new_connection()
    text = str(caught.value)
    assert CANARY not in text
    assert "\n" not in text
    assert f"keeper@localhost:{engine.target.ports[0]}/" in text
    return text


async def test_production_is_encrypted_and_verified(encrypted: TcpServer):
    authority = encrypted.authority
    assert await is_encrypted(encrypted.engine(app_env="production", db_ssl_root_cert=authority))
    assert await is_encrypted(encrypted.engine(f"?sslmode=require&sslrootcert={authority}"))
    assert await is_encrypted(encrypted.engine()), "in development where the server offers it"


async def test_unknown_authority_is_refused(encrypted: TcpServer):
    assert "DB_SSL_ROOT_CERT" in await refusal(encrypted.engine(app_env="production"))
    other = encrypted.engine("?sslmode=require", db_ssl_root_cert=encrypted.other_authority)
    assert "DB_SSL_ROOT_CERT" in await refusal(other)


async def test_wrong_host_name_is_refused_except_with_verify_ca(misnamed: TcpServer):
    authority = misnamed.authority
    refused = await refusal(misnamed.engine(app_env="production", db_ssl_root_cert=authority))
    assert "not trusted" in refused
    assert await is_encrypted(misnamed.engine("?sslmode=verify-ca", db_ssl_root_cert=authority))


async def test_disabled_verification_is_logged_at_each_start(misnamed: TcpServer, caplog):
    engine = misnamed.engine("?sslmode=require", app_env="production", db_ssl_verify=False)
    assert await is_encrypted(engine)
    for _ in range(2):
        caplog.clear()
        await engine.start_connection_pool()
        await engine.close_connection_pool()
        assert "DB_SSL_VERIFY is false" in caplog.text


async def test_server_without_tls(unencrypted: TcpServer):
    assert not await is_encrypted(unencrypted.engine())
    assert "does not support TLS" in await refusal(unencrypted.engine(app_env="production"))
    assert "does not support TLS" in await refusal(unencrypted.engine(db_ssl=True))


@pytest.mark.parametrize(
    ("mistake", "hint"),
    [({"password": "wrong"}, "password"), ({"database": "missing"}, "the database does not exist")],
)
async def test_refusals_are_not_retried(unencrypted: TcpServer, caplog, mistake: dict, hint: str):
    engine = unencrypted.engine(**mistake)
    assert hint in await refusal(engine)
    with pytest.raises(DatabaseRefused):
        await engine.wait_until_ready()
    assert "attempt" not in caplog.text


async def test_attempts_are_limited_and_logged(caplog):
    engine = DatabaseEngine(f"postgresql://keeper:{CANARY}@127.0.0.1:{free_port()}/d")
    engine.settings = Settings(db_retry_attempts=4, db_retry_initial=0.01)
    with caplog.at_level(logging.DEBUG), pytest.raises(DatabaseUnavailable, match="is PostgreSQL"):
        await engine.wait_until_ready()
    assert [record.args[1:3] for record in caplog.records if "attempt" in record.msg] == [
        (1, 4),
        (2, 4),
        (3, 4),
        (4, 4),
    ]
    assert CANARY not in caplog.text


@pytest.mark.parametrize("name", ["no-such-host.invalid", "/no/such/folder", "db..internal"])
async def test_unknown_addresses_are_reported_in_one_line(name: str):
    engine = DatabaseEngine(f"postgresql://keeper:{CANARY}@/d?host={name}")
    with pytest.raises(LearnerError) as caught:
        await engine.get_new_connection()
    assert name in str(caught.value)
    assert CANARY not in str(caught.value)


async def test_echo_prints_statements_without_values(unencrypted: TcpServer, capsys):
    engine = unencrypted.engine(db_echo=True)
    await engine.start_connection_pool()
    for _ in range(2):
        await engine.fetch("SELECT $1::text AS echoed", CANARY)
    await engine.close_connection_pool()
    printed = capsys.readouterr().out
    assert printed.count("SELECT $1::text AS echoed") == 2
    assert CANARY not in printed


async def test_a_missing_socket_is_unavailable(tmp_path: Path):
    engine = DatabaseEngine(f"postgresql://keeper@/d?host={tmp_path}")
    with pytest.raises(DatabaseUnavailable, match="no unix socket"):
        await engine.get_new_connection()


def test_ignored_options_are_not_sent_to_the_server():
    url = "postgresql://u@h/d?channel_binding=require&connect_timeout=10&search_path=x"
    assert DatabaseEngine(url).target.server_settings == {"search_path": "x"}


def test_time_outs_in_the_url_are_refused():
    engine = DatabaseEngine("postgresql://u@h/d?statement_timeout=0")
    with pytest.raises(SettingsError, match="statement_timeout"):
        _ = engine.connections.connector


async def test_environment_of_libpq_is_not_used(unencrypted: TcpServer, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", CANARY)
    monkeypatch.setenv("PGSSLNEGOTIATION", "direct")
    assert not await is_encrypted(unencrypted.engine())
