"""``learner up`` as a process: first start, stop, restart and failures."""

import asyncio
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import httpx
import pytest

from learner_app.operations.embedded import SUPERUSER, EmbeddedServer
from learner_app.schema.pending import declared_migrations
from learner_app.up import _address
from tests.product import Product


@pytest.mark.slow
def test_first_start_creates_everything_and_second_start_keeps_it(product: Product):
    output = product.start()
    password = re.search(r"Staff login: admin / (\S+)", output)[1]
    assert f"{product.address}/admin/" in output
    assert f"{product.address}/health/db" in output
    assert "learner data/postgres-18" in output
    assert len(output.splitlines()) < 10

    health = httpx.get(f"{product.address}/health/db").json()
    assert (health["database"], health["pending_migrations"]) == ("up", 0)
    assert sign_in(product, password) == 200

    script = "from learner_app.content.tables import ContentTable as c;"
    script += "print(c.count().run_sync(), c.raw('SELECT rolsuper FROM pg_roles"
    script += " WHERE rolname = current_user').run_sync())"
    found = product.run("python", "-c", script)
    assert found.stdout == "26 [{'rolsuper': False}]\n", found.stderr
    assert "True" in product.run("piccolo", "migrations", "check").stdout

    assert product.stop() == "Stopped.\n"
    assert product.process.returncode == 0
    assert product.server_pids() == []

    started = time.monotonic()
    output = product.start()
    assert time.monotonic() - started < 10
    assert password not in output
    assert "as before" in output
    assert sign_in(product, password) == 200
    new = product.run("learner", "staff", "password", "admin").stdout.split()[-1]
    assert (sign_in(product, password), sign_in(product, new)) == (401, 200)
    assert product.stop(signal.SIGINT) == "Stopped.\n"


ROLES_SCRIPT = """
import asyncio
from learner_app.conf import DB

async def main():
    sql = ("SELECT current_user, (SELECT count(*) FROM tenants), (SELECT count(*) FROM content),"
           " (SELECT string_agg(DISTINCT tableowner, ',') FROM pg_tables"
           "  WHERE schemaname = 'public')")
    print(*(await DB.fetchrow(sql)))
    with DB.as_owner():
        print(*(await DB.fetchrow(sql)))

DB.needs_pool = False
asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.long
async def test_data_folder_of_one_role_is_converted_to_two_and_keeps_its_rows(product: Product):
    """In an earlier version, the role ``learner`` owned the database and all tables."""
    server = EmbeddedServer(product.data / "postgres-18")
    server.start()
    try:
        admin = await asyncpg.connect(server.url(SUPERUSER, SUPERUSER))
        await admin.execute("CREATE ROLE learner LOGIN NOSUPERUSER NOBYPASSRLS")
        await admin.execute("CREATE DATABASE learner OWNER learner")
        await admin.close()
        product.environment["DATABASE_URL"] = server.url("learner", "learner")
        assert product.run("learner", "migrate").returncode == 0
        assert product.run("learner", "seed").returncode == 0
        admin = await asyncpg.connect(server.url("learner", SUPERUSER))
        await admin.execute("INSERT INTO tenants (name, slug) VALUES ('A', 'a'), ('B', 'b')")
        await admin.close()
    finally:
        server.stop()
        product.environment.pop("DATABASE_URL", None)

    for _ in range(2):
        product.start()
        running = json.loads((product.data / "running.json").read_text())
        assert running["owner"] == "learner_owner"
        assert "postgresql://learner@/" in running["url"]
        told = product.run("python", "-c", ROLES_SCRIPT)
        assert told.stdout.splitlines() == [
            "learner 0 26 learner_owner",
            "learner_owner 2 26 learner_owner",
        ], told.stderr
        health = await asyncio.to_thread(httpx.get, f"{product.address}/health/db")
        assert health.json()["pending_migrations"] == 0
        product.stop()


@pytest.mark.slow
def test_commands_during_learner_up_use_both_roles(product: Product):
    product.start()
    assert product.run("learner", "rollback", "tenancy", "--yes").stdout.endswith("Rolled back.\n")
    migrated = product.run("piccolo", "migrations", "forwards", "all")
    assert migrated.returncode == 0, migrated.stdout + migrated.stderr
    reset = product.run("learner", "reset", "--yes")
    assert f"{len(declared_migrations())} migrations applied" in reset.stdout, reset.stderr
    told = product.run("python", "-c", ROLES_SCRIPT).stdout
    assert told.splitlines()[0] == "learner 0 26 learner_owner"


def sign_in(product: Product, password: str) -> int:
    with httpx.Client(base_url=product.address) as client:
        client.get("/admin/public/login/")
        token = client.cookies["csrftoken"]
        form = {"username": "admin", "password": password, "csrftoken": token}
        headers = {"X-CSRFToken": token}
        return client.post("/admin/public/login/", data=form, headers=headers).status_code


@pytest.mark.slow
def test_server_stops_when_the_application_is_killed(product: Product):
    product.start()
    assert product.server_pids()
    product.process.kill()
    product.process.communicate()
    deadline = time.monotonic() + 15
    while product.server_pids() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert product.server_pids() == []

    refused = product.run("piccolo", "migrations", "forwards", "all")
    assert refused.returncode != 0
    assert refused.stderr.count("\n") == 1
    assert "`learner up`" in refused.stderr

    assert "as before" in product.start()
    assert httpx.get(f"{product.address}/health/db").status_code == 200


@pytest.mark.stress
def test_each_failed_start_is_one_line(product: Product):
    product.start()
    same_port = product.run("learner", "up", "--port", str(product.port))
    assert same_port.returncode == 1
    assert same_port.stderr == (
        f"learner: cannot serve on 127.0.0.1:{product.port}: "
        "Address already in use: choose another --host or --port\n"
    )
    same_data = product.run("learner", "up", "--port", str(product.port + 1))
    assert same_data.returncode == 1
    assert re.fullmatch(r"learner: another `learner up` runs on .*\n", same_data.stderr)


@pytest.mark.stress
def test_command_without_a_database_prints_one_line_with_advice(product: Product):
    for command in (
        ("piccolo", "migrations", "forwards", "all"),
        ("learner", "staff", "password", "admin"),
    ):
        result = product.run(*command)
        assert result.returncode == 1
        assert re.fullmatch(r".*start one with `learner up`, or set DATABASE_URL\n", result.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("any_server", ["debian_15"], indirect=True)
async def test_configured_database_gets_neither_example_data_nor_staff(
    product: Product, main_server, empty_database
):
    product.environment["DATABASE_URL"] = empty_database.url
    output = product.start()
    assert f"Data:        {empty_database.target}" in output
    assert "Staff login" not in output
    assert not product.data.exists()

    async def counts() -> list[int]:
        query = "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM staff_users)"
        return list((await empty_database.fetch(query))[0])

    assert await counts() == [0, 0]
    product.stop()
    assert "Staff login: admin" in product.start("--seed", "--staff")
    assert await counts() == [4, 1]


def _pid_in(pid_file: Path) -> str | None:
    """Return the process id in the first line, or None while a server writes the file."""
    try:
        return pid_file.read_text().partition("\n")[0] or None
    except FileNotFoundError:
        return None


@pytest.mark.stress
def test_killed_server_is_restarted_with_its_rows(product: Product):
    product.start()
    postmaster = (next(product.data.glob("postgres-18")) / "postmaster.pid").resolve()
    old = _pid_in(postmaster)
    os.kill(int(old), signal.SIGKILL)
    statuses = []
    deadline = time.monotonic() + 30
    while not (statuses and statuses[-1] == 200 and _pid_in(postmaster) not in (None, old)):
        assert time.monotonic() < deadline, statuses
        statuses.append(httpx.get(f"{product.address}/health/db").status_code)
    # A restart can be quicker than one answer: 503 is allowed, not required.
    assert set(statuses) <= {200, 503}
    assert len(httpx.get(f"{product.address}/health/db").json()) == 7
    output = product.stop()
    assert "PostgreSQL exited unexpectedly, restarting it." in output
    assert "PostgreSQL is running again." in output
    assert product.server_pids() == []


@pytest.mark.stress
def test_data_of_an_older_version_is_refused(product: Product):
    older = product.data / "postgres-17"
    older.mkdir(parents=True)
    (older / "PG_VERSION").write_text("17\n")
    refused = product.run("learner", "up", "--port", str(product.port))
    assert refused.returncode == 1
    assert re.fullmatch(
        r"learner: .*postgres-17 belongs to another major version.*\n", refused.stderr
    )
    assert [path.name for path in older.iterdir()] == ["PG_VERSION"]
    assert not (product.data / "postgres-18").exists()


@pytest.mark.stress
def test_data_folder_with_files_of_another_version_is_refused(product: Product):
    data = product.data / "postgres-18"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")
    refused = product.run("learner", "up", "--port", str(product.port))
    assert refused.returncode == 1
    assert re.fullmatch(r"learner: .* was created by PostgreSQL 16: move it away\n", refused.stderr)


@pytest.fixture
def disk(open_folder: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a file system with options, which requires root."""
    mounted = []

    def mount(options: str) -> Path:
        if os.geteuid() != 0:
            pytest.skip("mounting a small file system takes root")
        kind = ["-t", "tmpfs", "-o", f"mode=755,{options}", "tmpfs"]
        subprocess.run(["mount", *kind, open_folder], check=True)
        mounted.append(open_folder)
        return open_folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.stress
def test_full_disk_is_one_line(product: Product, disk: Callable[[str], Path]):
    product.environment["LEARNER_DATA"] = str(disk("size=20M") / "data")
    refused = product.run("learner", "up", "--port", str(product.port))
    assert refused.returncode == 1
    assert re.fullmatch(r"learner: initdb failed in .*: No space left on device\n", refused.stderr)


@pytest.mark.stress
def test_read_only_folder_is_one_line(product: Product, disk: Callable[[str], Path]):
    product.environment["LEARNER_DATA"] = str(disk("ro") / "data")
    refused = product.run("learner", "up", "--port", str(product.port))
    assert refused.returncode == 1
    assert re.fullmatch(r"learner: .*/data: Read-only file system\n", refused.stderr)


@pytest.mark.stress
def test_password_appears_in_no_output(product: Product):
    canary = "hunter2canary"
    product.environment |= {
        "DATABASE_URL": f"postgresql://keeper:{canary}@127.0.0.1:1/nothing",
        "DB_RETRY_ATTEMPTS": "2",
        "DB_RETRY_INITIAL": "0.01",
        "PYTHONASYNCIODEBUG": "1",
    }
    script = "import logging; logging.basicConfig(level=0); import learner_app.conf as c;"
    script += "print(c.DB, vars(c.DB), c.DB.settings, c.DB.target); c.DB.get_version_sync()"
    for command in (
        ("learner", "up", "--port", str(product.port)),
        ("learner", "migrate"),
        ("learner", "--help"),
        ("piccolo", "migrations", "forwards", "all"),
        ("python", "-c", script),
    ):
        done = product.run(*command)
        assert canary not in done.stdout + done.stderr, command
        if command[0] == "learner" and command[1] != "--help":
            assert done.returncode == 1
            assert "connection refused" in done.stderr


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),  # noqa: S104  # compared, not bound
        ("", "http://127.0.0.1:8000"),
        ("localhost", "http://localhost:8000"),
        ("::", "http://[::1]:8000"),
        ("::1", "http://[::1]:8000"),
        ("fe80::2", "http://[fe80::2]:8000"),
    ],
)
def test_printed_address_can_be_opened_on_this_machine(host: str, url: str):
    assert _address(host, 8000) == url
