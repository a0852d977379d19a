"""The commands ``learner`` and ``piccolo`` in processes of their own."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from learner_app.database.engine import DatabaseEngine
from tests.forkserver import PROGRAM, run_program
from tests.product import PROJECT

CANARY = "hunter2canary"

__all__ = ["CANARY", "PROGRAM", "count", "piccolo", "run"]


def run(
    *arguments: str, url: str = "", answer: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``learner`` with DATABASE_URL and the given variables as its only settings."""
    variables = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    variables |= {"DATABASE_URL": url} if url else {}
    return run_program(list(arguments), variables | environment, PROJECT, answer)


async def count(engine: DatabaseEngine, table: str) -> int:
    return (await engine.fetch(f"SELECT count(*) FROM {table}"))[0][0]


async def piccolo(engine: DatabaseEngine, *arguments: str) -> asyncio.subprocess.Process:
    """Start the command with DATABASE_URL as its only setting."""
    return await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("piccolo")),
        *arguments,
        env={"DATABASE_URL": engine.url, "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        cwd=PROJECT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
