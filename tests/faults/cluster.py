"""PostgreSQL clusters that tests kill, restart, replicate and fail over."""

import atexit
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import quote

from learner_app.operations import postmaster
from learner_app.operations.embedded import SUPERUSER
from learner_app.operations.server_account import ServerAccount
from learner_app.testing.servers import ROLE
from tests.debian import DEBIAN_15
from tests.faults.processes import Program, open_folder, run_tool, wait_until
from tests.ports import LOCALHOST, free_port

DATABASE = "learner_test"
SETTINGS = {
    "listen_addresses": LOCALHOST,
    "fsync": "off",  # a killed process loses nothing that it has written
    "full_page_writes": "off",
    "synchronous_commit": "on",
    "dynamic_shared_memory_type": "mmap",  # goes with the folder, also after a kill
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
EXECUTE_SECONDS = 30.0


class Cluster:
    """One cluster, on a port of 127.0.0.1 and on a unix socket, the same for its whole life.

    It has the superuser ``postgres``, the ordinary role ``learner`` and that role's database
    ``learner_test``. Used as ``with Cluster() as cluster``, or by ``start`` and ``remove``. All
    clusters of a run have one system identifier, for they are copies of one.

    Args:
        programs: folder with PostgreSQL's ``bin``.
        password: asked of ``learner`` on TCP (SCRAM); without one everybody is trusted.
        options: further settings, as in ``postgresql.conf``.
    """

    def __init__(
        self,
        programs: Path = DEBIAN_15,
        *,
        password: str | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self.password = password
        self._program = Program("postgresql")
        self._programs = self._program.account.reachable_copy(programs)
        self._options = dict(options or {})
        self._data = self._program.own / "data"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    @property
    def socket_folder(self) -> Path:
        return self._program.own

    @property
    def socket(self) -> Path:
        return self.socket_folder / f".s.PGSQL.{self.port}"

    @property
    def address(self) -> tuple[str, int]:
        return LOCALHOST, self.port

    @property
    def log_file(self) -> Path:
        return self._program.log_file

    @property
    def is_running(self) -> bool:
        return self._program.is_running

    def url(self, database: str = DATABASE, user: str = ROLE, port: int | None = None) -> str:
        """Where to connect by TCP; ``port`` is that of a proxy or pooler in front."""
        secret = f":{quote(self.password, safe='')}" if self.password and user == ROLE else ""
        return f"postgresql://{user}{secret}@{LOCALHOST}:{port or self.port}/{quote(database)}"

    def start(self) -> None:
        """Make the data on the first call, start, return once connections are served."""
        if not self._data.exists():
            template = _template(self._programs)
            run_tool(["cp", "-r", str(template), str(self._data)], self._program.account)
        self._write("pg_hba.conf", _host_rules("scram-sha-256" if self.password else "trust"))
        options = {
            **SETTINGS,
            "port": str(self.port),
            "unix_socket_directories": str(self.socket_folder),
            **self._options,
        }
        command = [self.program("postgres"), "-D", str(self._data)]
        command += [f"--{name}={value}" for name, value in options.items()]
        pid = self._program.start(command, postmaster.pid_to_ignore(self._data))
        wait_until(lambda: self._is_ready(pid), f"PostgreSQL is ready, see {self.log_file}")
        if self.password and not self.is_standby:
            word = self.password.replace("'", "''")
            self.execute(f"ALTER ROLE {ROLE} PASSWORD '{word}'")

    def stop(self) -> None:
        """Shut down fast: sessions are ended and rolled back, everything committed is kept."""
        self._program.end(signal.SIGINT, signal.SIGQUIT)

    def restart(self) -> None:
        self.stop()
        self.start()

    def kill(self) -> None:
        """End the server and all its processes at once, by SIGKILL; ``start`` works again."""
        process = self._program.process
        if process is None:
            return
        process.send_signal(signal.SIGSTOP)  # it starts no further process meanwhile
        wait_until(lambda: _state(process.pid)[0] in "TXZ", "the server stands still")
        children = [pid for pid in _processes() if _state(pid)[1] == process.pid]
        for pid in (*children, process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._program.end()
        wait_until(lambda: all(_state(pid)[0] in "XZ" for pid in children), "all are gone")

    def freeze(self, *, sessions: bool) -> None:
        """Stop the postmaster where it is, which then accepts no connection, by SIGSTOP.

        Args:
            sessions: stop all other processes as well, so that nothing gets an answer.
        """
        self._signal(signal.SIGSTOP, sessions=sessions)

    def thaw(self) -> None:
        """Let everything that was frozen go on."""
        self._signal(signal.SIGCONT, sessions=True)

    def remove(self) -> None:
        """Leave no process, no file and no shared memory."""
        self._program.end(signal.SIGQUIT)
        with contextlib.suppress(FileNotFoundError):  # it is there after a kill
            memory = (self._data / "postmaster.pid").read_text().splitlines()[6].split()[1]
            run_tool(["ipcrm", "-m", memory], self._program.account)
        self._program.remove()

    def execute(
        self, sql: str, database: str = DATABASE, *, seconds: float = EXECUTE_SECONDS
    ) -> str:
        """Run it as the superuser on the unix socket; rows as lines, columns parted by ``|``.

        Raises:
            RuntimeError: with the server's words.
            subprocess.TimeoutExpired: no answer in that time.
        """
        command = [self.program("psql"), "-XAtq", "-v", "ON_ERROR_STOP=1"]
        command += [*self._connection_arguments(), "-d", database, "-c", sql]
        return run_tool(command, self._program.account, seconds=seconds)

    def create_database(self, name: str) -> None:
        """An empty database that belongs to ``learner``."""
        self.execute(f'CREATE DATABASE "{name}" OWNER {ROLE}', SUPERUSER)

    def terminate_backends(self, database: str = DATABASE) -> int:
        """End all sessions on that database; how many there were."""
        ended = self.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            f" WHERE datname = '{database}' AND pid <> pg_backend_pid()",
            SUPERUSER,
        )
        return int(ended)

    def replica(self) -> "Cluster":
        """A started standby of this cluster, which from now on commits only together with it."""
        copy = Cluster(self._programs, password=self.password, options=self._options)
        try:
            command = [self.program("pg_basebackup"), "-D", str(copy._data), "-X", "stream"]
            command += ["-c", "fast", "--no-sync", *self._connection_arguments()]
            run_tool(command, copy._program.account)
            copy.follow(self)
            copy.start()
            self.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            self.execute("SELECT pg_reload_conf()")
            wait_until(lambda: self._replica_states() == "sync", "the replica is synchronous")
        except BaseException:
            copy.remove()
            raise
        return copy

    def follow(self, primary: "Cluster | None") -> None:
        """While stopped: become a standby of that cluster, or of none, at the next start."""
        source = f"host={LOCALHOST} port={primary.port} user={SUPERUSER}" if primary else ""
        self._write("postgresql.auto.conf", f"primary_conninfo = '{source}'\n")
        self._write("standby.signal", "")

    def promote(self) -> None:
        """Make the standby a primary; returns once it can be written to."""
        self.execute("SELECT pg_promote()")
        wait_until(lambda: not self.is_standby, "the promoted server is writable")

    def demote(self, *, serve: bool = True, follow: "Cluster | None" = None) -> None:
        """Stop the primary; started again it only reads, standby of nobody or of that cluster.

        Args:
            serve: start it again at once.
        """
        self.stop()
        self.follow(follow)
        if serve:
            self.start()

    @property
    def is_standby(self) -> bool:
        return self.execute("SELECT pg_is_in_recovery()") == "t"

    def program(self, name: str) -> str:
        """The path of one of PostgreSQL's programs."""
        return str(self._programs / "bin" / name)

    def _signal(self, number: signal.Signals, *, sessions: bool) -> None:
        process = self._program.process
        assert process is not None
        process.send_signal(number)
        for pid in _processes():
            if sessions and _state(pid)[1] == process.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _connection_arguments(self) -> list[str]:
        return ["-h", str(self.socket_folder), "-p", str(self.port), "-U", SUPERUSER]

    def _is_ready(self, pid: int) -> bool:
        if not self.is_running:
            raise RuntimeError(f"PostgreSQL did not start: {self.log_file.read_text()[-2000:]}")
        return postmaster.status(self._data, pid) == "ready"

    def _replica_states(self) -> str:
        return self.execute("SELECT DISTINCT sync_state FROM pg_stat_replication")

    def _write(self, name: str, text: str) -> None:
        path = self._data / name
        path.write_text(text)
        os.chown(path, self._program.account.uid, self._program.account.gid)


def _host_rules(method: str) -> str:
    return (
        "local all all trust\n"
        f"local replication {SUPERUSER} trust\n"
        f"host replication {SUPERUSER} {LOCALHOST}/32 trust\n"
        f"host all {SUPERUSER} {LOCALHOST}/32 trust\n"
        f"host all {ROLE} {LOCALHOST}/32 {method}\n"
    )


@cache
def _template(programs: Path) -> Path:
    """A data folder with role and database to copy from, made once a run."""
    account = ServerAccount.choose()
    folder = open_folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    own = folder / "own"
    own.mkdir()
    account.take_ownership(own)
    data = str(own / "data")
    initdb = [str(programs / "bin" / "initdb"), "-D", data, "-U", SUPERUSER, "-A", "trust"]
    run_tool([*initdb, "-E", "UTF8", "--locale=C", "--no-instructions", "--no-sync"], account)
    run_tool(
        [str(programs / "bin" / "postgres"), "--single", "-F", "-D", data, SUPERUSER],
        account,
        words=f"CREATE ROLE {ROLE} LOGIN NOSUPERUSER NOBYPASSRLS\n"
        f"CREATE DATABASE {DATABASE} OWNER {ROLE}\n",
    )
    return own / "data"


def _processes() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def _state(pid: int) -> tuple[str, int]:
    """State letter and parent of a process; ``X`` when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "X", 0
    return fields[0], int(fields[1])


class Replicated(NamedTuple):
    """A primary and its synchronous standby."""

    primary: Cluster
    replica: Cluster
