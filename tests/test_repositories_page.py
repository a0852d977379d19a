"""``docs/repositories.md`` names every operation, with its parameters, and its snippets run."""

import ast
import inspect
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.repository.base import DeletingRepository
from learner_app.repository.read_only import MISSING
from tests.repository.declarations import EXTENSION_POINTS, repositories, subclasses
from tests.snippets import run, snippets


def checking(code: str) -> str:
    """Return the snippet, changed to append each expression and its commented value to ``seen``."""

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
    assert [value for value, _ in names["seen"]] == [shown for _, shown in names["seen"]]
    assert len(names["seen"]) == 7
    assert (names["page"].total, names["number"]) == (1, 1)
    assert names["item"].title == "Il faro"
    assert (await names["sessions"].get("s1")).current_content_id == "c1"
    assert (await names["likes"].count_likes("c1"), names["engagement"].total_plays) == (1, 1)
    assert names["learned"].data_points == 1
    assert names["learned"].content_type_preferences == {"comprehension": 0.501}
    assert (await names["jobs"].get(names["job"].generation_id)).status == "failed"


async def test_page_on_extending_repositories(clone: DatabaseEngine, checkout: Path):
    declaration, use = snippets(checkout / "docs/extending-repositories.md")
    names: dict[str, Any] = {"seen": [], "__name__": "notes"}
    exec(declaration, names)  # noqa: S102  # our own page
    table = names["NoteTable"]
    table._meta._db = clone
    await clone.execute(
        f"CREATE TABLE notes ({', '.join(column.ddl for column in table._meta.columns)})"
    )
    for declared in table._meta.constraints:
        for sql in declared.create_sql("notes"):
            await clone.execute(sql)
    await run(checking(use), names)
    assert [value for value, _ in names["seen"]] == [shown for _, shown in names["seen"]]
    assert len(names["seen"]) == 6


async def test_page_on_accounts(clone: DatabaseEngine, checkout: Path):
    names: dict[str, Any] = {"seen": [], "DB": clone}
    for code in snippets(checkout / "docs/accounts.md"):
        await run(checking(code), names)
    assert [value for value, _ in names["seen"]] == [shown for _, shown in names["seen"]]
    assert len(names["seen"]) == 6


REPOSITORIES = [
    one
    for declared in repositories()
    for one in (declared, *subclasses(declared))
    if one.__module__.startswith("learner_app.") and not list(subclasses(one))
]
"""Those that services import, without base classes."""


def signatures(repository: type[Any], names: Iterable[str]) -> set[str]:
    """Names and parameters of methods, without their types."""
    found = set()
    for name in names:
        _self, *given = inspect.signature(getattr(repository, name)).parameters.values()
        bare = [one.replace(annotation=one.empty) for one in given]
        found.add(f"{name}{inspect.Signature(bare)}".replace(repr(MISSING), "…"))
    return found


def operations(repository: type[Any]) -> set[str]:
    """Names and parameters of the public methods for services."""
    methods = {name for name, _ in inspect.getmembers(repository, inspect.isfunction)}
    public = {name for name in methods if not name.startswith("_")} - EXTENSION_POINTS
    return signatures(repository, public)


def documented(section: str) -> set[str]:
    """Calls in the first column of the tables of a section."""
    cells = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    return {call for cell in cells for call in re.findall(r"`(\w+\([^`]*\))`", cell)}


def quoted_names(section: str, title: str) -> list[str]:
    """Names after ``Filters:`` or ``Orders:``, up to the end of the sentence."""
    found = re.search(rf"{title}:\s(.*?)\.\s", section, re.DOTALL)
    return (
        re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", found[1], flags=re.DOTALL)) if found else []
    )


@pytest.mark.parametrize("repository", REPOSITORIES, ids=lambda one: one.__name__)
def test_page_documents_every_operation_filter_and_order(checkout: Path, repository: type[Any]):
    text = (checkout / "docs/repositories.md").read_text()
    sections = dict(part.split("\n", 1) for part in text.split("\n## ")[1:])
    section = sections[f"`{repository.__name__}`"]
    of_all, own = documented(sections["Every repository"]), documented(section)
    there = operations(repository)
    assert own <= there
    assert there <= own | of_all
    assert sorted(quoted_names(section, "Filters")) == sorted(repository.filters.conditions)
    orders = list(repository.orders)
    assert quoted_names(section, "Orders") == (orders if len(orders) > 1 else [])


def test_page_documents_every_operation_of_the_base_classes(checkout: Path):
    text = (checkout / "docs/repositories.md").read_text()
    section = text.split("\n## Every repository\n")[1].split("\n## ")[0]
    assert documented(section) == operations(DeletingRepository)


def test_page_documents_every_extension_point(checkout: Path):
    section = (checkout / "docs/extending-repositories.md").read_text()
    section = section.split("\n## Extension points\n")[1]
    assert documented(section) >= signatures(DeletingRepository, EXTENSION_POINTS)
