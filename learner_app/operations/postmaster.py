"""State of a server process according to the ``postmaster.pid`` of its data folder."""

import os
import signal
import subprocess
import time
from pathlib import Path

from learner_app.errors import EmbeddedServerError

STOP_SECONDS = 20.0


def _lines(place: Path) -> list[str]:
    try:
        return (place / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []


def status(place: Path, pid: int) -> str:
    """Return ``starting``, ``ready`` or ``stopping``, an empty string for another process."""
    lines = _lines(place)
    return lines[-1].strip() if lines and lines[0] == str(pid) else ""


def leftover_pid(place: Path) -> int | None:
    """Return the id of the process that postmaster.pid names, or None if no such process runs.

    The id may belong to another program by now.
    """
    lines = _lines(place)
    if not lines or not lines[0].isdigit():
        return None
    pid = int(lines[0])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return pid


def _is_server_of(pid: int, place: Path) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        if Path("/proc/self").exists():
            return False
        ask = ["ps", "-ww", "-o", "args=", "-p", str(pid)]
        command = subprocess.run(ask, capture_output=True, text=True, check=False).stdout
    return "postgres" in command and str(place) in command


def stop_leftover(place: Path) -> None:
    """Stop a server that kept running because its watcher was killed with the application."""
    pid = leftover_pid(place)
    if pid is None or not _is_server_of(pid, place):
        return
    os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    while leftover_pid(place) == pid:
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"process {pid}, an earlier server with the data folder {place}, does not stop: "
                f"end it with `kill -QUIT {pid}`"
            )
        time.sleep(0.05)


def pid_to_ignore(place: Path) -> dict[str, str]:
    """Return a variable that makes the server ignore a reused process id in postmaster.pid.

    PostgreSQL refuses to start while a process with that id runs, unless it is the parent or
    grandparent of the server.
    """
    pid = leftover_pid(place)
    return {} if pid is None else {"PG_GRANDPARENT_PID": str(pid)}
