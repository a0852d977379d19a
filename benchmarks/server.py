"""Fresh PostgreSQL cluster of a run, with the migrated schema and listening data."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.address import Address
from benchmarks.data import Sizes, fill
from learner_app.conf import DB
from learner_app.operations.embedded import SUPERUSER, EmbeddedServer, embedded_binaries
from learner_app.operations.migrate import apply_migrations

DEBIAN = Path("/usr/lib/postgresql")
DEFAULT_MAJOR = "15"
DATABASE = "benchmark"
ROLE = "learner"
LOCALHOST = "127.0.0.1"


def programs(server: str | None) -> Path:
    """Return the folder with PostgreSQL's ``bin``.

    Args:
        server: a major version of Debian, ``embedded`` or a folder. Debian's 15 if it is installed
            and the argument is omitted, otherwise the embedded one.
    """
    if server is None:
        debian = DEBIAN / DEFAULT_MAJOR
        return debian if debian.exists() else embedded_binaries()
    if server == "embedded":
        return embedded_binaries()
    return DEBIAN / server if server.isdigit() else Path(server)


class Server:
    """Running cluster with one database, whose tables an ordinary role owns."""

    def __init__(
        self, folder: Path, programs: Path, *, unix_socket: bool, fsync: bool, sizes: Sizes
    ) -> None:
        port = free_port()
        # The pools of all contestants are open at the same time.
        options = {"port": str(port), "fsync": "on" if fsync else "off", "max_connections": "200"}
        if not unix_socket:
            options["listen_addresses"] = LOCALHOST
        self.programs = programs
        self._server = EmbeddedServer(folder / "data", programs, options)
        self._server.start()
        try:
            asyncio.run(self._fill(port, unix_socket=unix_socket, sizes=sizes))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        self._server.stop()

    def execute(self, *statements: str) -> None:
        """Execute statements as the superuser, each in a transaction of its own."""
        asyncio.run(self._execute(*statements))

    def fetch_value(self, statement: str, *args: Any) -> Any:
        """Return the first value that a statement of the superuser returns."""
        return asyncio.run(self._fetch_value(statement, *args))

    async def _fill(self, port: int, *, unix_socket: bool, sizes: Sizes) -> None:
        self._admin_url = self._server.url(SUPERUSER, SUPERUSER)
        await self._execute(
            f"CREATE ROLE {ROLE} LOGIN NOSUPERUSER NOBYPASSRLS",
            f"CREATE DATABASE {DATABASE} OWNER {ROLE}",
        )
        self._admin_url = self._server.url(DATABASE, SUPERUSER)
        socket_folder = await self._fetch_value("SHOW unix_socket_directories")
        host = socket_folder if unix_socket else LOCALHOST
        self.address = Address(host, port, ROLE, DATABASE)
        DB.url = self.address.url
        async with DB.running():
            await apply_migrations(DB)
        await self._execute(*fill(sizes), "VACUUM ANALYZE")

    async def _fetch_value(self, statement: str, *args: Any) -> Any:
        connection = await asyncpg.connect(self._admin_url)
        try:
            return await connection.fetchval(statement, *args)
        finally:
            await connection.close()

    async def _execute(self, *statements: str) -> None:
        connection = await asyncpg.connect(self._admin_url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


@contextmanager
def running_server(
    programs: Path, *, unix_socket: bool, fsync: bool, sizes: Sizes
) -> Iterator[Server]:
    """Yield a new cluster on disk, and remove it afterwards."""
    # Not the default temporary folder: it may be in memory, where fsync costs nothing.
    parent = "/var/tmp" if Path("/var/tmp").is_dir() else None  # noqa: S108
    folder = Path(tempfile.mkdtemp(prefix="learner-benchmarks-", dir=parent))
    folder.chmod(0o755)
    try:
        server = Server(folder, programs, unix_socket=unix_socket, fsync=fsync, sizes=sizes)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """Return a TCP port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind((LOCALHOST, 0))
        return int(listener.getsockname()[1])
