"""Real PostgreSQL servers for tests, on which they make databases of their own."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from learner_app.database.dsn import parse_url
from learner_app.database.error_mapping import (
    CONNECT_ERRORS,
    DRIVER_ERRORS,
    translate,
    translate_connect_error,
)
from learner_app.operations.embedded import SUPERUSER, EmbeddedServer
from learner_app.settings import load_settings

T = TypeVar("T")
ROLE = "learner"
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_numbers = count(1)
_RUN = token_hex(4)


def run_in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run it to its end on a loop of its own, whatever loop the tests of this thread have."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


class TestServer:
    """Makes empty and cloned databases, all owned by one ordinary role."""

    __test__ = False

    def __init__(self, admin_url: str, url: str) -> None:
        """
        Args:
            admin_url: as a role that may create databases.
            url: as the ordinary role; both name some database that exists.
        """
        self._admin = parse_url("TEST_DATABASE_URL", admin_url)
        self._arguments = self._admin.connect_arguments(load_settings())
        self._url = url
        self._owner = urlsplit(url).username or ROLE

    def url(self, database: str) -> str:
        """Of one of its databases, as the ordinary role."""
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{database}"))

    async def create(self, template: str | None = None, prefix: str = "learner_test") -> str:
        """A new database, empty or a copy of another one that nobody is connected to.

        Raises:
            DatabaseError: the server is not there, or does not let the role.
        """
        # containers number their processes alike, and runs may share a server
        name = f"{prefix}_{_RUN}_{next(_numbers)}"
        source = f' TEMPLATE "{template}"' if template else ""
        await self._execute(f'CREATE DATABASE "{name}" OWNER "{self._owner}"{source}')
        return name

    async def drop(self, name: str) -> None:
        await self._execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    async def _execute(self, statement: str) -> None:
        try:
            connection = await asyncpg.connect(**self._arguments)
        except CONNECT_ERRORS as error:
            raise translate_connect_error(error, self._admin) from error
        try:
            await connection.execute(statement)
        except DRIVER_ERRORS as error:
            raise translate(error, statement) from error
        finally:
            await connection.close()


class OwnServer(TestServer):
    """A server that this run starts from binaries; the embedded ones when none are given.

    Raises:
        ServerError: there are no binaries, or it does not start.
    """

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
        run_in_thread(self._execute(f"CREATE ROLE {ROLE} LOGIN NOSUPERUSER NOBYPASSRLS"))

    def stop(self) -> None:
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
