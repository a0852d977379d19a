"""PostgreSQL servers for tests, and the databases that tests create on them."""

import asyncio
import os
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
MEMORY_FOLDER = "/dev/shm"  # noqa: S108  # a private folder is created in it
MIN_FREE_BYTES = 4 * 2**30
_numbers = count(1)
_RUN = token_hex(4)


def run_in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine on an event loop of its own and return its result.

    The current thread may have a running event loop, hence the second thread.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _parent_folder() -> str | None:
    """Return the folder in memory if it has space for many databases, None for the default one."""
    try:
        free = shutil.disk_usage(MEMORY_FOLDER).free
    except OSError:
        return None
    return MEMORY_FOLDER if free >= MIN_FREE_BYTES and os.access(MEMORY_FOLDER, os.W_OK) else None


class TestServer:
    """Server with empty and cloned databases, all owned by one ordinary role."""

    __test__ = False
    _clone_options = ""
    """Options of CREATE DATABASE for a copy."""

    def __init__(self, admin_url: str, url: str) -> None:
        """
        Args:
            admin_url: URL of an existing database, with a role that may create databases.
            url: URL of an existing database, with the ordinary role.
        """
        self._admin = parse_url("TEST_DATABASE_URL", admin_url)
        self._arguments = self._admin.connect_arguments(load_settings())
        self._url = url
        self._owner = urlsplit(url).username or ROLE

    def url(self, database: str) -> str:
        """Return the URL of a database, with the ordinary role."""
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{database}"))

    async def create(self, template: str | None = None, prefix: str = "learner_test") -> str:
        """Create a database and return its name.

        Args:
            template: database to copy; no client may be connected to it. An empty one if omitted.
            prefix: beginning of the name.

        Raises:
            DatabaseError: the server cannot be reached, or the role may not create databases.
        """
        # Runs may share a server, and process ids are not unique across containers.
        name = f"{prefix}_{_RUN}_{next(_numbers)}"
        source = f' TEMPLATE "{template}" {self._clone_options}' if template else ""
        await self._execute(f'CREATE DATABASE "{name}" OWNER "{self._owner}"{source}')
        return name

    async def drop(self, name: str) -> None:
        """Drop the database if it exists, and end its connections."""
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


class ConfiguredServer(TestServer):
    """Server of TEST_DATABASE_URL, which is neither started nor stopped here.

    Its role creates the databases and owns them.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, url)


class OwnServer(TestServer):
    """Server that the test run starts and removes.

    Args:
        programs: folder with PostgreSQL's ``bin``; the embedded PostgreSQL if omitted.
        autostart: start the server immediately.

    Raises:
        EmbeddedServerError: the programs are missing, or the server does not start.
    """

    # Copying files takes half the CPU time of the default, which writes each block to the WAL. The
    # checkpoint that it needs is cheap without fsync.
    _clone_options = "STRATEGY FILE_COPY"

    def __init__(self, programs: Path | None = None, *, autostart: bool = True) -> None:
        # Not pytest's folder: if root runs the tests, the server runs under another account, which
        # must have access.
        self.folder = Path(tempfile.mkdtemp(prefix="learner-test-", dir=_parent_folder()))
        self.folder.chmod(0o755)
        self.server = EmbeddedServer(self.folder / "data", programs, FAST)
        if autostart:
            self.start()

    def start(self) -> None:
        """Start the server and create the ordinary role."""
        self.server.start()
        super().__init__(self.server.url(SUPERUSER, SUPERUSER), self.server.url(SUPERUSER, ROLE))
        run_in_thread(self._execute(f"CREATE ROLE {ROLE} LOGIN NOSUPERUSER NOBYPASSRLS"))

    def stop(self) -> None:
        """Stop the server and remove its folder."""
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
