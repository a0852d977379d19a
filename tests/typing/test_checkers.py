"""What mypy and pyright say of right and of wrong use; other domains add lines to the snippets."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.environment import skip_outside_ci
from tests.product import PROJECT

pytestmark = pytest.mark.slow

SNIPPETS = Path(__file__).parent
ACCEPTS, REJECTS = SNIPPETS / "accepts.py", SNIPPETS / "rejects.py"

Complaint = tuple[str, int, str]
"""File, line and what is wrong with it."""


def output_of(module: str, *options: str) -> str:
    command = [sys.executable, "-m", module, *options, str(ACCEPTS), str(REJECTS)]
    answer = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=300
    )
    assert answer.returncode == 1, answer.stdout + answer.stderr
    return answer.stdout


@cache
def mypy() -> list[Complaint]:
    lines = output_of("mypy", "--strict", "--output=json").splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [
        (Path(one["file"]).name, one["line"], one["message"])
        for one in found
        if one["severity"] == "error"
    ]


@cache
def pyright() -> list[Complaint]:
    if shutil.which("node") is None:
        skip_outside_ci("pyright needs node")
    output = output_of("pyright", "--outputjson", "--pythonpath", sys.executable)
    found = json.loads(output)["generalDiagnostics"]
    return [
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1, one["message"])
        for one in found
        if one["severity"] == "error"
    ]


Checker = Callable[[], list[Complaint]]
CHECKERS = pytest.mark.parametrize("checker", [mypy, pyright], ids=["mypy", "pyright"])


@CHECKERS
def test_right_use_is_accepted(checker: Checker):
    assert [one for one in checker() if one[0] == ACCEPTS.name] == []


@CHECKERS
@pytest.mark.variants
def test_wrong_use_is_rejected_on_its_line(checker: Checker):
    lines = REJECTS.read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# error")}
    rejected = {number for file, number, _ in checker() if file == REJECTS.name}
    assert wrong, "no line says that it is wrong"
    assert rejected == wrong
