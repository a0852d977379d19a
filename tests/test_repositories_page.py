"""``docs/repositories.md`` names every operation, with its parameters, and its snippets run."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.repository.base import Repository
from tests.repository.declarations import repositories, subclasses
from tests.snippets import run, snippets


def checking(code: str) -> str:
    """The snippet, which tells ``seen`` what its comments say of expressions, and what they are."""

    def check(line: re.Match[str]) -> str:
        indent, expression, comment = line.groups()
        try:
            ast.literal_eval(comment)
        except (SyntaxError, ValueError):
            return line[0]
        return f"{indent}seen.append((({expression}), ({comment})))"

    return re.sub(r"^( *)(\S.*)  # (.+)$", check, code, flags=re.MULTILINE)


async def test_page_on_repositories(clone: DatabaseEngine, checkout: Path):
    names: dict[str, Any] = {"seen": []}
    for code in snippets(checkout / "docs/repositories.md"):
        await run(checking(code), names)
    assert [value for value, _ in names["seen"]] == [told for _, told in names["seen"]]
    assert len(names["seen"]) == 3
    assert (names["created"], names["page"].total, names["number"]) == (True, 1, 1)
    assert names["piece"].title == "Il faro"
    assert (await names["sessions"].get("s1")).current_content_id == "c1"
    assert (await names["likes"].count_likes("c1"), names["engagement"].total_plays) == (1, 1)
    assert names["learned"].data_points == 1
    assert names["learned"].content_type_preferences == {"comprehension": 0.501}
    assert (await names["jobs"].get(names["job"].generation_id)).status == "failed"


async def test_page_on_accounts(clone: DatabaseEngine, checkout: Path):
    names: dict[str, Any] = {"seen": [], "DB": clone}
    for code in snippets(checkout / "docs/accounts.md"):
        await run(checking(code), names)
    assert [value for value, _ in names["seen"]] == [told for _, told in names["seen"]]
    assert len(names["seen"]) == 6


REPOSITORIES = [
    one
    for declared in repositories()
    for one in (declared, *subclasses(declared))
    if one.__module__.startswith("learner_app.") and not list(subclasses(one))
]
"""Those that services import, without what some of them inherit from."""


def operations(repository: type[Repository]) -> set[str]:
    """Names and parameters of its public methods, without their types."""
    found = set()
    for name, method in inspect.getmembers(repository, inspect.isfunction):
        _self, *given = inspect.signature(method).parameters.values()
        bare = [one.replace(annotation=one.empty) for one in given]
        if not name.startswith("_"):
            found.add(f"{name}{inspect.Signature(bare)}")
    return found


@pytest.mark.parametrize("repository", REPOSITORIES, ids=lambda one: one.__name__)
def test_page_on_repositories_says_what_there_is(checkout: Path, repository: type[Repository]):
    text = (checkout / "docs/repositories.md").read_text()
    sections = dict(part.split("\n", 1) for part in text.split("\n## ")[1:])
    section = sections[f"`{repository.__name__}`"]
    of_all, own = told(sections["Every repository"]), told(section)
    there = operations(repository)
    assert own <= there <= own | of_all
    filters = re.search(r"Filters:\s(.*?)\.\s", section, re.DOTALL)[1]
    named = re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", filters, flags=re.DOTALL))
    assert sorted(named) == sorted(repository.filters.conditions)


def told(section: str) -> set[str]:
    """What stands in the first column of its tables and looks like a call."""
    return set(re.findall(r"^\| `(\w+\(.*?\))` \|", section, re.MULTILINE))
