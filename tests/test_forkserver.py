"""Forked commands behave as commands that are started."""

import os
import subprocess

import pytest

from tests.forkserver import PROGRAM, run_program
from tests.product import PROJECT

NOWHERE = {"DATABASE_URL": "postgresql://u:x@127.0.0.1:1/d", "DB_RETRY_ATTEMPTS": "1"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (["--help"], {}),
        (["nothing"], {}),
        (["status"], NOWHERE),
        (["staff", "add", "ada"], NOWHERE),
        (["reset"], {"DATABASE_URL": "mysql://h/d"}),
    ],
)
@pytest.mark.variants
def test_forked_command_has_the_result_of_a_started_one(
    arguments: list[str], settings: dict[str, str]
):
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **settings}
    started = subprocess.run(
        [PROGRAM, *arguments],
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    forked = run_program(arguments, environment, PROJECT)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        started.returncode,
        started.stdout,
        started.stderr,
    )
