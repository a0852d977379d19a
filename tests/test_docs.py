"""The snippets of the pages run as they stand, and their links exist."""

import asyncio
import re
import subprocess
import sys
import textwrap
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.routing import Route

from learner_app import errors
from learner_app.conf import DB
from learner_app.content.rows import ContentCreate
from learner_app.database.engine import DatabaseEngine
from learner_app.generation.rows import GenerationCreate
from learner_app.listening.tables import ListeningSessionTable
from tests.content.factories import add_contents, new_content
from tests.listening.factories import event
from tests.snippets import run, snippets

ROOT = Path(__file__).parents[1]


async def test_page_on_transactions(clone: DatabaseEngine, checkout: Path):
    async def like(_request: object) -> None: ...

    names = {
        **vars(errors),
        "DB": DB,
        "ListeningSessionTable": ListeningSessionTable,
        "Route": Route,
        "sent": [],
        "counts": {},
        "like": like,
        "api": FastAPI(),
    }
    found = snippets(checkout / "docs/transactions.md")
    assert len(found) == 9
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
    assert names["sent"] == ["s1"]
    assert names["actor"] == "billing"
    assert names["counts"]["session.count"] == 1
    for observer in DB.observers.registered:
        DB.observers.remove(observer)


async def test_page_on_errors(clone: DatabaseEngine, checkout: Path):
    (code,) = snippets(checkout / "docs/errors.md")
    from learner_app.accounts.tables import UserTable

    names = {"UserTable": UserTable, "email": "a@b", "hashed": "x"}
    await run(code, names)
    await run(code, names)
    code = textwrap.dedent(code).replace("    error.table", "    seen = error.table")
    await run(code, names)
    assert names["seen"] == ("users", "idx_users_email", ("email",), "23505", False)


@pytest.fixture
def readme(checkout: Path) -> str:
    """The service of the README, all of its snippets."""
    found = snippets(checkout / "README.md")
    assert len(found) == 5
    return "\n".join(found)


async def test_service_of_the_readme(clone: DatabaseEngine, readme: str):
    it: dict[str, Any] = {}
    await run(readme, it)
    assert (await it["open_session"]("s1")).id == "s1"
    opened = await it["open_session"]("s1")
    assert opened.last_activity_at > opened.started_at

    await add_contents("a", "b", "c")
    assert [piece.id for piece in await it["play"]("s1", ["a", "b"])] == ["a", "b"]
    clicks = await asyncio.gather(*(it["skip"]("s1", "a") for _ in range(5)))
    assert {piece.id for piece in clicks} == {"b"}
    with pytest.raises(errors.MissingReference):
        await it["play"]("s1", ["c", "nothing"])
    assert [piece.id for piece in await it["play"]("s1", [])] == ["a", "b"]

    batch = [event("e1", content_id="a"), event("e2", content_id="nothing", session_id="new")]
    assert await it["record"](batch) == {
        "stored": 1,
        "duplicates": 0,
        "rejected": {1: "content_id: the content does not exist"},
    }
    assert (await it["record"](batch))["duplicates"] == 1

    await asyncio.gather(*(it["learn"]("s1", completed=True) for _ in range(30)))
    state = await it["states"].get("s1")
    assert (state.data_points, state.comprehension_level) == (30, Decimal(1))


async def test_worker_of_the_readme(clone: DatabaseEngine, readme: str):
    it: dict[str, Any] = {}
    await run(readme, it)
    await it["open_session"]("s1")
    for name in ("g1", "g2", "g3"):
        await it["jobs"].add(GenerationCreate(generation_id=name, session_id="s1"))

    async def write(job: Any) -> ContentCreate:
        if job.generation_id == "g2":
            raise RuntimeError("a secret of the model's")
        return new_content(f"of-{job.generation_id}", session_id=job.session_id)

    async def lose(job: Any) -> ContentCreate:
        assert await it["jobs"].claim_next(stale_older_than=timedelta()) is not None
        return await write(job)

    async def lose_and_fail(job: Any) -> ContentCreate:
        await it["jobs"].fail(job.generation_id, "by an operator")
        raise RuntimeError

    assert (await it["work"](write)).id == "of-g1"
    with pytest.raises(RuntimeError):
        await it["work"](write)
    assert await it["work"](lose) is None
    assert (await it["jobs"].get("g3")).status == "processing", "by the other worker"
    assert await it["jobs"].requeue_stale(timedelta()) == 1
    with pytest.raises(RuntimeError):
        await it["work"](lose_and_fail)
    assert await it["work"](write) is None
    jobs = [job async for job in it["jobs"].stream()]
    assert [job.status for job in jobs] == ["completed", "failed", "failed"]
    assert jobs[1].error_message == "RuntimeError while writing"
    assert [piece.id async for piece in it["contents"].stream()] == ["of-g1"]
    assert (await it["sessions"].get("s1")).content_ids == ["of-g1"]


@pytest.mark.slow
def test_service_of_the_readme_is_typed(readme: str, tmp_path: Path):
    module = tmp_path / "service.py"
    module.write_text(readme)
    command = [sys.executable, "-m", "mypy", "--strict", str(module)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\(([^)\s#]*)(?:#([^)\s]*))?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_anchors_exist(page: Path):
    for name, anchor in LINK.findall(page.read_text()):
        if "://" in name or name.startswith("mailto:"):
            continue
        target = page.parent / name if name else page
        assert target.exists(), name
        if anchor:
            assert anchor in anchors(target.read_text()), f"{name}#{anchor}"


def test_anchors_are_those_of_github():
    text = "# A `b` c\n```sh\n# a comment\n```\n## See [*d-e*](d.md), f_g & h\n## A b c\n"
    assert anchors(text) == ["a-b-c", "see-d-e-f_g--h", "a-b-c-1"]


def anchors(text: str) -> list[str]:
    """Return the anchors that GitHub gives to the headings of a page, in order."""
    found: list[str] = []
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    for heading in re.findall(r"^#+ +(.+?) *$", text, flags=re.MULTILINE):
        title = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchor = re.sub(r"[^\w\- ]", "", title).replace(" ", "-")
        earlier = sum(re.sub(r"-\d+$", "", one) == anchor for one in found)
        found.append(f"{anchor}-{earlier}" if earlier else anchor)
    return found
