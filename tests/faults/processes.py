"""Server programs of a test: their ports, their account, their end."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from learner_app.operations.embedded import _clean_environment, _start_watcher
from learner_app.operations.server_account import ServerAccount

WAIT_SECONDS = 30.0


def wait_until(check: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Return once the check holds.

    Raises:
        TimeoutError: it did not in that time.
    """
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.01)


def open_folder() -> Path:
    """A new folder with a short path that the servers' account can enter."""
    short = Path("/tmp")  # noqa: S108  # a unix socket wants a short path
    folder = Path(tempfile.mkdtemp(prefix="learner-faults-", dir=short))
    folder.chmod(0o755)
    return folder


class Program:
    """One server program at a time, in a folder of its own; it ends with us, however we end.

    Attributes:
        folder: removed by ``remove``, or when we are killed.
        own: a folder inside that belongs to the program's account.
    """

    def __init__(self, name: str) -> None:
        self.account = ServerAccount.choose()
        self.folder = open_folder()
        self.own = self.folder / "own"
        self.own.mkdir()
        self.account.take_ownership(self.own)
        self.log_file = self.folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> int:
        """Start the server, its output added to the log; its process id."""
        if self.is_running:
            raise RuntimeError(f"already running: {command[0]}")
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=_clean_environment() | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self.account.process_options(),
            )
        self._watcher = _start_watcher(self.process.pid, self.folder)
        return self.process.pid

    def end(self, *signals: signal.Signals) -> None:
        """Send the signals one after the other until the server has ended."""
        self._dismiss_watcher()
        for how in (*signals, signal.SIGKILL):
            if self.process is None:
                return
            self.process.send_signal(how)
            try:
                self.process.wait(WAIT_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            self.process = None

    def remove(self) -> None:
        """Kill what still runs, leave no file."""
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _dismiss_watcher(self) -> None:
        if self._watcher is not None:
            self._watcher.kill()
            self._watcher.communicate()
            self._watcher = None


def run_tool(
    command: Sequence[str],
    account: ServerAccount,
    *,
    words: str | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float = WAIT_SECONDS,
) -> str:
    """Run a tool under the account with these words as its input; its output.

    Raises:
        RuntimeError: it failed, with its own words.
        subprocess.TimeoutExpired: it was killed after that time.
    """
    done = subprocess.run(
        command,
        input=words or "",
        env=_clean_environment() | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        **account.process_options(),
    )
    if done.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name}: {done.stderr.strip() or done.stdout.strip()}")
    output: str = done.stdout.strip()
    return output
