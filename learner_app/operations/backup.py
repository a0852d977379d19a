"""Backup and restore with the client programs of PostgreSQL, as the owner role.

Row-level security must not hide rows from a dump: if it applies to the connected role, the backup
is refused. A backup file gets its final name only when it is complete.
"""

import asyncio
import os
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from learner_app.database.dsn import DatabaseUrl
from learner_app.database.engine import DatabaseEngine
from learner_app.database.libpq import libpq_environment
from learner_app.errors import BackupError, EmbeddedServerError
from learner_app.operations.embedded import embedded_binaries
from learner_app.operations.preconditions import refuse_in_production
from learner_app.operations.reset import HISTORY_EXISTS, abbreviated, find_tables
from learner_app.schema.objects import DROP_UNUSED_TOUCH_FUNCTIONS
from learner_app.schema.ownership import HISTORY_TABLE, protect_history
from learner_app.schema.pending import pending_migrations
from learner_app.schema.schema_object import quoted

INSTALLATION_FOLDERS = (
    "/usr/lib/postgresql/*/bin",  # Debian and Ubuntu
    "/usr/pgsql-*/bin",  # Red Hat and derived distributions
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
VERSION_SECONDS = 10

SIGNATURE = b"PGDMP"
"""First bytes of an archive of pg_dump, or of its table of contents."""

CONTENTS = "toc.dat"
"""Name of the table of contents in the directory format, and of the first file of a tar archive."""

TAR_BLOCK = 512
"""Bytes of the header before a file in a tar archive."""

_HIDDEN = """
    SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND row_security_active(c.oid)
      AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1
"""
_ERROR = re.compile(r"error:\s*(\S.*)", re.IGNORECASE)
"""Pattern of the line with the reason in the error output of psql, pg_dump and pg_restore."""

_DEPENDENTS_ERROR = "other objects depend on"
_SCHEMA = "SELECT current_schema()"
_HAS_TABLES = "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema())"


@dataclass(frozen=True)
class Backup:
    """A finished backup file."""

    target: DatabaseUrl
    tables: int
    """Number of tables with rows in the file."""
    size: int
    """Size of the file in bytes."""


async def back_up(engine: DatabaseEngine, file: Path) -> Backup:
    """Dump the whole database of the engine to a new file in the custom format of pg_dump.

    The mode of the file is 0600.

    Raises:
        BackupError: the file exists or its folder does not, row-level security hides rows from the
            owner role, there is no pg_dump for the version of the server, or pg_dump failed.
        DatabaseError: the server does not answer or refuses the connection.
    """
    with engine.as_owner():
        target, programs = engine.target, await _prepare(engine)
        environment = libpq_environment(target, engine.settings)
        tables, size = await asyncio.to_thread(_dump, programs, environment, file)
    return Backup(target, tables, size)


def _dump(programs: Path, environment: dict[str, str], file: Path) -> tuple[int, int]:
    """Write the file, and return the number of its tables and its size in bytes."""
    if file.exists() or file.is_symlink():
        raise BackupError(f"{file} already exists: name another file")
    if not file.parent.is_dir():
        raise BackupError(f"there is no folder {file.parent}: create it first")
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    partial.touch(mode=0o600, exist_ok=False)
    try:
        _run([programs / "pg_dump", "-Fc", "--no-password", f"--file={partial}"], environment)
        listed = _run([programs / "pg_restore", "--list", partial], environment)
        _put_in_place(partial, file)
        size = file.stat().st_size
    finally:
        partial.unlink(missing_ok=True)
    return sum(" TABLE DATA " in line for line in listed.splitlines()), size


async def _prepare(engine: DatabaseEngine) -> Path:
    """Return the folder of the client programs, after checking that no row is hidden."""
    await engine.wait_until_ready()
    connection = await engine.get_new_connection()
    try:
        hidden = [row[0] for row in await connection.fetch(_HIDDEN)]
        major = connection.get_server_version().major
    finally:
        await connection.close()
    if hidden:
        raise BackupError(
            f"{engine.target}: row-level security hides rows of {', '.join(hidden)} from this "
            "role. Connect as the owner role (DATABASE_OWNER_URL), which `learner roles` creates; "
            "see docs/backup.md"
        )
    return find_programs(major)


def find_programs(major: int) -> Path:
    """Return the folder of the client programs for a server of a major version.

    Programs of the same version are preferred, because a server may not understand the statements
    of a newer pg_restore. Otherwise the oldest newer version is used.

    Raises:
        BackupError: no client programs are installed, or all are older than the server.
    """
    found = {_major_of(folder): folder for folder in reversed(_candidates())}
    found.pop(0, None)
    compatible = [version for version in sorted(found) if version >= major]
    if compatible:
        return found[compatible[0]]
    known = f"only {max(found)} was found" if found else "none was found"
    raise BackupError(
        f"pg_dump of PostgreSQL {major} or newer is needed, {known}: install the client programs "
        f"(Debian: postgresql-client-{major})"
    )


def _candidates() -> list[Path]:
    folders = [Path(folder) for folder in os.get_exec_path() if folder]
    for pattern in INSTALLATION_FOLDERS:
        folders += sorted(Path("/").glob(pattern.removeprefix("/")))
    with suppress(EmbeddedServerError):
        folders.append(embedded_binaries() / "bin")
    return [folder for folder in folders if (folder / "pg_dump").is_file()]


def _major_of(folder: Path) -> int:
    """Return the major version of the pg_dump in the folder, 0 if it cannot be run."""
    try:
        text = subprocess.run(
            [folder / "pg_dump", "--version"],
            capture_output=True,
            text=True,
            check=True,
            timeout=VERSION_SECONDS,
        ).stdout
        return int(text.split()[2].partition(".")[0])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return 0


def require_archive(path: Path) -> None:
    """Raise BackupError if a file or folder is no archive of pg_dump, without starting a program.

    The custom format begins with a signature. The tar format and the directory format contain it at
    the beginning of their table of contents.
    """
    if not path.exists():
        raise BackupError(f"{path}: no such file")
    file = path / CONTENTS if path.is_dir() else path
    begin = b""
    if file.is_file():  # reading from a pipe would take its beginning from pg_restore
        with file.open("rb") as archive:
            begin = archive.read(TAR_BLOCK + len(SIGNATURE))
    is_tar = begin.startswith(CONTENTS.encode() + b"\0")
    if not begin[TAR_BLOCK if is_tar else 0 :].startswith(SIGNATURE):
        raise BackupError(
            f"{path} is no backup: name a file of `learner backup`, or of pg_dump with the option "
            "-Fc, -Ft or -Fd"
        )


async def tables_to_replace(engine: DatabaseEngine) -> list[str]:
    """Return the names of the tables that a restore replaces, none for an empty database.

    Raises:
        SettingsError: the database has tables and APP_ENV is production.
        MigrationError: the role may not drop the tables.
        BackupError: the database has tables that no registered app declares.
    """
    with engine.as_owner():
        await engine.wait_until_ready()
        connection = await engine.get_new_connection()
    try:
        existing = await connection.fetchval(_HAS_TABLES)
        has_history = await connection.fetchval(HISTORY_EXISTS, HISTORY_TABLE)
    finally:
        await connection.close()
    if not existing:
        return []
    refuse_in_production(engine, "replacing tables by a backup")
    plan = await find_tables(engine)
    if plan.other_tables:
        raise BackupError(
            f"{engine.target} has tables that no registered app declares: "
            f"{abbreviated(plan.other_tables)}. "
            "Nothing was changed. Restore into an empty database instead"
        )
    return plan.tables + [HISTORY_TABLE] * bool(has_history)


async def restore(engine: DatabaseEngine, file: Path, replaced: Sequence[str]) -> int:
    """Restore a backup as the owner role, in one transaction that first drops tables.

    Roles and privileges are not restored from the file: the owner role owns the objects, and its
    default privileges grant access to the application role.

    Args:
        engine: engine of the database.
        file: a dump in one of the archive formats of pg_dump.
        replaced: names of the tables to drop, see :func:`tables_to_replace`.

    Returns:
        The number of migrations that are pending in the restored database.

    Raises:
        BackupError: the file cannot be read or restored; the database is unchanged.
    """
    with engine.as_owner():
        await engine.wait_until_ready()
        connection = await engine.get_new_connection()
        try:
            major = connection.get_server_version().major
            schema = await connection.fetchval(_SCHEMA)
        finally:
            await connection.close()
        environment = libpq_environment(engine.target, engine.settings)
        programs = find_programs(major)
        await asyncio.to_thread(_load, programs, environment, file, replaced, schema)
        connection = await engine.get_new_connection()
        try:
            await protect_history(connection)
            return len(await pending_migrations(connection))
        finally:
            await connection.close()


def _load(
    programs: Path,
    environment: dict[str, str],
    file: Path,
    replaced: Sequence[str],
    schema: str | None,
) -> None:
    """Drop the tables and load the file, by psql in one transaction."""
    command: list[str | Path] = [programs / "pg_restore", "--no-owner", "--no-privileges"]
    if schema not in (None, "public"):
        command.append(f"--schema={schema}")  # the schema exists
    with TemporaryDirectory(prefix="learner-restore-") as folder:
        script, drop = Path(folder) / "restore.sql", Path(folder) / "drop.sql"
        _run([*command, f"--file={script}", file], environment)
        tables = ", ".join(quoted(name) for name in replaced)
        drops = [f"DROP TABLE {tables};", f"{DROP_UNUSED_TOUCH_FUNCTIONS};"] if replaced else []
        drop.write_text("\n".join(drops))
        psql: list[str | Path] = [
            programs / "psql",
            "-X",
            "--no-password",
            "--quiet",
            "--single-transaction",
        ]
        options = ["--set=ON_ERROR_STOP=1", "--output=/dev/null"]
        _run([*psql, *options, f"--file={drop}", f"--file={script}"], environment)


def _run(command: Sequence[str | Path], environment: dict[str, str]) -> str:
    """Return the standard output of a client program.

    Raises:
        BackupError: the program failed; the message has the first line of its error output.
    """
    inherited = {"PATH": os.defpath, "LC_ALL": "C"}
    done = subprocess.run(
        [str(part) for part in command],
        env=inherited | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        name = Path(command[0]).name
        raise BackupError(f"{name} failed: {_first_line(done.stderr)}")
    return done.stdout


def _first_line(text: str) -> str:
    """Return the first line with an error, without the file name and line number.

    If other objects depend on a dropped table, the details that name them are appended. Details
    of other errors may contain values of rows and are omitted.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [match[1] for line in lines if (match := _ERROR.search(line))]
    chosen = (errors or lines or ["no reason given"])[0]
    if _DEPENDENTS_ERROR in chosen:
        details = (line for line in lines if line.startswith("DETAIL:"))
        return ": ".join((chosen, *(line.removeprefix("DETAIL:").strip() for line in details)))
    return chosen


def _put_in_place(partial: Path, file: Path) -> None:
    """Rename the file after it is on disk, without replacing an existing file."""
    with partial.open("rb") as dump:
        os.fsync(dump.fileno())
    try:
        file.hardlink_to(partial)  # unlike a rename, fails if the file exists
    except FileExistsError:
        raise BackupError(f"{file} already exists: name another file") from None
    except OSError:  # a file system without hard links
        partial.rename(file)
