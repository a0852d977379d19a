"""The snippets of the pages run as they stand."""

import ast
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.routing import Route

from learner_app import errors
from learner_app.conf import DB
from learner_app.database.engine import DatabaseEngine
from learner_app.listening.tables import ListeningSessionTable


def snippets(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


async def run(code: str, names: dict[str, Any]) -> None:
    compiled = compile(code, "snippet", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(compiled, names)  # noqa: S307  # our own pages
    if result is not None:
        await result


async def test_page_on_transactions(clone: DatabaseEngine, checkout: Path):
    async def like(_request: object) -> None: ...

    names = {
        **vars(errors),
        "DB": DB,
        "ListeningSessionTable": ListeningSessionTable,
        "Route": Route,
        "told": [],
        "like": like,
        "api": FastAPI(),
    }
    found = snippets(checkout / "docs/transactions.md")
    assert len(found) == 7
    await DB.close_connection_pool()
    await run(found[0], names)
    await DB.start_connection_pool()
    for code in found[1:]:
        await run(code, names)
    rows = await ListeningSessionTable.select(
        ListeningSessionTable.id, ListeningSessionTable.total_listening_time
    ).order_by(ListeningSessionTable.id)
    assert [row["id"] for row in rows] == ["s1", "s2", "s3"]
    assert rows[0]["total_listening_time"] == 30
    assert names["told"] == ["s1"]


async def test_page_on_errors(clone: DatabaseEngine, checkout: Path):
    (code,) = snippets(checkout / "docs/errors.md")
    from learner_app.accounts.tables import UserTable

    names = {"UserTable": UserTable, "email": "a@b", "hashed": "x"}
    await run(code, names)
    await run(code, names)
    code = textwrap.dedent(code).replace("    error.table", "    seen = error.table")
    await run(code, names)
    assert names["seen"] == ("users", "idx_users_email", ("email",), "23505", False)


async def test_readme(clone: DatabaseEngine, checkout: Path, capsys):
    (code,) = snippets(checkout / "README.md")
    await DB.close_connection_pool()
    await run(code + "\nawait main()", {})
    assert capsys.readouterr().out == "opened s1\n"
    await DB.start_connection_pool()
    assert await ListeningSessionTable.count() == 1


@pytest.mark.parametrize("name", ["transactions", "errors", "resilience", "testing"])
def test_links_lead_somewhere(checkout: Path, name: str):
    page = checkout / "docs" / f"{name}.md"
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
