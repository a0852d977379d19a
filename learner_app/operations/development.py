"""The development database of ``learner up``: an embedded server with one database and one role.

The role is an ordinary one that owns the database, so that row level security binds it. A file in
the data folder names the database while it runs; ``piccolo`` and scripts find it through the
settings.
"""

import asyncio
import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import ServerError
from learner_app.operations.embedded import (
    SUPERUSER,
    EmbeddedServer,
    embedded_binaries,
    major_version,
)
from learner_app.settings import Settings

NAME = "learner"
"""Of the role and of its database."""


@contextmanager
def development_database(settings: Settings) -> Iterator[Path]:
    """Run the development server; yields its data folder, which is made on the first start.

    Raises:
        ServerError: it cannot be started, or another ``learner up`` runs on the same folder.
    """
    programs = embedded_binaries()
    folder = settings.data_folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder):
        server = EmbeddedServer(folder / f"postgres-{major_version(programs)}", programs)
        server.start()
        try:
            asyncio.run(ensure_database(server, NAME, NAME))
            _write(settings.running_file, {"url": server.url(NAME, NAME)})
            yield server.data
        finally:
            settings.running_file.unlink(missing_ok=True)
            server.stop()


async def ensure_database(server: EmbeddedServer, database: str, owner: str) -> None:
    """Make the role and its database unless they exist."""
    connection = await DatabaseEngine(server.url(SUPERUSER, SUPERUSER)).get_new_connection()
    try:
        role_exists = "SELECT true FROM pg_roles WHERE rolname = $1"
        if not await connection.fetchval(role_exists, owner):
            await connection.execute(f'CREATE ROLE "{owner}" LOGIN NOSUPERUSER NOBYPASSRLS')
        database_exists = "SELECT true FROM pg_database WHERE datname = $1"
        if not await connection.fetchval(database_exists, database):
            await connection.execute(f'CREATE DATABASE "{database}" OWNER "{owner}"')
    finally:
        await connection.close()


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    with (folder / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerError(
                f"another `learner up` runs on {folder}: use that one or stop it first"
            ) from None
        yield


def _write(path: Path, content: dict[str, str]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content))
    partial.replace(path)
