"""PostgreSQL 15 on a TCP port, with and without TLS, and with a role that has a password."""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

import trustme

from learner_app.database.engine import DatabaseEngine
from learner_app.settings import Settings
from learner_app.testing.servers import OwnServer
from tests.debian import DEBIAN_15
from tests.environment import skip_outside_ci
from tests.ports import free_port

CANARY = "hunter2canary"


@dataclass
class TcpServer:
    """Address of a running server, and the certificate authorities of a test."""

    port: int
    authority: Path
    other_authority: Path

    def engine(self, options: str = "", **settings: object) -> DatabaseEngine:
        password = settings.pop("password", CANARY)
        database = settings.pop("database", "postgres")
        url = f"postgresql://keeper:{password}@localhost:{self.port}/{database}{options}"
        engine = DatabaseEngine(url)
        engine.settings = Settings(**settings)
        return engine


def start_tcp_server(name: str, *, encrypted: bool) -> tuple[OwnServer, TcpServer]:
    if not (DEBIAN_15 / "bin" / "postgres").exists():
        skip_outside_ci("Debian's postgresql-15 is not installed")
    server = OwnServer(DEBIAN_15, autostart=False)
    authority = trustme.CA()
    for number, one in enumerate((authority, trustme.CA())):
        one.cert_pem.write_to_path(server.folder / f"authority-{number}.pem")
    certificate = authority.issue_cert(name)
    key, chain = server.folder / "server.key", server.folder / "server.pem"
    certificate.private_key_pem.write_to_path(key)
    chain.write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    account = server.server._account
    for path in (key, chain):
        path.chmod(0o600)
        shutil.chown(path, account.uid, account.gid)
    rules = server.folder / "hba.conf"
    rules.write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    port = free_port()
    server.server._options |= {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "hba_file": str(rules),
    }
    if encrypted:
        server.server._options |= {
            "ssl": "on",
            "ssl_cert_file": str(chain),
            "ssl_key_file": str(key),
        }
    server.start()
    asyncio.run(server._execute(f"CREATE ROLE keeper LOGIN PASSWORD '{CANARY}'"))
    files = [server.folder / f"authority-{number}.pem" for number in (0, 1)]
    return server, TcpServer(port, *files)
