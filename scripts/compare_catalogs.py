"""Compare the catalog that the migrations of two revisions create, with ``pg_dump --schema-only``.

Usage: python scripts/compare_catalogs.py REVISION [PROGRAMS]

Migrates an empty database with the code of REVISION and another one with the working tree, prints
the differences of the dumps, and exits with 1 if there are any. Then it migrates the database of
REVISION with the working tree as well, which is the way of an existing installation. PROGRAMS is a
folder of PostgreSQL such as /usr/lib/postgresql/15; by default the embedded server is used. The
dependencies of REVISION have to fit the current environment.
"""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from difflib import unified_diff
from pathlib import Path

from learner_app.testing.servers import OwnServer

ROOT = Path(__file__).parent.parent
VARYING = re.compile(r"^(--|\\(un)?restrict |SET |SELECT pg_catalog)")
"""Lines of a dump that say nothing about the catalog, such as its random key."""


def migrate(checkout: Path, url: str) -> str:
    """Run ``piccolo migrations forwards all`` with the code of a checkout and return its output."""
    environment = {
        "PATH": os.defpath,
        "DATABASE_URL": url,
        "PYTHONPATH": str(checkout),
        "LANG": "C.UTF-8",
    }
    command = [Path(sys.executable).with_name("piccolo"), "migrations", "forwards", "all"]
    done = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def dump(server: OwnServer, url: str) -> list[str]:
    """Return the lines of the dump of a database."""
    command = [server.server._program("pg_dump"), "--schema-only", "--dbname", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line for line in text.splitlines() if line and not VARYING.match(line)]


def compare(server: OwnServer, revision: str) -> int:
    """Return the number of different lines."""
    old, new = (server.url(asyncio.run(server.create())) for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder) / "checkout"
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", "-f", str(checkout), revision], check=True)
        try:
            migrate(checkout, old)
        finally:
            subprocess.run([*git, "remove", "--force", str(checkout)], check=True)
    migrate(ROOT, new)
    former, fresh = dump(server, old), dump(server, new)
    print(migrate(ROOT, old))
    upgraded = dump(server, old)
    differences = [
        *unified_diff(former, fresh, revision, "working tree", lineterm="", n=2),
        *unified_diff(fresh, upgraded, "working tree", "upgraded", lineterm="", n=2),
    ]
    print("\n".join(differences) or f"{len(fresh)} lines, no differences")
    return len(differences)


if __name__ == "__main__":
    programs = Path(sys.argv[2]) if len(sys.argv) > 2 else None  # noqa: PLR2004
    own_server = OwnServer(programs)
    try:
        sys.exit(bool(compare(own_server, sys.argv[1])))
    finally:
        own_server.stop()
