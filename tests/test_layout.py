"""Rules for the modules of the tests."""

import ast
from pathlib import Path

TESTS = Path(__file__).parent


def imported_modules(source: str) -> set[str]:
    nodes = list(ast.walk(ast.parse(source)))
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            modules |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return modules


def is_run_by_pytest(module: str) -> bool:
    package, _, name = module.rpartition(".")
    is_module = (TESTS.parent / module.replace(".", "/")).with_suffix(".py").is_file()
    return package.startswith("tests") and name.startswith(("conftest", "test_")) and is_module


def test_the_check_recognises_forbidden_imports():
    for source in (
        "import tests.conftest",
        "from tests import conftest",
        "from tests.test_docs import readme",
    ):
        assert any(map(is_run_by_pytest, imported_modules(source))), source
    for source in ("from tests.memory import memory_in_use", "from learner_app import testing"):
        assert not any(map(is_run_by_pytest, imported_modules(source))), source


def test_helpers_are_imported_from_modules_that_pytest_does_not_collect():
    found = {
        f"{path.relative_to(TESTS)}: {module}"
        for path in TESTS.rglob("*.py")
        for module in imported_modules(path.read_text())
        if is_run_by_pytest(module)
    }
    assert found == set()
