"""Under which account the embedded PostgreSQL runs, and what that account can reach.

PostgreSQL refuses to run as root. Started by root it runs as ``nobody``, who often cannot enter
the checkout (a home or temporary folder is 0700). Nothing is opened to others then: the programs
and the data are kept in a folder of ours under /var/lib, and the visible place links to it.
"""

import hashlib
import os
import pwd
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learner_app.errors import ServerError

SHARED_FOLDER = Path("/var/lib/learner_app")


@dataclass(frozen=True)
class ServerAccount:
    """The account of the server process: our own, or another one when we are root."""

    uid: int
    gid: int
    is_own: bool

    @classmethod
    def choose(cls) -> "ServerAccount":
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid(), is_own=True)
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise ServerError(
                "PostgreSQL does not run as root and there is no account `nobody`: "
                "start it as another user"
            ) from None
        return cls(nobody.pw_uid, nobody.pw_gid, is_own=False)

    def process_options(self) -> dict[str, Any]:
        """Arguments for ``subprocess``: the account, and a session of its own."""
        options: dict[str, Any] = {"start_new_session": True, "cwd": "/"}
        if not self.is_own:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def own(self, folder: Path) -> None:
        """Hand an empty folder over to the account, closed to everybody else."""
        if not self.is_own:
            os.chown(folder, self.uid, self.gid)
        folder.chmod(0o700)

    def can_enter(self, folder: Path) -> bool:
        """Whether the account can read that existing folder, all its parents included."""
        if self.is_own:
            return os.access(folder, os.R_OK | os.X_OK)
        command = ["/bin/sh", "-c", 'test -r "$1" && test -x "$1"', "sh", str(folder)]
        return subprocess.run(command, **self.process_options(), check=False).returncode == 0

    def reachable_copy(self, programs: Path) -> Path:
        """The programs' folder, or a copy (made once, about 45 MB) that the account can use."""
        if self.can_enter(programs):
            return programs
        server = (programs / "bin" / "postgres").read_bytes()
        copy = SHARED_FOLDER / f"postgresql-{hashlib.sha256(server).hexdigest()[:12]}"
        package = programs.parent
        if not copy.exists():
            partial = _shared_folder() / f"partial-{secrets.token_hex(8)}"
            # The wheel's programs look for the wheel's libraries beside their package.
            for folder in (package, package.with_name(f"{package.name}.libs")):
                if folder.exists():
                    shutil.copytree(folder, partial / folder.name, symlinks=True)
            _open_for_reading(partial)
            try:
                partial.rename(copy)
            except OSError:  # another process was faster
                shutil.rmtree(partial)
        return copy / package.name / programs.name

    def reachable_place(self, visible: Path) -> Path:
        """Where a data folder can lie: there, or behind a link when the account has no way in."""
        if visible.is_symlink() or visible.exists() or self.can_enter(visible.parent):
            return visible.resolve()
        place = _shared_folder() / f"data-{secrets.token_hex(8)}" / visible.name
        place.parent.mkdir()
        place.parent.chmod(0o755)
        visible.symlink_to(place)
        return place


def _shared_folder() -> Path:
    SHARED_FOLDER.mkdir(parents=True, exist_ok=True)
    SHARED_FOLDER.chmod(0o755)  # whatever the umask
    return SHARED_FOLDER


def _open_for_reading(folder: Path) -> None:
    """Like ``chmod -R a+rX``: a strict umask must not keep the account from the programs."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))
