"""Development database of ``learner up``: an embedded server with one database and two roles.

The application role owns nothing, so that row-level security applies to it. The owner role runs
migrations and backups. While the server runs, a file in the data folder names the database and the
owner role, so that other programs of the project find them through the settings.
"""

import asyncio
import fcntl
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from learner_app.database.dsn import parse_url
from learner_app.errors import EmbeddedServerError
from learner_app.operations.embedded import (
    SUPERUSER,
    EmbeddedServer,
    embedded_binaries,
    major_version,
)
from learner_app.operations.role_script import Roles
from learner_app.operations.roles import set_up_roles
from learner_app.settings import Settings

NAME = "learner"
"""Name of the application role and of the database."""

ROLES = Roles(database=NAME, owner="learner_owner", application=NAME)


@contextmanager
def development_database(settings: Settings) -> Iterator[Path]:
    """Run the development server and yield its data folder.

    The first start creates the folder.

    Raises:
        EmbeddedServerError: the server does not start, or another ``learner up`` uses the folder.
    """
    programs = embedded_binaries()
    folder = settings.data_folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with _exclusive_folder(folder):
        data = folder / f"postgres-{major_version(programs)}"
        _refuse_other_version(data)
        server = EmbeddedServer(data, programs)
        try:
            server.start()
            asyncio.run(ensure_database(server, settings))
            running = {"url": server.url(NAME, NAME), "owner": ROLES.owner}
            _write(settings.running_file, running)
            with _restart_on_exit(server):
                yield server.data
        finally:
            settings.running_file.unlink(missing_ok=True)
            server.stop()


def _refuse_other_version(data: Path) -> None:
    """Raise EmbeddedServerError if a data folder of another major version exists."""
    version = data / "PG_VERSION"
    if version.exists() and version.read_text().strip() != data.name.partition("-")[2]:
        raise EmbeddedServerError(
            f"{data} was created by PostgreSQL {version.read_text().strip()}: move it away"
        )
    found = [path for path in data.parent.glob("postgres-*") if path.name.split("-")[1].isdigit()]
    if found and data not in found:
        raise EmbeddedServerError(
            f"{found[0]} belongs to another major version than {data.name}, nothing was changed: "
            "dump it with that version and restore it here, or move it away to start empty"
        )


@contextmanager
def _restart_on_exit(server: EmbeddedServer) -> Iterator[None]:
    """Restart the server when it exits unexpectedly, or end the program if that fails."""
    stopping = threading.Event()
    failures: list[EmbeddedServerError] = []

    def supervise() -> None:
        while True:
            server.wait()
            if stopping.is_set():
                return
            print("PostgreSQL exited unexpectedly, restarting it.", file=sys.stderr, flush=True)
            try:
                server.restart()
            except EmbeddedServerError as error:
                failures.append(error)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            print("PostgreSQL is running again.", file=sys.stderr, flush=True)

    supervisor = threading.Thread(target=supervise, name="postgres supervisor", daemon=True)
    supervisor.start()
    try:
        yield
    finally:
        stopping.set()
        server.stop()
        supervisor.join()
        if failures:
            raise failures[0]


async def ensure_database(server: EmbeddedServer, settings: Settings) -> None:
    """Create or repair the database and its roles.

    In a data folder of an earlier version one role owned everything. Such a folder gets the owner
    role and keeps its rows.
    """
    administrator = parse_url("server", server.url(SUPERUSER, SUPERUSER))
    await set_up_roles(administrator, settings, ROLES, sets_passwords=False)


@contextmanager
def _exclusive_folder(folder: Path) -> Iterator[None]:
    """Lock the folder, so that only one ``learner up`` uses it."""
    with (folder / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EmbeddedServerError(
                f"another `learner up` runs on {folder}: use that one or stop it first"
            ) from None
        yield


def _write(path: Path, content: dict[str, str]) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content))
    partial.replace(path)
