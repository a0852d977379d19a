"""What a data folder's postmaster.pid says of the server that runs, or ran, on it."""

import os
import signal
import subprocess
import time
from pathlib import Path

from learner_app.errors import ServerError

STOP_SECONDS = 20.0


def _lines(place: Path) -> list[str]:
    try:
        return (place / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []


def status(place: Path, pid: int) -> str:
    """What the server with that pid says of itself: starting, ready, stopping; else empty."""
    lines = _lines(place)
    return lines[-1].strip() if lines and lines[0] == str(pid) else ""


def left_over_pid(place: Path) -> int | None:
    """The process that postmaster.pid names, if it lives; it may be anything by now."""
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


def stop_left_over(place: Path) -> None:
    """Stop a server whose application was killed together with its watcher."""
    pid = left_over_pid(place)
    if pid is None or not _is_server_of(pid, place):
        return
    os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    while left_over_pid(place) == pid:
        if time.monotonic() > deadline:
            raise ServerError(f"an older server on {place} does not stop (process {pid})")
        time.sleep(0.05)


def pid_to_ignore(place: Path) -> dict[str, str]:
    """A pid file whose number another program has now must not keep the server from starting."""
    pid = left_over_pid(place)
    return {} if pid is None else {"PG_GRANDPARENT_PID": str(pid)}
