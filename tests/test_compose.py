"""compose.yaml against the compose schema, and its first-start script on a real server."""

import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest
import yaml

from learner_app.database.dsn import parse_url
from learner_app.operations.embedded import SUPERUSER, EmbeddedServer, embedded_binaries
from learner_app.operations.role_script import Roles
from learner_app.operations.roles import set_up_roles
from learner_app.settings import Settings
from tests.operations.two_roles import PRIVILEGES


@pytest.mark.slow
def test_compose_file_follows_the_schema(checkout: Path):
    checker = Path(sys.executable).with_name("check-jsonschema")
    command = [checker, "--builtin-schema", "vendor.compose-spec", checkout / "compose.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_services_are_as_agreed(checkout: Path):
    compose = yaml.safe_load((checkout / "compose.yaml").read_text())
    services = compose["services"]
    assert services["postgres"]["image"] == "postgres:16"
    assert services["redis"]["image"] == "redis:7"
    for service in services.values():
        assert service["healthcheck"]["test"]
        assert service["restart"] == "unless-stopped"
        named = [mount.split(":")[0] for mount in service["volumes"]]
        assert set(named) & set(compose["volumes"])
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])


ROLES = """
    SELECT rolname, rolsuper, rolbypassrls, rolcreatedb, rolcanlogin FROM pg_roles
    WHERE rolname LIKE 'le%' ORDER BY rolname
"""


@pytest.mark.slow
async def test_first_start_creates_what_learner_roles_would(checkout: Path, open_folder: Path):
    server = EmbeddedServer(open_folder / "data")
    server.start()
    try:
        database, app, owner = r'my "base" \ = :x', "le'arner", 'le\'arner "owner"'
        environment = {
            "PATH": f"{embedded_binaries() / 'bin'}:{os.environ['PATH']}",
            "PGHOST": str(server._socket_folder),
            "DB_USER": app,
            "DB_NAME": database,
            "DB_PASSWORD": "it's a $ecret",
            "DB_OWNER_USER": owner,
            "DB_OWNER_PASSWORD": "an'other",
        }
        script = checkout / "compose" / "create-databases.sh"
        done = subprocess.run(
            [script], env=environment, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        admin = await asyncpg.connect(server.url(SUPERUSER, SUPERUSER))
        owners = await admin.fetch(
            "SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE datname LIKE 'my%'"
        )
        assert {tuple(row) for row in owners} == {
            (database, owner),
            (f"{database}_test", f"{app}_test"),
        }
        assert [tuple(row) for row in await admin.fetch(ROLES)] == [
            (app, False, False, False, True),
            (owner, False, True, False, True),
            (f"{app}_test", False, False, True, True),
        ]
        await admin.close()

        inside = await asyncpg.connect(server.url(database, SUPERUSER))
        before = await inside.fetch(PRIVILEGES, "public")
        administrator = parse_url("server", server.url(SUPERUSER, SUPERUSER))
        report = await set_up_roles(administrator, Settings(), Roles(database, owner, app))
        assert (report.created, report.still_owned) == ((), ())
        assert await inside.fetch(PRIVILEGES, "public") == before
        await inside.close()
    finally:
        server.stop()
