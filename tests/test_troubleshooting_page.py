"""docs/troubleshooting.md quotes messages that exist in the code."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

MARKS = ",:;.'\""
PLACEHOLDER = re.compile(r"%(?:\.\d)?[a-z]?|\{\w*\}")


def template(node: ast.AST) -> str:
    """Return the text of a string literal, with … for each part that is filled in."""
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
        return "".join(str(part) for part in parts)
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return PLACEHOLDER.sub("…", node.value) if is_text else ""


@cache
def templates(package: Path) -> list[list[str]]:
    return list(_templates(package))


def _templates(package: Path) -> Iterator[list[str]]:
    for path in package.rglob("*.py"):
        if "piccolo_migrations" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text())):
                if words := template(node).replace("`", "").split():
                    yield words


def messages(page: Path) -> list[list[str]]:
    cells = re.findall(r"^\| `([^`]+)`", page.read_text(), re.MULTILINE)
    return [PLACEHOLDER.sub("…", cell).removeprefix("…: ").split() for cell in cells]


def is_quoted(message: list[str], words: list[str]) -> bool:
    """Find the message in the words of a template, where … of either stands for one word."""

    def equal_words(start: int) -> int | None:
        count = 0
        for quoted, word in zip(message, words[start:], strict=False):
            is_equal = quoted.strip(MARKS) == word.strip(MARKS)
            count += is_equal
            if not (is_equal or "…" in quoted or "…" in word):
                return None
        return count

    starts = range(len(words) - len(message) + 1)
    return max((equal_words(start) or 0 for start in starts), default=0) >= len(message) / 2


def test_every_quoted_message_exists(checkout: Path):
    quoted = messages(checkout / "docs/troubleshooting.md")
    assert len(quoted) > 40
    found = templates(checkout / "learner_app")
    missing = [" ".join(one) for one in quoted if not any(is_quoted(one, it) for it in found)]
    assert not missing


def test_a_message_that_does_not_exist_is_noticed(checkout: Path):
    message = ["the", "server", "is", "on", "…", "holiday"]
    assert not any(is_quoted(message, words) for words in templates(checkout / "learner_app"))
