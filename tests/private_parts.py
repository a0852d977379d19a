"""Scan of the package for private attributes of the libraries that it builds on.

It finds accesses of private attributes that the package does not define itself, the members of
Piccolo's ``_meta`` objects and its ``*_delegate`` attributes, private names in imports, private
methods of library classes that a class of the package overrides, and attributes of Piccolo that are
replaced at run time.
"""

import ast
import importlib
import inspect
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import learner_app

LIBRARIES = ("piccolo", "piccolo_api", "piccolo_admin", "asyncpg", "uvicorn", "starlette")
OF_PYTHON = {"_abc_impl", "_asdict", "_exit", "_fields", "_getframe", "_make", "_replace"}
"""Documented names of the standard library: named tuples, ``os._exit``, ``sys._getframe``."""

ROOT = Path(learner_app.__file__).parent


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def modules() -> Iterator[tuple[str, str, ast.Module]]:
    """Yield the top-level part, the module name and the syntax tree of each module."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if "piccolo_migrations" in parts or "templates" in parts:
            continue
        names = [name for name in parts if name != "__init__"]
        yield parts[0], ".".join(["learner_app", *names]), ast.parse(path.read_text())


def defined_names(trees: Sequence[ast.AST]) -> set[str]:
    """Return the private names that the package defines: functions, variables, attributes."""
    found = set()
    for tree in trees:
        for node in ast.walk(tree):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    found.add(name)
                case ast.ClassDef(name=name):
                    found.add(name)
                case ast.Name(id=name, ctx=ast.Store()):
                    found.add(name)
                case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name, ctx=ast.Store()):
                    found.add(name)
    return {name for name in found if is_private(name)}


def accesses(tree: ast.Module, own: set[str]) -> Iterator[str]:
    """Yield the private names that a module uses of objects other than ``self``."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Attribute(attr="_meta"), attr=name):
                yield f"_meta.{name}"
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                continue
            case ast.Attribute(attr=name) if name.endswith("_delegate"):
                yield name
            case ast.Attribute(attr=name) if is_private(name) and name not in own:
                yield name
            case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=str(name)), *_]):
                if is_private(name) and name not in own:
                    yield name
            case ast.ImportFrom(module=str(module), names=names) if module.startswith(LIBRARIES):
                yield from (alias.name for alias in names if is_private(alias.name))


def inherited_accesses(module_name: str, trees: dict[str, ast.Module]) -> Iterator[str]:
    """Yield the private names that classes of a module inherit from libraries and use."""
    module = importlib.import_module(module_name)
    for node in ast.walk(trees[module_name]):
        cls = getattr(module, node.name, None) if isinstance(node, ast.ClassDef) else None
        if cls is None:
            continue
        own: set[str] = set()
        foreign: set[str] = set()
        for base in cls.__mro__:
            if base.__module__ in trees:
                own |= defined_names([_class_body(trees[base.__module__], base.__name__)])
            elif base.__module__.startswith(LIBRARIES):
                foreign |= vars(base).keys()
        for inner in ast.walk(node):
            match inner:
                case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name):
                    if is_private(name) and (name not in own or name in foreign):
                        yield name


def _class_body(tree: ast.Module, name: str) -> ast.AST:
    return next(
        node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name
    )


def overrides(module_name: str) -> Iterator[str]:
    """Yield the private members of library classes that classes of a module redefine."""
    module = importlib.import_module(module_name)
    for _, cls in inspect.getmembers(module, inspect.isclass):
        if cls.__module__ != module_name:
            continue
        foreign = [base for base in cls.__mro__ if base.__module__.partition(".")[0] in LIBRARIES]
        for name in vars(cls):
            if is_private(name) and any(name in vars(base) for base in foreign):
                yield name


def replaced(tree: ast.Module) -> Iterator[str]:
    """Yield the attributes of library modules and classes to which the package assigns."""
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(LIBRARIES)
        for alias in node.names
    }
    for node in ast.walk(tree):
        for target in node.targets if isinstance(node, ast.Assign) else ():
            if isinstance(target, ast.Attribute):
                text = ast.unparse(target)
                if text.partition(".")[0] in imported:
                    yield text


@cache
def private_parts() -> dict[str, set[str]]:
    """Return the parts of the package, such as ``database``, by the private name they use."""
    scanned = list(modules())
    trees = {module_name: tree for _, module_name, tree in scanned}
    own = defined_names(list(trees.values()))
    found: defaultdict[str, set[str]] = defaultdict(set)
    for part, module_name, tree in scanned:
        names = [*accesses(tree, own), *replaced(tree)]
        if not module_name.endswith("__main__"):
            names += [*inherited_accesses(module_name, trees), *overrides(module_name)]
        for name in names:
            if name not in OF_PYTHON and name != "_meta":
                found[name].add(part)
    return dict(found)
