"""Account of the embedded PostgreSQL, with folders that it can use.

PostgreSQL refuses to run as root. Started by root, it runs as ``nobody``, who often cannot enter
the project (home and temporary folders have mode 0700). The permissions of these folders stay
unchanged: programs and data are stored in a folder under /var/lib, and the path of the data folder
becomes a symbolic link.
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

from learner_app.errors import EmbeddedServerError

SHARED_FOLDER = Path("/var/lib/learner_app")


@dataclass(frozen=True)
class ServerAccount:
    """Account of the server process: the current one, or ``nobody`` instead of root."""

    uid: int
    gid: int
    is_current: bool

    @classmethod
    def choose(cls) -> "ServerAccount":
        """Return the account that the server can run as.

        Raises:
            EmbeddedServerError: the process runs as root and there is no account ``nobody``.
        """
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid(), is_current=True)
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise EmbeddedServerError(
                "PostgreSQL does not run as root and there is no account `nobody`: "
                "run this command as another user"
            ) from None
        return cls(nobody.pw_uid, nobody.pw_gid, is_current=False)

    def process_options(self) -> dict[str, Any]:
        """Return arguments of ``subprocess`` for the account and for a separate session."""
        options: dict[str, Any] = {"start_new_session": True, "cwd": "/"}
        if not self.is_current:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def take_ownership(self, folder: Path) -> None:
        """Make the account the owner of an empty folder, with mode 0700."""
        if not self.is_current:
            os.chown(folder, self.uid, self.gid)
        folder.chmod(0o700)

    def can_enter(self, folder: Path) -> bool:
        """Return True if the account can read the existing folder and enter all its parents."""
        if self.is_current:
            return os.access(folder, os.R_OK | os.X_OK)
        command = ["/bin/sh", "-c", 'test -r "$1" && test -x "$1"', "sh", str(folder)]
        return subprocess.run(command, **self.process_options(), check=False).returncode == 0

    def reachable_copy(self, programs: Path) -> Path:
        """Return the folder of the programs, or a copy of about 45 MB that the account can read.

        The copy is created once for each version of the programs.
        """
        if self.can_enter(programs):
            return programs
        server = (programs / "bin" / "postgres").read_bytes()
        copy = SHARED_FOLDER / f"postgresql-{hashlib.sha256(server).hexdigest()[:12]}"
        package = programs.parent
        if not copy.exists():
            partial = _shared_folder() / f"partial-{secrets.token_hex(8)}"
            # The programs of the wheel load libraries from a folder beside their package.
            for folder in (package, package.with_name(f"{package.name}.libs")):
                if folder.exists():
                    shutil.copytree(folder, partial / folder.name, symlinks=True)
            _open_for_reading(partial)
            try:
                partial.rename(copy)
            except OSError:  # a concurrent process has created it
                shutil.rmtree(partial)
        return copy / package.name / programs.name

    def reachable_place(self, visible: Path) -> Path:
        """Return a place for a data folder that the account can enter.

        If that is not the visible path, the path becomes a symbolic link to the place.
        """
        if visible.is_symlink() or visible.exists() or self.can_enter(visible.parent):
            return visible.resolve()
        place = _shared_folder() / f"data-{secrets.token_hex(8)}" / visible.name
        place.parent.mkdir()
        place.parent.chmod(0o755)
        visible.symlink_to(place)
        return place


def _shared_folder() -> Path:
    SHARED_FOLDER.mkdir(parents=True, exist_ok=True)
    SHARED_FOLDER.chmod(0o755)  # independent of the umask
    return SHARED_FOLDER


def _open_for_reading(folder: Path) -> None:
    """Make all files readable, as ``chmod -R a+rX`` does, independent of the umask."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))
