"""PgBouncer in front of a cluster, in transaction mode."""

import signal
import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from learner_app.operations.embedded import SUPERUSER
from learner_app.testing.servers import ROLE
from tests.faults.cluster import DATABASE, Cluster
from tests.faults.processes import Program, run_tool, wait_until
from tests.ports import LOCALHOST, free_port

PGBOUNCER = Path("/usr/sbin/pgbouncer")
LIMITS = {
    "statement_timeout": "54s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
}
CLIENTS = 200


class PgBouncer:
    """Pools the sessions of one database of a cluster, on a port of its own.

    It refuses every startup parameter that it does not track itself, as it does by default.

    Args:
        pool_size: how many sessions it opens on the server.
        password: what it asks of clients and gives to the server; that of the cluster if it
            has one. Without it everybody is trusted.
        server_port: that of a proxy between it and the cluster.
    """

    def __init__(
        self,
        cluster: Cluster,
        database: str = DATABASE,
        pool_size: int = 5,
        password: str | None = None,
        server_port: int | None = None,
    ) -> None:
        self.port = free_port()
        self._cluster = cluster
        self._database = database
        self._password = password or cluster.password or ""
        self._program = Program("pgbouncer")
        self._write("users.txt", self._users())
        self._write("pgbouncer.ini", self._settings(pool_size, server_port or cluster.port))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._program.remove()

    @property
    def url(self) -> str:
        return self._cluster.url(self._database, port=self.port)

    @property
    def log_file(self) -> Path:
        return self._program.log_file

    @property
    def is_running(self) -> bool:
        return self._program.is_running

    def start(self) -> None:
        """Start it; returns once it listens."""
        self._program.start([str(PGBOUNCER), str(self._program.own / "pgbouncer.ini")])
        wait_until(self._listens, f"PgBouncer listens, see {self.log_file}")

    def restart(self) -> None:
        """Stop at once, clients and transactions or not, and start again."""
        self._program.end(signal.SIGTERM)
        self.start()

    def kill(self) -> None:
        self._program.end()

    def execute_admin(self, command: str) -> str:
        """Run a command of the admin console, ``SHOW POOLS`` say; rows as ``execute`` has them."""
        psql = [self._cluster.program("psql"), "-XAtq", "-h", LOCALHOST, "-p", str(self.port)]
        return run_tool(
            [*psql, "-U", SUPERUSER, "-d", "pgbouncer", "-c", command],
            self._program.account,
            environment={"PGPASSWORD": self._password},
        )

    def _listens(self) -> bool:
        if not self.is_running:
            raise RuntimeError(f"PgBouncer did not start: {self.log_file.read_text()[-2000:]}")
        with socket.socket() as probe:
            return probe.connect_ex((LOCALHOST, self.port)) == 0

    def _users(self) -> str:
        word = self._password.replace('"', '""')
        return "".join(f'"{user}" "{word}"\n' for user in (ROLE, SUPERUSER))

    def _settings(self, pool_size: int, server_port: int) -> str:
        lines = [
            "[databases]",
            f"{self._database} = host={LOCALHOST} port={server_port}",
            "[pgbouncer]",
            f"listen_addr = {LOCALHOST}",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            "pool_mode = transaction",
            f"default_pool_size = {pool_size}",
            f"max_client_conn = {CLIENTS}",
            f"auth_type = {'scram-sha-256' if self._password else 'trust'}",
            f"auth_file = {self._program.own / 'users.txt'}",
            f"admin_users = {SUPERUSER}",
            # The default of 15 s between two attempts to reach a server would be all waiting.
            "server_login_retry = 0.2",
        ]
        return "\n".join(lines) + "\n"

    def _write(self, name: str, text: str) -> None:
        path = self._program.own / name
        path.write_text(text)
        path.chmod(0o644)  # the folder lets in the program's account only
