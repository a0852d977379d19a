"""The development database of ``learner up``: an embedded server with one database and two roles.

The application role owns nothing, so that row-level security applies to it; the owner role migrates
and dumps. A file in the data folder names both while the server runs; ``piccolo`` and scripts find
them through the settings.
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
from learner_app.errors import ServerError
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
    """Run the development server; yields its data folder, which is made on the first start.

    Raises:
        ServerError: it cannot be started, or another ``learner up`` runs on the same folder.
    """
    programs = embedded_binaries()
    folder = settings.data_folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with _only_one(folder):
        data = folder / f"postgres-{major_version(programs)}"
        _refuse_other_version(data)
        server = EmbeddedServer(data, programs)
        try:
            server.start()
            asyncio.run(ensure_database(server, settings))
            running = {"url": server.url(NAME, NAME), "owner": ROLES.owner}
            _write(settings.running_file, running)
            with _kept_alive(server):
                yield server.data
        finally:
            settings.running_file.unlink(missing_ok=True)
            server.stop()


def _refuse_other_version(data: Path) -> None:
    """An older data folder must not be passed over in silence; it is never touched."""
    version = data / "PG_VERSION"
    if version.exists() and version.read_text().strip() != data.name.partition("-")[2]:
        raise ServerError(
            f"{data} was made by PostgreSQL {version.read_text().strip()}: move it away"
        )
    older = [path for path in data.parent.glob("postgres-*") if path.name.split("-")[1].isdigit()]
    if older and data not in older:
        raise ServerError(
            f"{older[0]} belongs to another major version than {data.name}; nothing was touched: "
            "dump it with that version and load it here, or move it away to begin anew"
        )


@contextmanager
def _kept_alive(server: EmbeddedServer) -> Iterator[None]:
    """Start the server again when it ends by itself; end the program when that fails."""
    stopping = threading.Event()
    failures: list[ServerError] = []

    def keep() -> None:
        while True:
            server.wait()
            if stopping.is_set():
                return
            print("PostgreSQL ended by itself; starting it again.", file=sys.stderr, flush=True)
            try:
                server.restart()
            except ServerError as error:
                failures.append(error)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            print("PostgreSQL is back.", file=sys.stderr, flush=True)

    keeper = threading.Thread(target=keep, name="postgres keeper", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stopping.set()
        server.stop()
        keeper.join()
        if failures:
            raise failures[0]


async def ensure_database(server: EmbeddedServer, settings: Settings) -> None:
    """Create or repair the database and its roles.

    A data folder of an earlier version, whose one role owned everything, gets the owner role; its
    rows stay as they are.
    """
    administrator = parse_url("server", server.url(SUPERUSER, SUPERUSER))
    await set_up_roles(administrator, settings, ROLES, sets_passwords=False)


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
