"""The running product, started by its own command."""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAMS = Path(sys.executable).parent


def isolated_project() -> Path:
    """A project folder without a .env, so that no command sees the developer's settings."""
    folder = Path(tempfile.mkdtemp(prefix="learner-test-project-"))
    folder.chmod(0o755)
    shutil.copy(Path(__file__).parent.parent / "piccolo_conf.py", folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


PROJECT = isolated_project()


class Product:
    """The command on a data folder of its own, with a space in the path."""

    def __init__(self, data: Path) -> None:
        self.data = data
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "LEARNER_DATA": str(data),
            # What other programs of the developer's may have set must not matter.
            "PGHOST": "nowhere.invalid",
            "PGUSER": "nobody",
            "PGPORT": "1",
            "PGSSLMODE": "verify-full",
            "LANG": "xx_XX.UTF-8",
        }
        self.process: subprocess.Popen[str] | None = None

    def start(self, *arguments: str) -> str:
        """Start it and wait for the page; what it printed until then."""
        self.process = subprocess.Popen(
            [PROGRAMS / "learner", "up", "--port", str(self.port), *arguments],
            env=self.environment,
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        lines = []
        for line in self.process.stdout:
            lines.append(line)
            if line.startswith("Stop with"):
                break
        return "".join(lines)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> str:
        self.process.send_signal(how)
        return self.process.communicate(timeout=30)[0]

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAMS / command[0], *command[1:]],
            env=self.environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )

    def server_pids(self) -> list[str]:
        """Processes of its PostgreSQL, wherever the data folder really is."""
        place = str(next(self.data.glob("postgres-*[0-9]")).resolve())
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if place in (process / "cmdline").read_text():
                    found.append(process.name)
            except OSError:
                continue
        return found
