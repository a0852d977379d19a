"""The ``learner`` command: every error is one line and exit code 1."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.schema.pending import declared_migrations
from learner_app.testing.servers import OwnServer, TestServer, run_in_thread
from tests.commands import CANARY, PROGRAM, count, run
from tests.database.tcp_server import TcpServer, start_tcp_server
from tests.ports import free_port
from tests.product import PROJECT

COMMANDS = [
    ("migrate",),
    ("migrate", "--plan"),
    ("status",),
    ("rollback", "content", "--yes"),
    ("reset", "--yes"),
    ("seed",),
    ("seed", "--events", "10"),
    ("staff", "add", "ada"),
    ("staff", "password", "ada"),
]
UP = ("up", "--port", str(free_port()))
NEED_TABLES = [command for command in COMMANDS if command[0] in ("seed", "staff")]


def environment(url: str, **variables: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "DATABASE_URL": url} | variables


def run_module(*arguments: str, url: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``python -m learner_app``."""
    return subprocess.run(
        [sys.executable, "-m", "learner_app", *arguments],
        env=environment(url),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


def is_one_line(done: subprocess.CompletedProcess[str]) -> bool:
    """Return True if the command failed with exit code 1 and one line on standard error."""
    one_line = done.stderr.count("\n") == 1 and done.stderr.startswith("learner: ")
    return done.returncode == 1 and one_line and CANARY not in done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", [*COMMANDS, UP])
@pytest.mark.variants
def test_unreachable_server_is_one_line(command: tuple):
    url = f"postgresql://u:{CANARY}@127.0.0.1:1/d"
    done = run(*command, url=url, DB_RETRY_ATTEMPTS="3", DB_RETRY_INITIAL="0.01")
    assert is_one_line(done), done.stderr
    assert done.stderr.startswith("learner: u@127.0.0.1:1/d: connection refused")


@pytest.mark.stress
@pytest.mark.parametrize("command", COMMANDS)
def test_missing_configuration_is_one_line(command: tuple, tmp_path: Path):
    done = run(*command, LEARNER_DATA=str(tmp_path))
    assert is_one_line(done), done.stderr
    assert "no database is configured" in done.stderr
    assert "`learner up`" in done.stderr


@pytest.mark.stress
@pytest.mark.parametrize("command", [*COMMANDS, UP])
def test_missing_database_is_one_line(main_server: TestServer, command: tuple):
    done = run(*command, url=main_server.url("no_such_database"))
    assert is_one_line(done), done.stderr
    assert "the database does not exist" in done.stderr


@pytest.fixture(scope="module")
def password_server() -> Iterator[TcpServer]:
    server, tcp = start_tcp_server("localhost", encrypted=False)
    yield tcp
    server.stop()


@pytest.mark.stress
@pytest.mark.parametrize("command", [*COMMANDS, UP])
def test_wrong_password_is_one_line(password_server: TcpServer, command: tuple):
    port = password_server.port
    done = run(*command, url=f"postgresql://keeper:{CANARY}x@localhost:{port}/postgres")
    assert is_one_line(done), done.stderr
    assert "password authentication failed" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("any_server", ["embedded"], indirect=True)
@pytest.mark.parametrize("command", NEED_TABLES)
async def test_command_on_an_empty_database_advises_to_migrate(
    empty_database: DatabaseEngine, command: tuple
):
    done = run(*command, url=empty_database.url)
    assert is_one_line(done), done.stderr
    assert str(empty_database.target) in done.stderr
    assert "migration" in done.stderr
    assert done.stderr.endswith("run `learner migrate`\n")
    assert (
        await empty_database.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        == []
    )


@pytest.mark.slow
async def test_command_on_a_partly_migrated_database_advises_to_migrate(clone: DatabaseEngine):
    assert run("rollback", "generation", "--yes", url=clone.url).returncode == 0
    for command in (("seed",), ("seed", "--events", "10")):
        done = run(*command, url=clone.url)
        assert is_one_line(done), done.stderr
        assert "lacks 1 migration (generation): run `learner migrate`" in done.stderr
    assert await count(clone, "users") == 0
    added = run("staff", "add", "ada", url=clone.url)
    assert added.returncode == 0, "the tables of the staff are there"
    assert run("rollback", "staff", "--yes", url=clone.url).returncode == 0
    for command in (("staff", "add", "bob"), ("staff", "password", "ada")):
        done = run(*command, url=clone.url)
        assert is_one_line(done), done.stderr
        assert "(staff): run `learner migrate`" in done.stderr


@pytest.mark.slow
async def test_command_with_a_missing_table_advises_to_migrate(clone: DatabaseEngine):
    await clone.run_ddl("DROP TABLE generation_status")
    done = run("seed", url=clone.url)
    assert is_one_line(done), done.stderr
    assert "42P01" in done.stderr
    assert "run `learner migrate`" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("--help",), ("status", "--help")])
def test_module_is_the_same_program(arguments: tuple):
    module = run_module(*arguments)
    assert module.returncode == 0
    assert module.stdout == run(*arguments).stdout
    assert "Usage: learner" in module.stdout


@pytest.mark.slow
async def test_module_runs_commands_and_fails_like_the_program(clone: DatabaseEngine):
    found = run_module("status", url=clone.url)
    assert (found.returncode, found.stdout.count("applied")) == (0, len(declared_migrations()))
    # Piccolo's own queries run without a pool in commands only.
    added = run_module("staff", "add", "ada", url=clone.url)
    assert added.returncode == 0, added.stderr
    wrong = run_module("status", url="mysql://h/d")
    assert is_one_line(wrong), wrong.stderr
    assert run_module("nothing", url=clone.url).returncode == 2


@pytest.mark.slow
def test_script_in_a_folder_called_learner_is_not_a_command(tmp_path: Path, checkout: Path):
    script = tmp_path / "learner" / "main.py"
    script.parent.mkdir()
    script.write_text("from learner_app.conf import DB; print(DB.needs_pool)")
    done = subprocess.run(
        [sys.executable, script], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"


def start(*command: str, url: str, **options: object) -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment(url)}
    return subprocess.Popen([PROGRAM, *command], cwd=PROJECT, text=True, **(pipes | options))


@pytest.mark.slow
def test_command_interrupted_while_it_imports_modules_ends_with_130(tmp_path: Path):
    slow = "import time\nprint('importing', flush=True)\ntime.sleep(60)\n"
    (tmp_path / "typer.py").write_text(slow)
    for command in ([str(PROGRAM)], [sys.executable, "-m", "learner_app"]):
        process = subprocess.Popen(
            [*command, "status"],
            env=environment("", PYTHONPATH=str(tmp_path)),
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=10)
        assert (process.returncode, stderr) == (130, "")


@pytest.mark.slow
async def test_interrupted_command_ends_with_130_and_no_traceback(clone: DatabaseEngine):
    seeding = start("seed", "--events", "400000", url=clone.url)
    seeding.stdout.readline()
    seeding.send_signal(signal.SIGINT)
    _, stderr = seeding.communicate(timeout=30)
    assert (seeding.returncode, stderr) == (130, "")

    asking = start("reset", url=clone.url, stdin=subprocess.PIPE)
    question = asking.stdout.readline() + asking.stdout.read(1)
    assert question.startswith("Database: ")
    asking.send_signal(signal.SIGINT)
    _, stderr = asking.communicate(timeout=30)
    assert (asking.returncode, stderr) == (130, "")
    assert await count(clone, "migration") == len(declared_migrations())


@pytest.mark.slow
async def test_command_that_waits_for_a_lock_can_be_interrupted(clone: DatabaseEngine):
    ids = sorted(id_ for app, id_ in declared_migrations() if app == "tenancy")
    assert run("rollback", "tenancy", "--to", ids[0], "--yes", url=clone.url).returncode == 0
    async with clone.transaction():
        await clone.execute("LOCK TABLE users")
        migrating = start("migrate", url=clone.url)
        migrating.stdout.readline()
        await asyncio.sleep(1)
        migrating.send_signal(signal.SIGINT)
        _, stderr = migrating.communicate(timeout=30)
    assert migrating.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert await count(clone, "migration") == len(declared_migrations()) - len(ids)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["status", "migrate --plan", "--help"])
async def test_reader_that_closes_the_pipe_is_no_error(clone: DatabaseEngine, command: str):
    pipeline = f"'{PROGRAM}' {command} | head -c 1 >/dev/null"
    for _ in range(2):
        done = subprocess.run(
            ["/bin/sh", "-c", pipeline],
            env=environment(clone.url),
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.long
async def test_output_that_cannot_be_written_causes_no_traceback(clone: DatabaseEngine):
    reader, writer = os.pipe()
    os.close(reader)
    status = start("status", url=clone.url, stdout=writer)
    os.close(writer)
    assert status.communicate(timeout=60)[1] == ""
    assert status.returncode == 1

    full = os.open("/dev/full", os.O_WRONLY)
    status = start("status", url=clone.url, stdout=full)
    os.close(full)
    assert status.communicate(timeout=60)[1] == "learner: system: No space left on device\n"
    assert status.returncode == 1

    closed = subprocess.run(
        ["/bin/sh", "-c", f"'{PROGRAM}' status >&- 2>&-; '{PROGRAM}' reset <&-"],
        env=environment(clone.url),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert is_one_line(closed), closed.stderr
    assert "no answer" in closed.stderr


@pytest.mark.slow
def test_output_in_a_narrow_encoding_causes_no_traceback():
    done = run(
        "status",
        DATABASE_URL="postgresql://ü:x@127.0.0.1:1/d",
        PYTHONIOENCODING="ascii",
        DB_RETRY_ATTEMPTS="1",
    )
    assert is_one_line(done), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", [("reset",), ("rollback", "tenancy")])
async def test_pipe_without_an_answer_ends_the_command_without_changes(
    clone: DatabaseEngine, command: tuple
):
    waiting = start(*command, url=clone.url, stdin=subprocess.PIPE)
    try:
        waiting.wait(timeout=30)  # the pipe stays open, and nothing is written to it
    finally:
        waiting.kill()
    assert waiting.returncode == 1
    assert (
        "no answer, nothing was changed: answer in a terminal, or pass --yes"
        in waiting.stderr.read()
    )
    assert await count(clone, "migration") == len(declared_migrations())


@pytest.mark.slow
async def test_answer_on_a_terminal(clone: DatabaseEngine):
    for answer, code in ((b"n\n", 1), (b"y\n", 0)):
        terminal, end = pty.openpty()
        reset = start("reset", url=clone.url, stdin=end)
        os.close(end)
        await asyncio.sleep(2)  # longer than a pipe is given
        os.write(terminal, answer)
        stdout, stderr = reset.communicate(timeout=60)
        os.close(terminal)
        assert reset.returncode == code, stderr
        assert "[y/N]" in stdout
    assert await count(clone, "content") == 26


@pytest.fixture
def own_server() -> Iterator[OwnServer]:
    server = OwnServer()
    yield server
    server.stop()


@pytest.mark.slow
def test_server_that_stops_during_a_command_is_one_line(own_server: OwnServer):
    name = run_in_thread(own_server.create())
    url = own_server.url(name)
    assert run("migrate", url=url).returncode == 0
    seeding = start("seed", "--events", "2000000", url=url)
    seeding.stdout.readline()
    own_server.server._process.send_signal(signal.SIGINT)  # a fast shutdown, as of a restart
    stderr = seeding.communicate(timeout=60)[1]
    assert seeding.returncode == 1
    assert stderr.startswith("learner: ")
    assert stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", [("migrate",), ("status",), ("seed",), ("staff", "add", "ada")])
@pytest.mark.variants
def test_command_waits_for_a_server_that_restarts(own_server: OwnServer, command: tuple):
    url = own_server.url(run_in_thread(own_server.create()))
    assert run("migrate", url=url).returncode == 0
    process = own_server.server._process
    process.send_signal(signal.SIGINT)
    process.wait()
    patient = environment(url) | {"DB_RETRY_ATTEMPTS": "50"}
    waiting = start(*command, url=url, env=patient)
    time.sleep(1.5)
    own_server.server.restart()
    _, stderr = waiting.communicate(timeout=60)
    assert (waiting.returncode, stderr) == (0, "")


@pytest.mark.parametrize("name", ["nowhere", "nowhere.conf", "learner_app.nowhere"])
@pytest.mark.parametrize("command", ["status", "roles"])
def test_missing_module_in_piccolo_conf_is_one_line(command: str, name: str):
    done = run(command, PICCOLO_CONF=name)
    assert is_one_line(done), done.stderr
    assert "PICCOLO_CONF: there is no such module" in done.stderr
