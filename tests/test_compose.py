"""compose.yaml against the compose schema, and its first-start script on a real server."""

import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import yaml

from learner_app.operations.embedded import SUPERUSER, EmbeddedServer, embedded_binaries


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


async def test_first_start_makes_an_ordinary_role_and_two_databases(
    checkout: Path, open_folder: Path
):
    server = EmbeddedServer(open_folder / "data")
    server.start()
    try:
        environment = {
            "PATH": f"{embedded_binaries() / 'bin'}:{os.environ['PATH']}",
            "PGHOST": str(server._socket_folder),
            "DB_USER": "le'arner",
            "DB_NAME": 'my "base"',
            "DB_PASSWORD": "it's a $ecret",
        }
        script = checkout / "compose" / "create-databases.sh"
        done = subprocess.run(
            [script], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        admin = await asyncpg.connect(server.url(SUPERUSER, SUPERUSER))
        owners = await admin.fetch(
            "SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE datname LIKE 'my%'"
        )
        role = await admin.fetchrow(
            "SELECT rolsuper, rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname = $1",
            environment["DB_USER"],
        )
        await admin.close()
        assert {tuple(row) for row in owners} == {
            ('my "base"', "le'arner"),
            ('my "base"_test', "le'arner"),
        }
        assert tuple(role) == (False, False, True)
    finally:
        server.stop()
