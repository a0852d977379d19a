"""The walk-through of ``docs/adding-a-table.md``, followed to the letter in an empty folder."""

import os
import re
import shlex
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from learner_app.testing.servers import TestServer
from tests.product import PROGRAMS

MAX_LINES = 59
DECLARED = ["vocabulary/tables.py", "vocabulary/rows.py", "vocabulary/repositories.py"]
INDEXES = "SELECT indexname FROM pg_indexes WHERE tablename = 'saved_words' ORDER BY 1"


@pytest.fixture
def text(checkout: Path) -> str:
    return (checkout / "docs/adding-a-table.md").read_text()


@pytest.fixture
def files(text: str) -> dict[str, str]:
    """The files of the page, by the name in their first line."""
    return dict(re.findall(r"```python\n# (\S+)\n(.*?)```", text, re.DOTALL))


@pytest.fixture
def commands(text: str) -> list[list[str]]:
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


@pytest.fixture
def project(tmp_path: Path, files: dict[str, str]) -> Path:
    for name, code in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
    (tmp_path / "vocabulary/__init__.py").touch()
    return tmp_path


@pytest.fixture
async def url(main_server: TestServer, learner_template: str) -> AsyncIterator[str]:
    """A database that has the package's own tables."""
    name = await main_server.create(learner_template)
    yield main_server.url(name)
    await main_server.drop(name)


def run(folder: Path, *command: str, **variables: str) -> str:
    """Return the output of a command, which must succeed."""
    done = subprocess.run(
        [PROGRAMS / command[0], *command[1:]],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def migrations(project: Path) -> list[Path]:
    return list(project.glob("vocabulary/piccolo_migrations/vocabulary_*.py"))


def test_table_rows_and_repository_are_under_sixty_lines(files: dict[str, str]):
    code = [line for name in DECLARED for line in files[name].splitlines() if line.strip()]
    assert len(code) <= MAX_LINES


@pytest.mark.slow
async def test_every_step_of_the_page(project: Path, commands: list[list[str]], url: str):
    typed, new, forwards, test = commands
    assert "typed methods written" in run(project, *typed)
    run(project, *new, DATABASE_URL=url)
    assert len(migrations(project)) == 1
    assert run(project, *forwards, DATABASE_URL=url).count("[forwards]... ok!") == 1
    connection = await asyncpg.connect(url)
    indexes = [row[0] for row in await connection.fetch(INDEXES)]
    await connection.close()
    assert indexes == ["idx_saved_words_session_word", "saved_words_pkey"]

    assert "No changes" in run(project, *new, DATABASE_URL=url)
    assert len(migrations(project)) == 1
    output = run(project, *test, "-p", "no:cacheprovider")
    assert "1 passed" in output, output


@pytest.mark.slow
def test_the_code_of_the_page_is_typed_and_in_our_style(
    project: Path, checkout: Path, commands: list[list[str]]
):
    typed = commands[0]
    run(project, *typed)
    assert run(project, *typed[:3], "--check", *typed[3:]) == ""
    run(project, "mypy", "--strict", "--cache-dir", os.devnull, "vocabulary")
    style = ["--no-cache", "--config", str(checkout / "pyproject.toml")]
    together = 'lint.isort.known-first-party = ["learner_app", "vocabulary"]'
    run(project, "ruff", "check", *style, "--config", together, "vocabulary")
    run(project, "ruff", "format", "--check", *style, ".")
