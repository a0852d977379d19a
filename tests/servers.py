"""Real PostgreSQL servers for the tests, each started once a run and at the first use."""

import asyncio
import os
import shutil
import tempfile
from functools import cached_property
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from learner_app.operations.embedded import SUPERUSER, EmbeddedServer

ROLE = "learner"
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
DEBIAN_15 = Path("/usr/lib/postgresql/15")
_numbers = count(1)


class TestServer:
    """Makes empty and cloned databases, all owned by one ordinary role."""

    __test__ = False

    def __init__(self, admin_url: str, url: str) -> None:
        """
        Args:
            admin_url: as a role that may create databases.
            url: as the ordinary role; both name some database that exists.
        """
        self._emptied: str | None = None
        self._admin_url = admin_url
        self._url = url
        self._owner = urlsplit(url).username or ROLE

    def url(self, database: str) -> str:
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{database}"))

    async def create(self, template: str | None = None, prefix: str = "learner_test") -> str:
        """A new database, empty or a copy of another one that nobody is connected to."""
        name = f"{prefix}_{os.getpid()}_{next(_numbers)}"
        source = f' TEMPLATE "{template}"' if template else ""
        await self._execute(f'CREATE DATABASE "{name}" OWNER "{self._owner}"{source}')
        return name

    async def emptied(self) -> str:
        """One and the same database at every call, without any table."""
        if self._emptied is None:
            self._emptied = await self.create()
        connection = await asyncpg.connect(self.url(self._emptied))
        try:
            await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        finally:
            await connection.close()
        return self._emptied

    async def drop_emptied(self) -> None:
        if self._emptied:
            await self.drop(self._emptied)

    async def drop(self, name: str) -> None:
        await self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._admin_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


class OwnServer(TestServer):
    """A server that this run starts from binaries; the embedded ones when none are given."""

    def __init__(self, programs: Path | None = None, *, autostart: bool = True) -> None:
        # Not pytest's folder: as root the server runs under another account that must get there.
        self.folder = Path(tempfile.mkdtemp(prefix="learner-test-"))
        self.folder.chmod(0o755)
        self.server = EmbeddedServer(self.folder / "data", programs, FAST)
        if autostart:
            self.start()

    def start(self) -> None:
        self.server.start()
        super().__init__(self.server.url(SUPERUSER, SUPERUSER), self.server.url(SUPERUSER, ROLE))
        asyncio.run(self._execute(f"CREATE ROLE {ROLE} LOGIN NOSUPERUSER NOBYPASSRLS"))

    def stop(self) -> None:
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Servers:
    """The servers of a run."""

    def __init__(self, test_database_url: str | None) -> None:
        self._given = (
            TestServer(test_database_url, test_database_url) if test_database_url else None
        )
        self._started: list[OwnServer] = []

    @cached_property
    def main(self) -> TestServer:
        """The one that most tests use: embedded, or that of TEST_DATABASE_URL."""
        return self._given or self._start(None)

    @cached_property
    def debian_15(self) -> TestServer:
        return self._start(DEBIAN_15)

    def _start(self, programs: Path | None) -> OwnServer:
        server = OwnServer(programs)
        self._started.append(server)
        return server

    def stop(self) -> None:
        if self._given:
            asyncio.run(self._given.drop_emptied())
        for server in self._started:
            server.stop()
