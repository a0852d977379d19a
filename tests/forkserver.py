"""Processes of the ``learner`` command, forked from one that has imported its dependencies.

Most of the time of a short command is spent on importing third-party modules. The fork server
imports them once; each command is a process of its own, with its own environment, folder, streams
and exit code, and imports ``learner_app`` itself.
"""

import atexit
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from threading import Lock

PROGRAM = Path(sys.executable).with_name("learner")
MODULES = (
    *("asyncpg", "msgspec", "pydantic", "dotenv", "typer", "rich.progress"),
    *("piccolo.apps.migrations.auto.migration_manager", "piccolo.conf.apps", "piccolo.table"),
    *("piccolo_api.session_auth.tables", "piccolo.apps.migrations.commands.new"),
    *("jinja2", "pydantic.networks", "email_validator", "argon2", "bcrypt", "rich.console"),
)
STARTUP_VARIABLES = ("PYTHON", "LC_", "LANG")
"""Prefixes of variables that Python reads when it starts."""

MAX_MESSAGE = 1_000_000
_one_at_a_time = Lock()


def run_program(
    arguments: list[str], environment: Mapping[str, str], folder: Path, answer: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run ``learner`` with these arguments and return its exit code and output.

    Args:
        arguments: the arguments of the command.
        environment: all of its environment variables.
        folder: its working directory.
        answer: what it reads from standard input.
    """
    if any(name.startswith(STARTUP_VARIABLES) for name in environment):
        return subprocess.run(
            [PROGRAM, *arguments],
            env=dict(environment),
            cwd=folder,
            input=answer,
            capture_output=True,
            text=True,
            check=False,
        )
    with (
        tempfile.TemporaryFile("w+") as stdin,
        tempfile.TemporaryFile("w+") as stdout,
        tempfile.TemporaryFile("w+") as stderr,
    ):
        stdin.write(answer)
        stdin.seek(0)
        request = json.dumps([list(map(str, arguments)), dict(environment), str(folder)])
        streams = [stdin.fileno(), stdout.fileno(), stderr.fileno()]
        with _one_at_a_time:
            server = _server()
            socket.send_fds(server, [request.encode()], streams)
            code = int(server.recv(100) or "1")
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(arguments, code, stdout.read(), stderr.read())


@cache
def _server() -> socket.socket:
    """Start the server once per process; it ends when this process closes the socket."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.forkserver", str(theirs.fileno())],
        cwd=Path(__file__).parent.parent,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
        pass_fds=[theirs.fileno()],
    )
    theirs.close()
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def serve(connection: socket.socket) -> None:
    """Fork a process for every request until the connection is closed."""
    for module in MODULES:
        importlib.import_module(module)
    while True:
        request, streams, _, _ = socket.recv_fds(connection, MAX_MESSAGE, 3)
        if not request:
            return
        arguments, environment, folder = json.loads(request)
        child = os.fork()
        if child == 0:
            connection.close()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            os.environ.clear()
            os.environ.update(environment)
            os.chdir(folder)
            sys.argv = [str(PROGRAM), *arguments]
            sys.path[0] = str(PROGRAM.parent)
            runpy.run_path(str(PROGRAM), run_name="__main__")
            return
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    serve(socket.socket(fileno=int(sys.argv[1])))
