"""Backups contain the rows of all tenants, and a restore recreates the schema."""

import os
import re
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from learner_app.database.dsn import parse_url
from learner_app.database.libpq import libpq_environment
from learner_app.errors import BackupError
from learner_app.operations.backup import find_programs, require_archive
from learner_app.operations.embedded import SUPERUSER, embedded_binaries
from learner_app.schema.pending import declared_migrations
from learner_app.settings import Settings
from tests.catalog import read_schema
from tests.commands import run
from tests.operations.two_roles import TwoRoles, renamed
from tests.product import PROGRAMS, PROJECT, Product

ON_EMBEDDED = pytest.mark.parametrize("any_server", ["embedded"], indirect=True)
TENANTS = """
    SELECT (SELECT count(*) FROM tenants), (SELECT count(*) FROM tenant_members),
           (SELECT count(*) FROM users)
"""
PRINTED_DIFFERENTLY = re.compile(r"::text|::character varying|[()\[\]]")
"""Casts of ``column IN (...)``, which PostgreSQL prints in other places after a restore."""


async def everything(two_roles: TwoRoles, database: str | None = None) -> dict[str, Any]:
    """Read the schema with its policies and triggers, the rows of all tables, and the owners."""
    connection = await asyncpg.connect(two_roles.url(SUPERUSER, database))
    try:
        schema = await read_schema(connection)
        for table in [name for name in schema if name != "functions"]:
            rows = await connection.fetch(f'SELECT t::text FROM "{table}" t ORDER BY 1')
            schema[table]["rows"] = [row[0] for row in rows]
            constraints = schema[table]["constraints"]
            schema[table]["constraints"] = {
                name: PRINTED_DIFFERENTLY.sub("", text) for name, text in constraints.items()
            }
        owners = "SELECT relname, relowner, relacl::text FROM pg_class WHERE relkind = 'r'"
        owners += " AND relnamespace = 'public'::regnamespace ORDER BY 1"
        schema["owners"] = [tuple(row) for row in await connection.fetch(owners)]
    finally:
        await connection.close()
    return schema


@pytest.fixture
async def filled(separated: TwoRoles) -> TwoRoles:
    """A migrated database with two tenants, their members and the example data."""
    await separated.add_tenants()
    assert run("seed", **separated.environment).returncode == 0
    return separated


def blocks(page: str, heading: str) -> list[str]:
    """Return the shell commands of a section of the page, without its subsections."""
    (section,) = re.findall(
        rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL
    )
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


def shell(
    commands: str, folder: Path, environment: dict[str, str], answer: str = ""
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        env=environment,
        input=answer,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def page(checkout: Path) -> str:
    return (checkout / "docs/backup.md").read_text()


@pytest.fixture
def environment(two_roles: TwoRoles) -> dict[str, str]:
    """Return the environment of an operator: client programs, PG* variables and settings."""
    socket, roles = two_roles.socket, two_roles.roles
    return {
        "PATH": f"{two_roles.programs}:{PROGRAMS}:{os.environ['PATH']}",
        "HOME": "/nonexistent",
        "PGHOST": socket,
        "PGDATABASE": roles.database,
        "PGUSER": roles.owner,
        "DB_HOST": socket,
        "DB_NAME": roles.database,
        "DB_USER": roles.application,
        "DB_OWNER_USER": roles.owner,
        "DATABASE_ADMIN_URL": two_roles.url(SUPERUSER, SUPERUSER),
    }


@pytest.mark.slow
async def test_commands_of_the_page_back_up_and_restore_every_row(
    filled: TwoRoles, environment: dict[str, str], page: str, tmp_path: Path
):
    shutil.copy(PROJECT / "piccolo_conf.py", tmp_path)
    restored = f"{filled.roles.database}_restored"
    filled._databases.add(restored)
    sections = ("Backup", "Restore into a new database", "Verify a backup")
    commands = [block for name in sections for block in blocks(page, name)]
    assert len(commands) == 3
    told = [
        shell(text.replace("learner_restored", restored), tmp_path, environment).stdout
        for text in commands
    ]
    assert re.search(r"\b2 \| +2 \| +6 \| +26\b", told[-1]), told[-1]
    assert told[-1].count("applied") == len(declared_migrations())
    assert "pending" not in told[-1]
    assert await everything(filled, restored) == await everything(filled)
    assert await filled.fetch(TENANTS, user=filled.roles.owner, database=restored) == [(2, 2, 6)]
    assert await filled.fetch(TENANTS, user=filled.roles.application, database=restored) == [
        (0, 0, 6)
    ]
    url = filled.url(filled.roles.application, restored)
    seeded = run("seed", DATABASE_URL=url)
    assert re.search(r"^users +0 created +4 found$", seeded.stdout, re.MULTILINE), seeded.stderr


@pytest.mark.slow
async def test_commands_of_the_page_without_bypassrls(
    filled: TwoRoles, environment: dict[str, str], page: str, tmp_path: Path
):
    shutil.copy(PROJECT / "piccolo_conf.py", tmp_path)
    owner = filled.roles.owner
    await filled.execute(f"ALTER ROLE {owner} NOBYPASSRLS")
    before = await everything(filled)
    (commands,) = blocks(page, "Servers that do not grant `BYPASSRLS`")
    shell(commands, tmp_path, environment)
    assert await everything(filled) == before

    restored = f"{filled.roles.database}_restored"
    (restore,) = blocks(page, "Restore into a new database")
    filled._databases.add(restored)
    shell(restore.replace("learner_restored", restored), tmp_path, environment)
    again = commands[commands.rindex("psql ") :]
    shell(again, tmp_path, environment | {"PGDATABASE": restored})
    assert await everything(filled, restored) == before


@pytest.mark.slow
def test_commands_of_the_page_on_the_embedded_server(product: Product, page: str):
    folder = product.data.parent
    folder.mkdir(parents=True)
    product.data = folder / "learner-data"
    product.environment |= {
        "LEARNER_DATA": str(product.data),
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
    }
    shutil.copy(PROJECT / "piccolo_conf.py", folder)
    back_up, restore, copy, copy_back = blocks(page, "The embedded server")
    product.start()

    def psql(sql: str) -> str:
        script = (
            f"import asyncio; from learner_app.conf import DB; DB.needs_pool = False\nsql={sql!r}"
        )
        script += "\nwith DB.as_owner(): print(asyncio.run(DB.fetch(sql)))"
        done = product.run("python", "-c", script)
        assert done.returncode == 0, done.stderr
        return done.stdout

    psql("INSERT INTO tenants (name, slug) VALUES ('A', 'a'), ('B', 'b')")
    shell(back_up, folder, product.environment)
    psql("DELETE FROM tenants")
    psql("TRUNCATE sessions CASCADE")
    declined = subprocess.run(
        ["bash", "-c", restore], cwd=folder, env=product.environment, input=b"n\n", check=False
    )
    assert declined.returncode == 1
    assert "count=0" in psql("SELECT count(*) FROM tenants")
    told = shell(restore, folder, product.environment, answer="y\n").stdout
    assert "Pending migrations: 0" in told
    counts = "SELECT (SELECT count(*) FROM tenants) AS t, (SELECT count(*) > 0 FROM sessions) AS s"
    assert "t=2 s=True" in psql(counts)
    forging = "import asyncio; from learner_app.conf import DB; DB.needs_pool = False\n"
    forging += "asyncio.run(DB.execute('DELETE FROM migration'))"
    assert "AccessDenied" in product.run("python", "-c", forging).stderr
    product.stop()

    shell(copy, folder, product.environment)
    product.start()
    psql("DELETE FROM tenants")
    product.stop()
    shell(copy_back, folder, product.environment)
    product.start()
    assert "t=2 s=True" in psql(counts)


@pytest.mark.slow
@pytest.mark.variants
async def test_dump_as_the_application_role_fails_with_an_error(
    filled: TwoRoles, environment: dict[str, str], tmp_path: Path
):
    command = ["pg_dump", f"--file={tmp_path / 'dump'}"]
    done = subprocess.run(
        command,
        env=environment | {"PGUSER": filled.roles.application},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "row-level security" in done.stderr


@pytest.mark.slow
async def test_backup_of_a_single_role_is_refused_and_names_the_setting(
    two_roles: TwoRoles, tmp_path: Path
):
    await two_roles.create_single_role()
    file = tmp_path / "learner.dump"
    refused = run("backup", str(file), url=two_roles.app_url)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "row-level security hides rows of tenant_members, tenants" in refused.stderr
    assert "DATABASE_OWNER_URL" in refused.stderr
    assert files(tmp_path) == []


@pytest.mark.slow
@pytest.mark.variants
async def test_backup_command_and_restore_on_every_server(filled: TwoRoles, tmp_path: Path):
    file = tmp_path / "learner.dump"
    before = await everything(filled)
    done = run("backup", str(file), **filled.environment)
    assert done.returncode == 0, done.stderr
    assert re.search(r": 16 tables of .*, \d+ bytes\.\n$", done.stdout), done.stdout
    assert mode(file) == 0o600
    again = run("backup", str(file), **filled.environment)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "already exists" in again.stderr
    assert files(tmp_path) == [file.name]
    lost = run("backup", str(tmp_path / "none" / "learner.dump"), **filled.environment)
    assert lost.stderr == f"learner: there is no folder {tmp_path / 'none'}: create it first\n"

    await filled.execute("DELETE FROM tenants; DELETE FROM content", filled.roles.owner)
    assert await everything(filled) != before
    declined = run("restore", str(file), answer="n\n", **filled.environment)
    assert declined.returncode == 1
    assert filled.roles.database in declined.stdout
    restored = run("restore", str(file), "--yes", **filled.environment)
    assert restored.stdout.endswith("Pending migrations: 0.\n"), restored.stderr
    assert await everything(filled) == before

    new = renamed(filled.roles, database=f"{filled.roles.database}_new")
    await filled.set_up(new)
    settings = {"DATABASE_URL": filled.url(new.application, new.database)}
    settings |= {"DB_OWNER_USER": new.owner, "APP_ENV": "production"}
    assert run("restore", str(file), **settings).returncode == 0
    assert await everything(filled, new.database) == before
    refused = run("restore", str(file), "--yes", **settings)
    assert refused.returncode == 1
    message = "learner: replacing tables by a backup is refused because APP_ENV is production\n"
    assert refused.stderr == message


@pytest.mark.slow
@ON_EMBEDDED
@pytest.mark.long
async def test_failed_restore_changes_nothing(filled: TwoRoles, tmp_path: Path):
    before = await everything(filled)
    file = tmp_path / "learner.dump"
    write(file, b"no dump")
    refused = run("restore", str(file), answer="y\n", **filled.environment)
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (1, "", 1)
    assert refused.stderr.startswith(f"learner: {file} is no backup: ")

    file = tmp_path / "cut.dump"
    assert run("backup", str(file), **filled.environment).returncode == 0
    cut(file)
    refused = run("restore", str(file), "--yes", **filled.environment)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert await everything(filled) == before

    await filled.execute("CREATE TABLE customers (a int)", filled.roles.owner)
    refused = run("restore", str(file), "--yes", **filled.environment)
    assert "customers" in refused.stderr
    assert "--keep" not in refused.stderr  # an option of reset only


@pytest.mark.slow
@ON_EMBEDDED
@pytest.mark.long
async def test_restore_of_a_missing_file_fails_without_a_question(filled: TwoRoles, tmp_path: Path):
    missing = run("restore", str(tmp_path / "none"), answer="y\n", **filled.environment)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr == f"learner: {tmp_path / 'none'}: no such file\n"


@pytest.mark.slow
@ON_EMBEDDED
@pytest.mark.long
async def test_restore_names_the_view_that_blocks_it(filled: TwoRoles, tmp_path: Path):
    file = tmp_path / "learner.dump"
    assert run("backup", str(file), **filled.environment).returncode == 0
    await filled.execute("CREATE VIEW newest AS TABLE content", filled.roles.owner)
    refused = run("restore", str(file), "--yes", **filled.environment)
    assert refused.returncode == 1
    assert "view newest depends on table content" in refused.stderr
    assert "drop.sql" not in refused.stderr


@pytest.mark.slow
@ON_EMBEDDED
@pytest.mark.variants
async def test_failed_dump_leaves_no_file(filled: TwoRoles, tmp_path: Path):
    await filled.execute("CREATE TABLE alien (a int)")
    file = tmp_path / "learner.dump"
    refused = run("backup", str(file), **filled.environment)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "permission denied for table alien" in refused.stderr
    assert files(tmp_path) == []


def test_programs_of_the_servers_version_are_preferred(tmp_path: Path, monkeypatch):
    for version in (14, 16, 17):
        folder = tmp_path / str(version)
        folder.mkdir()
        program = folder / "pg_dump"
        program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}.2 (Some 1.0)'\n")
        program.chmod(0o755)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "pg_dump").write_text("no program")
    folders = ["broken", "17", "14", "16"]
    monkeypatch.setenv("PATH", ":".join(str(tmp_path / name) for name in folders))
    monkeypatch.setattr("learner_app.operations.backup.INSTALLATION_FOLDERS", ())
    assert find_programs(16) == tmp_path / "16"
    assert find_programs(15) == tmp_path / "16"
    assert find_programs(18) == embedded_binaries() / "bin"
    with pytest.raises(BackupError, match="PostgreSQL 99 or newer is needed, only 18 was found"):
        find_programs(99)


def write(file: Path, content: bytes) -> None:
    file.write_bytes(content)


def cut(file: Path) -> None:
    """Truncate the file."""
    write(file, file.read_bytes()[:-2000])


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_environment_of_the_programs_is_that_of_the_connection():
    url = "postgresql://o:p%40ss@h1:1,h2:2/d?sslmode={}&search_path=a%20b"
    given = libpq_environment(parse_url("url", url.format("verify-ca")), Settings())
    assert given["PGHOST"] == "h1,h2"
    assert given["PGPORT"] == "1,2"
    assert (given["PGUSER"], given["PGPASSWORD"], given["PGDATABASE"]) == ("o", "p@ss", "d")
    assert given["PGOPTIONS"] == r"-c search_path=a\ b"
    assert given["PGSSLMODE"] == "verify-ca"
    for mode, settings, wanted in (
        ("disable", Settings(), "disable"),
        ("prefer", Settings(), "prefer"),
        ("require", Settings(), "verify-full"),
        ("require", Settings(db_ssl_verify=False), "require"),
    ):
        target = parse_url("url", url.format(mode))
        assert libpq_environment(target, settings)["PGSSLMODE"] == wanted
    socket = parse_url("url", "postgresql://o@/d?host=/run")
    assert "PGSSLMODE" not in libpq_environment(socket, Settings(app_env="production"))


def tar_of(folder: Path, *files: Path) -> Path:
    with tarfile.open(folder / "files.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        for file in files:
            archive.add(file, file.name)
    return folder / "files.tar"


def test_archives_of_every_format_of_pg_dump_are_accepted(tmp_path: Path):
    contents = tmp_path / "toc.dat"
    contents.write_bytes(b"PGDMP\x01\x0f\x00" + bytes(100))
    for archive in (contents, tmp_path, tar_of(tmp_path, contents)):
        require_archive(archive)


def test_other_files_are_no_backup(tmp_path: Path):
    other = tmp_path / "toc.dat"
    for content in (b"", b"PGDM", b"-- PostgreSQL database dump", b"\x1f\x8b\x08"):
        other.write_bytes(content)
        for archive in (other, tmp_path, tar_of(tmp_path, other)):
            with pytest.raises(BackupError, match="is no backup: name a file of `learner backup`"):
                require_archive(archive)
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"PGDMP")
    with pytest.raises(BackupError, match="is no backup"):
        require_archive(tar_of(tmp_path, photo))
    with pytest.raises(BackupError, match="no such file"):
        require_archive(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BackupError, match="is no backup"):
        require_archive(tmp_path / "empty")


def test_a_pipe_is_refused_and_not_read(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(BackupError, match="is no backup"):
        require_archive(pipe)
