"""Names that ``learner_app`` exports, and ``__all__`` of the public modules."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import learner_app
from tests.product import PROJECT

PUBLIC = {
    "learner_app",
    "learner_app.conf",
    "learner_app.errors",
    "learner_app.database.engine",
    "learner_app.schema.columns",
    "learner_app.schema.objects",
    "learner_app.schema.tables",
    "learner_app.tenancy.context",
    *(
        f"learner_app.repository.{name}"
        for name in (
            *("base", "batches", "filters", "inputs", "keys", "locks"),
            *("paging", "queries", "rows", "sql", "values"),
        )
    ),
    *(
        f"learner_app.{domain}.{name}"
        for domain in ("accounts", "content", "generation", "learner", "listening", "tenancy")
        for name in ("repositories", "rows", "tables")
    ),
}
"""All other modules are private."""


def type_checking_imports() -> dict[str, str]:
    """Module by name, of the imports that type checkers see in ``learner_app/__init__.py``."""
    tree = ast.parse(Path(learner_app.__file__ or "").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    return {
        alias.name: node.module or ""
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_type_checkers_and_the_interpreter_see_the_same_names():
    modules = {name: f"learner_app.{module}" for name, module in learner_app._MODULE_OF.items()}
    assert type_checking_imports() == modules
    assert sorted(learner_app.__all__) == sorted(modules)


@pytest.mark.parametrize("name", learner_app.__all__)
def test_every_exported_name_is_that_of_its_module(name: str):
    module = importlib.import_module(f"learner_app.{learner_app._MODULE_OF[name]}")
    assert getattr(learner_app, name) is getattr(module, name)
    assert name in dir(learner_app)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'ContentRepositry'"):
        _ = learner_app.ContentRepositry


def test_importing_the_package_imports_nothing_else():
    code = (
        "import sys; before = set(sys.modules); import learner_app; "
        "print(sorted(name for name in set(sys.modules) - before if name != 'learner_app'))"
    )
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    imported = {name.partition(".")[0] for name in ast.literal_eval(answer.stdout)}
    assert imported <= sys.stdlib_module_names


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_module_lists_its_public_names(name: str):
    module = importlib.import_module(name)
    assert module.__all__, "empty"
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        assert not public.startswith("_")
        assert hasattr(module, public)


def test_only_public_modules_have_a_list_of_public_names():
    found = set()
    for module in pkgutil.walk_packages(learner_app.__path__, "learner_app."):
        if module.name.partition(".piccolo_migrations")[1] or module.name.endswith("__main__"):
            continue
        spec = importlib.util.find_spec(module.name)
        if spec and spec.origin and "__all__ =" in Path(spec.origin).read_text():
            found.add(module.name)
    assert found <= PUBLIC
