"""The generator of typed declarations."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from learner_app.content.repositories import ContentRepository
from learner_app.repository.typed_methods import BEGIN, END, block, declarations, main, rewritten
from tests.repository import shelves
from tests.repository.shelves import BookRepository, SlotRepository


def test_the_declarations_of_the_package_are_current(capsys: pytest.CaptureFixture[str]):
    assert main(["--check", "learner_app"]) == 0, capsys.readouterr().out


def test_every_repository_of_the_package_has_declarations(checkout: Path):
    paths = [
        path
        for path in (checkout / "learner_app").rglob("*.py")
        if re.search(r"^    filters = Filters\(", path.read_text(), re.MULTILINE)
    ]
    assert len(paths) >= 10
    assert [path for path in paths if BEGIN not in path.read_text()] == []


def test_declarations_have_filters_orders_key_and_inputs():
    found = declarations(BookRepository)
    assert list(found) == [
        *("list", "page", "stream", "count", "exists", "update_where", "delete_where")
    ]
    (page,) = found["page"]
    assert 'order: Literal["newest", "key"] = "newest"' in page
    assert "**filters: Unpack[BookFilters]" in page
    assert page.endswith("-> Page[Book]: ...")
    assert found["exists"][0] == "@overload\nasync def exists(self, key: str) -> bool: ..."
    assert "changes: BookUpdate" in found["update_where"][0]


def test_declarations_omit_what_a_repository_does_not_have():
    assert "delete_where" not in declarations(ContentRepository)
    assert "order" not in block(SlotRepository)
    assert "key: SlotKey" in block(SlotRepository)

    class Counting(BookRepository):
        async def count(self, **filters: object) -> int:
            return len(filters)

    assert "count" not in declarations(Counting)


SOURCE = f"""
class BookRepository(Base):
    filters = None

    {BEGIN}
    {END}

    rest = 1
"""


def test_declarations_are_written_between_the_comments(monkeypatch: pytest.MonkeyPatch):
    import_all(monkeypatch)
    written = rewritten(SOURCE, shelves)
    assert rewritten(written, shelves) == written
    assert written.startswith(SOURCE[: SOURCE.index(END)].rstrip())
    assert written.endswith(f"    {END}\n\n    rest = 1\n")
    assert ast.parse(written)


def test_another_layout_is_current_and_another_declaration_is_not(
    monkeypatch: pytest.MonkeyPatch,
):
    import_all(monkeypatch)
    written = rewritten(SOURCE, shelves)
    other_layout = re.sub(r"\(\n +self,\n +\*,\n", "(self, *,\n", written)
    assert other_layout != written
    assert rewritten(other_layout, shelves) == other_layout
    outdated = written.replace('"newest", "key"', '"newest"')
    assert rewritten(outdated, shelves) == written


def import_all(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AsyncGenerator", "Literal", "Page", "Total", "Unpack", "overload"):
        monkeypatch.setattr(shelves, name, object, raising=False)
    monkeypatch.setattr(shelves, "TYPE_CHECKING", False, raising=False)
    monkeypatch.setattr(shelves, "builtins", object, raising=False)


def test_missing_imports_are_listed():
    with pytest.raises(SystemExit) as caught:
        rewritten(SOURCE, shelves)
    lines = str(caught.value).splitlines()
    assert lines[0] == "tests.repository.shelves needs these imports:"
    assert "from learner_app.repository.paging import Page" in lines
    assert "import builtins" in lines


@pytest.mark.slow
@pytest.mark.long
def test_the_command_reports_an_outdated_module(tmp_path: Path, checkout: Path):
    source = (checkout / "learner_app/content/repositories.py").read_text()
    (tmp_path / "outdated.py").write_text(
        source.replace('"newest", "oldest"] = "key"', '] = "key"')
    )
    command = [sys.executable, "-m", "learner_app.repository.typed_methods"]
    for options, status in ((["--check"], 1), ([], 0), (["--check"], 0)):
        done = subprocess.run(
            [*command, *options, "outdated"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
    assert (tmp_path / "outdated.py").read_text() == source


@pytest.mark.parametrize("name", ["nothing_like_it", "nothing.like.it"])
def test_an_unknown_module_is_reported(name: str):
    with pytest.raises(SystemExit, match=f"there is no module {name}"):
        main([name])


@pytest.mark.parametrize("next_class", ["", SOURCE.replace("Book", "Slot")])
def test_a_missing_end_comment_is_reported(monkeypatch: pytest.MonkeyPatch, next_class: str):
    import_all(monkeypatch)
    with pytest.raises(SystemExit, match="BookRepository: add the line '# end of typed methods'"):
        rewritten(SOURCE.replace(END, "") + next_class, shelves)
