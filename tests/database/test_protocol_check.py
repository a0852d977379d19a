"""Detection of servers that are not PostgreSQL."""

import asyncio
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.database.health import check_database
from learner_app.errors import DatabaseRefused, DatabaseUnavailable
from learner_app.settings import Settings
from tests.environment import skip_outside_ci

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CANARY = "canary-hunter2"
ANSWERING_SECONDS = 1.0
SILENT_SECONDS = 3.0
"""Limit for servers that answer only to a line."""


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


async def http_that_stays(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await http(reader, writer)
    await reader.read()


async def ssh(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
    await reader.read()


async def mysql(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"J\x00\x00\x00\n8.0.36\x00" + bytes(60))
    await reader.read()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)


async def closed(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read(8)


async def closed_unread(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    return


@asynccontextmanager
async def server_of(talk: Talk) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


def engine_at(port: int, mode: str) -> DatabaseEngine:
    engine = DatabaseEngine(f"postgresql://u:{CANARY}@127.0.0.1:{port}/d?sslmode={mode}")
    engine.settings = Settings()
    return engine


async def assert_refused_as_other_protocol(
    engine: DatabaseEngine, port: int, seconds: float
) -> None:
    started = time.monotonic()
    with pytest.raises(DatabaseRefused) as caught:
        await engine.wait_until_ready()
    assert time.monotonic() - started < seconds
    assert f"127.0.0.1:{port} is not a PostgreSQL server" in str(caught.value)
    assert CANARY not in str(caught.value)
    assert not caught.value.retry


@pytest.mark.parametrize("mode", ["prefer", "disable", "require"])
@pytest.mark.parametrize("talk", [http, http_that_stays, ssh, mysql, echo])
async def test_another_protocol_is_refused_within_a_second(talk: Talk, mode: str) -> None:
    async with server_of(talk) as port:
        await assert_refused_as_other_protocol(engine_at(port, mode), port, ANSWERING_SECONDS)


@pytest.mark.parametrize("mode", ["prefer", "disable"])
async def test_the_pool_starts_and_reports_another_protocol(
    mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with server_of(http_that_stays) as port:
        engine = engine_at(port, mode)
        started = time.monotonic()
        async with engine.running():
            assert time.monotonic() - started < ANSWERING_SECONDS
            assert f"127.0.0.1:{port} is not a PostgreSQL server" in caplog.text
            with pytest.raises(DatabaseRefused, match="is not a PostgreSQL server"):
                await engine.fetch("SELECT 1")
            health = await check_database(engine)
        assert (health.status, health.reason) == ("unavailable", "unreachable")


@contextmanager
def redis() -> Iterator[int]:
    program = shutil.which("redis-server")
    if program is None:
        skip_outside_ci("Redis is not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running([program, "--port", str(port), "--save", "", "--bind", "127.0.0.1"], port):
        yield port


@contextmanager
def http_server() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with running(command, port):
        yield port


@contextmanager
def running(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["prefer", "disable"])
@pytest.mark.parametrize("server", [redis, http_server])
async def test_servers_that_wait_for_a_line_are_refused_within_three_seconds(
    server: Callable[[], AbstractContextManager[int]], mode: str
) -> None:
    with server() as port:
        await assert_refused_as_other_protocol(engine_at(port, mode), port, SILENT_SECONDS)


@pytest.mark.parametrize("mode", ["prefer", "disable"])
@pytest.mark.parametrize("talk", [closed, closed_unread])
async def test_a_connection_closed_without_an_answer_is_unavailable(talk: Talk, mode: str) -> None:
    """A server that stops does the same, and so does a load balancer without a server."""
    async with server_of(talk) as port:
        engine = engine_at(port, mode)
        with pytest.raises(DatabaseUnavailable, match="closed the connection without an answer"):
            await engine.get_new_connection(1)


@pytest.mark.slow
async def test_a_slow_postgresql_server_is_accepted(clone: DatabaseEngine) -> None:
    """A proxy delays each answer by 0.7 s."""

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = clone.target
        place = f"{target.hosts[0]}/.s.PGSQL.{target.ports[0]}"
        if target.is_local:
            source, sink = await asyncio.open_unix_connection(place)
        else:
            source, sink = await asyncio.open_connection(target.hosts[0], target.ports[0])

        async def pass_on() -> None:
            while data := await reader.read(10_000):
                sink.write(data)
            sink.close()

        forward = asyncio.create_task(pass_on())
        while data := await source.read(10_000):
            await asyncio.sleep(0.7)
            writer.write(data)
        forward.cancel()

    async with server_of(slowly) as port:
        target = clone.target
        url = f"postgresql://{target.user}:{target.password or ''}@127.0.0.1:{port}"
        engine = DatabaseEngine(f"{url}/{target.database}?sslmode=prefer")
        engine.settings = Settings()
        connection = await engine.get_new_connection()
        assert await connection.fetchval("SELECT 1") == 1
        connection.terminate()
